"""`pancode sessions`: list sessions, and show, continue, change or end one."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from pancode.conversation import answers
from pancode.interfaces.cli.follow import suspend_session
from pancode.interfaces.cli.output import write_new
from pancode.interfaces.cli.parameters import Argument, Face, Json, Run, completions, option, verb
from pancode.interfaces.cli.terminal import Columns, RowColumns, escape_lines, format_rows, safe_block
from pancode.interfaces.client.client import Client
from pancode.interfaces.client.session import OVER
from pancode.interfaces.client.transcript import fetch_conversation, format_markdown
from pancode.kernel.errors import UsageError
from pancode.kernel.formatting import clip_columns, count_noun, format_count, format_outcome, format_usd
from pancode.runs.commands.runs import format_runs
from pancode.sessions.commands.line_chat import format_left, lost_turn, spent_in_all
from pancode.sessions.commands.terms import format_terms, set_terms
from pancode.sessions.commands.tmux import list_terminals

TITLE = 40


_COLUMNS: RowColumns[answers.SessionShape] = {
    **{"SESSION": "session", "STATE": lambda row: format_outcome(row["state"])},
    **{"AGENT": "agent", "NODE": "node"},
    "TURNS": lambda row: sum(one["turns"] for one in row["interactive_runs"]),
    "COST": lambda row: format_usd(row["usage"]["cost_usd"]),
    "LEFT": lambda row: "-" if row["money"]["left_usd"] is None else format_left(row),
    **{"SINCE": "changed_at", "ABOUT": lambda row: clip_columns(row["title"], TITLE)},
}
_TERMINALS: Columns = {
    **{"TERMINAL": "name", "": lambda one: "attached" if one["attached"] else "", "IN": "folder"}
}
_TO = "Write to this new file, as JSON if its name ends with .json."


@verb("sessions ls", "", "pancode sessions --json")
def ls(
    *, number: Annotated[int, option("Show at most this many sessions.", min=1, max=1_000)] = 20, face: Json
) -> None:
    """List the newest sessions and their states; below them, the terminals of `pancode up`."""
    answer = face.get(answers.SESSIONS, limit=number)
    text = format_rows(answer["sessions"], _COLUMNS, "no sessions; start one: pancode chat")
    terminals = list(map(asdict, list_terminals()))
    if terminals:
        text += "\n" + format_rows(terminals, _TERMINALS)
        text += "return to one: pancode up NAME   end one: pancode down NAME\n"
    face.show({**answer, "terminals": terminals}, lambda: text)


@verb("sessions show", "last", "last --context")
def show(
    run: Run,
    *,
    context: Annotated[
        bool, option("Show the use of the model's context window by category, in tokens.")
    ] = False,
    tasks: Annotated[bool, option("Show the runs that the session has dispatched, newest first.")] = False,
    face: Json,
) -> None:
    """Show a session: its state, its interactive runs, its cost and its open question.

    The parts of --context are estimates. The total is the model server's count for the last call and is known
    only for PanCode's own worker (native); values that are not known are shown as unknown.
    """
    client = face.client()
    if tasks:
        runs = client.get(answers.TASKS.at(run))
        return face.show(runs, lambda: format_runs(runs["runs"], "this session has not dispatched any runs"))
    if context:
        one = client.get(answers.CONTEXT.at(run))
        rows = [(part["name"], part["tokens"]) for part in one["parts"]]
        rows += [("used", one["used"]), ("left", one["left"])]
        model = f", {one['model']}" if one["model"] else ""
        lines = [f"{one['run']}  {one['runtime']}{model}, window {_format_tokens(one['window'])}"]
        lines += [f"  {name:<14}{_format_tokens(tokens):>9}" for name, tokens in rows]
        lines += [f"  shortened: {one['compacted']}"] if one["compacted"] else []
        return face.show(one, lambda: escape_lines(lines))
    return face.show_result(client.get(answers.SESSION.at(run)), _format_session)


def _format_session(one: answers.SessionShape) -> str:
    most = f"; an interactive run costs at most {format_usd(one['money']['sitting_usd'])}"
    spent = f"{spent_in_all(one)}{most if one['takes_turns'] else ''}"
    model = f", {one['model']}" if one["model"] else ""
    state = format_outcome(one["state"])
    title = f"{one['session']}  {state}  {one['reason'].removeprefix(state).lstrip(' :')}"
    lines = [title, f"  {one['title']}"]
    lines.append(f"  {one['agent']} on {one['node'] or 'no node yet'}, {one['runtime']}{model}")
    lines += [f"  {spent}; begun by {one['created_by']}", f"  {format_terms(one)}"]
    if one["waiting"]:
        lines.append(f"  {count_noun(one['waiting'], 'message')} not yet delivered to a turn")
    for run in one["interactive_runs"]:
        change = f", commit {run['commit'][:12]}" if run["commit"] else ""
        end = format_outcome(run["outcome"] or run["state"])
        lines.append(f"  interactive run {run['run']}  {count_noun(run['turns'], 'turn')}, {end}{change}")
    lines += [f"  {lost_turn(one)}"] if one["state"] == "turn lost" else []
    lines += [f"  it asks: {one['asks']['words']}", f"    {one['asks']['command']}"] if one["asks"] else []
    lines.append(
        f"  return to it: pancode sessions attach {one['session']}   its change: pancode diff {one['run']}"
    )
    return escape_lines(lines)


def _format_tokens(number: int | None) -> str:
    return "unknown" if number is None else format_count(number)


@verb("sessions export", "last", "last --file talk.json")
def export(run: Run, *, to: Annotated[Path | None, option(_TO, "--file", "FILE")] = None, face: Json) -> None:
    """Export a session's whole conversation, as Markdown or JSON (--json): all messages and calls."""
    talk = fetch_conversation(face.client(), run)
    if to is None:
        return face.show(talk, lambda: safe_block(format_markdown(talk)))
    write_new(to, json.dumps(talk, indent=2) + "\n" if to.suffix == ".json" else format_markdown(talk))
    words = f"{count_noun(len(talk['messages']), 'message')} in {to}\n"
    return face.show({"file": str(to)}, lambda: words)


