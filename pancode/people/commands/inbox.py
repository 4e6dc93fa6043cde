"""`pancode inbox`, `answer`, `approve`, `deny`, `tell`: list what waits for a user, and answer it."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill
from typing import Annotated, Any

from typer import Argument

from pancode.config.commands import change_line
from pancode.interfaces.cli import landings
from pancode.interfaces.cli.follow import follow_new, wait_for_run
from pancode.interfaces.cli.needs import find_columns, format_row
from pancode.interfaces.cli.output import Face, find_user
from pancode.interfaces.cli.parameters import (
    Anyway,
    Detach,
    Json,
    Run,
    WithCommands,
    WithSecret,
    option,
    verb,
)
from pancode.interfaces.cli.terminal import escape_line, escape_lines, list_choices, safe_block, short_time
from pancode.interfaces.client.client import LAND_S, path_of
from pancode.kernel.errors import ExitCode, RefusedError
from pancode.kernel.formatting import escape_text
from pancode.kernel.names import OWN_NAMES
from pancode.people.answers import ANSWER, DENY, TELL, ToldAnswer
from pancode.reports.answers import NOW, NowAnswer
from pancode.runs.answers import CONTINUE, RUN, InboxShape, Need, RunDetail
from pancode.runs.commands.named_runs import find_run

AT_A_TURN = "at a turn of its agent"


def continue_with_message(face: Face, run: str) -> int | None:
    """Wait until this run ends, then continue it with its undelivered messages; return the new run's status.

    None if no message is undelivered. RefusedError if the run must not be continued automatically.
    """
    client = face.client()
    if wait_for_run(face, client, run) is None:
        face.note(f"the run keeps the message; to continue the run with it: pancode runs continue {run}")
        return ExitCode.DETACHED
    ended = client.get(RUN.at(run))
    if all(row["delivered"] or row["by"] in OWN_NAMES for row in ended["told"]):
        return None
    if refused := why_not(ended):
        raise refused
    return follow_new(face, CONTINUE.at(run), {"by": find_user(), "text": ""}, detach=False)


def why_not(ended: RunDetail) -> RefusedError | None:
    """Return why the run is not continued automatically with its stored messages; None: it can be."""
    run, fix = ended["run"], f"pancode runs continue {ended['run']}"
    if ended["outcome"] == "blocked":
        what, fix = "it waits for an answer to its question", f'pancode answer {run} "..."'
    elif ended["outcome"] == "interrupted":
        what = "a user stopped it"
    elif ended["workflow"] is not None:
        what = f"it is a step of {ended['workflow']}, and the workflow continues without it"
    elif ended["continued_by"]:
        newest = ended["continued_by"][-1]
        what, fix = f"{newest} has already continued it", f'pancode tell {newest} "..."'
    else:
        return None
    kept = "its agent did not get the message, which is stored"
    return RefusedError(f"cannot continue {run}: {what}", why=kept, fix=fix, code="not_resumed")


_SHORT = 80
"""A message of at most this many characters is shown in the line of its item, a longer one below it."""
_CALL = "The number of the call in the inbox; the command fails if another call waits by now."
_PLAN = "The plan digest in the inbox of a run that has not begun; the command fails if it has changed since."


@verb("inbox ls", "pancode inbox", "--json")
def inbox(face: Json) -> None:
    """List everything that needs a user, in groups, each with its cost and the command for it: what asks you,
    what failed, changes to land, pull requests and nodes."""
    now = face.get(NOW)
    costs = now.money["notes"]
    report = {"count": now.count, "summary": now.summary, "groups": now.groups, "costs": costs}
    lines = [f"  {one['run'] or ''} {escape_line(one['what'])}\n      {one['command']}\n" for one in costs]
    words = "".join(["Costs to settle\n", *lines]) if costs else ""
    face.show(report, lambda: (_format_needs(now, now.needs) + words) or "nothing waits for you\n")


@verb("inbox show", "last", "r-zd43pq")
def show(run: Run, face: Json) -> None:
    """Show everything about one run that waits for a user, with the last message of the run's agent."""
    client = face.client()
    whole, now = client.get(RUN.at(find_run(client, run))), client.get(NOW)
    needs = [one for one in now.needs if one.run == whole["run"]]
    line = f"\n{safe_block(whole['answer'])}" if whole["answer"] else ""
    line += escape_lines(f"told: {one['text']}" for one in whole["told"])
    report = {"needs": needs, "answer": whole["answer"], "told": whole["told"]}
    face.show(report, lambda: _format_needs(now, needs) + line)