@verb("sessions checkpoint", "last before-it", "last")
def checkpoint(
    run: Run,
    name: Annotated[
        str | None, Argument(help="The checkpoint's name; if omitted, the checkpoints are listed.")
    ] = None,
    *,
    face: Json,
) -> None:
    """Create a named checkpoint of a session's files and conversation. Suspends it first, after its turn.

    `pancode sessions restore` continues from a checkpoint.
    """
    client = face.client()
    if name is None:
        answer = client.get(answers.CHECKPOINTS.at(run))
        none = f"no checkpoints; create one: pancode sessions checkpoint {run} NAME"
        goes = f"your next message continues from {answer['next']}\n" if answer["next"] else ""
        return face.show(answer, lambda: format_rows(answer["checkpoints"], _POINTS, none) + goes)
    done = face.post(answers.CHECKPOINT.at(_suspend_session(face, client, run)), {"name": name})
    return face.show(done, lambda: f"checkpoint {done['checkpoints'][-1]['name']} of {done['session']}\n")


def _suspend_session(face: Face, client: Client, run: str) -> str:
    """Suspend the session if it is running, and return its newest interactive run."""
    shape = client.get(answers.SESSION.at(run))
    if shape["takes_turns"] and shape["state"] not in OVER:
        suspend_session(face, client, shape["run"])
    return str(shape["run"])


_POINTS: Columns = {
    **{"CHECKPOINT": "name", "RUN": "run", "COMMIT": lambda row: (row["commit"] or "-")[:12]},
    **{"BY": "by", "AT": "at"},
}
_PROGRAM_MODE = "A mode of an acp:NAME program, by the program's own name; empty: its default."


@verb("sessions restore", "last before-it")
def restore(run: Run, name: str, *, face: Json) -> None:
    """Return to a checkpoint of a session: your next message continues from there, in the same session.

    The files are restored to that point, and the agent gets the conversation up to it. Nothing is lost: later
    interactive runs are kept, and you can return to their checkpoints in the same way.
    """
    done = face.post(answers.RESTORE.at(_suspend_session(face, face.client(), run)), {"name": name})
    words = f"{done['session']}  your next message continues from {name}; later runs are kept\n"
    face.show(done, lambda: words)


@verb("sessions rest", "last")
def suspend_run(run: Run, *, face: Json) -> None:
    """Suspend a session after its turn and wait for this; its slot is freed and its change committed.

    Your next message continues the session.
    """
    client = face.client()
    done = suspend_session(face, client, client.get(answers.SESSION.at(run))["run"])
    face.show(
        done, lambda: f"{done['session']}  {done['state']}  its change: pancode diff {done['session']}\n"
    )


@verb(
    "sessions set",
    "last --mode plan",
    "r-7f3k --safety full-auto --yes",
    "last --model anthropic/claude-opus-5 --reasoning high",
)
def change(
    run: Run,
    *,
    mode: Annotated[
        str | None, option("admin, plan, build or review.", "M", complete=completions.complete_modes)
    ] = None,
    level: Annotated[
        str | None,
        option("suggest, auto-edit or full-auto.", "--safety", "LEVEL", complete=completions.complete_levels),
    ] = None,
    model: Annotated[
        str | None, option("Another model, in the form that --model of pancode chat takes.", "TEXT")
    ] = None,
    reasoning: Annotated[
        str | None, option("Reasoning effort: off, minimal, low, medium, high or xhigh.", "L")
    ] = None,
    program_mode: Annotated[str | None, option(_PROGRAM_MODE, "M")] = None,
    yes: Annotated[bool, option("Approve a higher safety level.")] = False,
    face: Json,
) -> None:
    """Change a session's mode, safety level, model or effort. The session keeps its memory and files.

    The current turn ends with the old values; your next message uses the new ones. A higher level requires
    your approval. A mode in which the program never requests approval is refused.
    """
    body = {"mode": mode, "safety": level, "model": model}
    body |= {"reasoning": reasoning, "program_mode": program_mode}
    if not any(value is not None for value in body.values()):
        fix = f"pancode sessions set {run} --mode plan"
        raise UsageError("no setting was given", fix=fix, code="nothing_to_set")
    done = set_terms(face.client(), run, {**body, "yes": yes}, face.confirm_or_decline)
    face.show(done, lambda: f"{done['session']}  {format_terms(done)}\n")


@verb("sessions end", "last")
def end(run: Run, *, face: Json) -> None:
    """End a session: the current turn is cancelled, the program ends, and the results are kept.

    `pancode land` lands the change. A message can still continue the session: pancode sessions attach.
    """
    done = face.post(answers.END.at(run))
    face.show(done, lambda: f"{done['session']}  is ending; see: pancode sessions show {done['session']}\n")