def _format_needs(now: NowAnswer, needs: Sequence[Need]) -> str:
    """Return these needs in their groups; a question and an approval are never cut."""
    lines, columns = list[str](), find_columns()
    for group in now.groups:
        mine = [one for one in needs if one.group is group.group]
        lines += [f"{group.title} ({len(mine)})\n"] if mine else []
        for one in mine:
            row = f"{format_row(one, now.as_of, columns)}\n      {escape_line(one.command)}\n"
            lines.append(row if one.item is None else format_item(one.item))
    return "".join(lines)


def format_item(item: InboxShape) -> str:
    head = f"{item['run']}  {item['kind']}  {short_time(item['since'])}{_format_words(item)}\n"
    choices = "".join(f"{line}\n" for line in list_choices(item["choices"]))
    choices += _plan(item["plan"]) if item["plan"] else ""
    look = f"   review: pancode diff {item['run']}" if item["kind"] == "landing" else ""
    call = f"--call {item['call']} " if item["call"] else ""
    return f"{head}{choices}  {item['command']}   no: pancode deny {call}{item['run']}{look}\n"


def _format_words(item: InboxShape) -> str:
    """Return the item's text. A command has the deepest indent, so no other text can imitate it."""
    if item["call"]:
        return f"\n{escape_text(item['words'], '    ')}"
    words = escape_line(item["words"])
    return f"  {words}" if len(words) <= _SHORT else f"\n{_wrap_words(words)}"


def _plan(plan: dict[str, Any]) -> str:
    """Return a description of what a run that has not begun will do, and what it may use."""
    task = escape_line(" ".join(plan["task"].split()))
    what = f"mode {plan['mode']}, safety {plan['safety']}, node {escape_line(plan['node'] or 'any')}"
    gates = f", gates: {escape_line('; '.join(plan['verify']))}" if plan["verify"] else ", no gate"
    most = f", at most ${plan['limit_usd']}" if plan["limit_usd"] else ""
    cost = f"estimate ${plan['estimate_usd']}, {plan['estimate_tokens']} tokens"
    due = f"{cost}, {plan['estimate_minutes']} min"
    lands = ", then landed" if plan["lands"] else ""
    return f"{_wrap_words(f'task: {task}')}\n  {what}{gates}{lands}\n  {due}{most}\n"


def _wrap_words(words: str) -> str:
    return fill(words, 100, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)


@verb(
    "answer",
    "last 2",
    "r-zd43pq 'take the port 8080'",
    see="A message for a run without a question: pancode tell. Permission that a run needs: pancode approve.",
)
def answer(
    run: Run,
    text: Annotated[str, Argument(help="The answer, or the number of a choice.")],
    *,
    detach: Detach = False,
    face: Json,
) -> int:
    """Answer a run that ended with a question; the run continues from its result, in its conversation."""
    return follow_new(face, ANSWER.at(run), {"by": find_user(), "text": text}, detach)


@verb(
    "approve",
    "r-zd43pq",
    "--run r-zd43pq",
    "--with-commands r-zd43pq",
    see="A question that needs words: pancode answer. A message for a run that asks nothing: pancode tell.",
)
def approve(
    run: Run,
    *,
    whole: Annotated[
        bool, option("Also approve everything else of the same kind for the rest of the run.", "--run/--once")
    ] = False,
    with_commands: WithCommands = False,
    with_secret: WithSecret = False,
    anyway: Anyway = False,
    call: Annotated[int | None, option(_CALL, min=1)] = None,
    plan: Annotated[str | None, option(_PLAN, "DIGEST")] = None,
    face: Json,
) -> None:
    """Approve what a run waits for: it starts, or continues, or its change lands after its gates.

    `pancode inbox` shows the flags that a change needs; other flags are refused. To approve a command of a
    working agent, give only its number (--call). --once (the default): approve this one request. --run: also
    approve the same kind for the rest of the run (later attempts that exceed the same budget, or the same
    permission of its agent). The audit records the approval.
    """
    client = face.client()
    body: dict[str, Any] = {"by": find_user(), "scope": "run" if whole else "once"}
    body |= {"with_commands": with_commands, "with_secret": with_secret, "anyway": anyway, "call": call}
    body |= {} if plan is None else {"plan": plan}
    try:
        done = client.post(path_of("runs", run, "approve"), body, LAND_S)
    except KeyboardInterrupt:
        landings.call_off(face, run)
        raise
    if "change" in done:
        return face.show(done, lambda: f"{change_line(done['change'])}to undo it: pancode config undo\n")
    if "reason" not in done:  # The result is of a landing, and not of a run that starts or is continued.
        return face.show(done, lambda: landings.format_landing(done))
    words = (
        f"{done['run']}  approved, {escape_line(done['reason'])}   follow: pancode logs -f {done['run']}\n"
    )
    return face.show(done, lambda: words)


@verb("deny", "r-zd43pq", "--call 2 r-zd43pq 'push to a branch of your own'")
def deny(
    run: Run,
    text: Annotated[str, Argument(help="A message for the agent whose command waits.")] = "",
    *,
    call: Annotated[int | None, option(_CALL, min=1)] = None,
    face: Json,
) -> None:
    """Deny what a run waits for: nothing starts, lands or continues, and the item is removed from the inbox.

    If a command of a working agent waits (kind `call`), the command does not run: the agent gets your message
    and continues without the command.
    """
    done = face.post(DENY.at(run), {"text": text, "call": call})
    face.show(done, lambda: f"{done['run']}  denied\n")


_RESUME = "Wait until the run ends, and continue it if its agent did not get the message."
Resume = Annotated[bool, option(_RESUME)]


@verb(
    "tell",
    "builder 'the tests are in spec/'",
    "--resume last 'add a test, too'",
    see="An answer to the question of a run: pancode answer. Permission that a run needs: pancode approve.",
)
def tell(
    run: Run, text: Annotated[str, Argument(help="The message.")], *, resume: Resume = False, face: Json
) -> int:
    """Send a message to a run's agent: with its task if the run waits to start, or at the agent's next turn.

    Only native, claude-sdk and openai-agents accept messages while they work. With other runtimes, or if no
    turn is left, the message is stored until a user continues the run; --resume does so automatically.
    `pancode runs show` lists which messages were delivered.
    """
    client = face.client()
    done = client.post(TELL.at(find_run(client, run)), {"by": find_user(), "text": text})
    if resume and not done["delivered"]:
        status = continue_with_message(face, done["run"])
        if status is not None:
            return status
        done = {**done, "state": "ended", "sent": False, "delivered": AT_A_TURN}
    return face.end(ExitCode.DONE, done, lambda: format_delivery(done))


def format_delivery(done: ToldAnswer) -> str:
    """Return one line that says whether the message to the run was delivered."""
    if done["delivered"]:
        return f"{done['run']}  told {done['delivered']}\n"
    if done["sent"]:
        return f"{done['run']}  sent: its agent gets it at its next turn\n"
    kept = f"stored for: pancode runs continue {done['run']}"
    return f"{done['run']}  not delivered: it is {done['state']}; {kept}\n"
