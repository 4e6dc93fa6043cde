"""`pancode runs` and `diff`: lists the newest runs, and has all commands that act on one run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Annotated

from typer import Argument

from pancode.interfaces.cli.follow import (
    follow_new,
    format_run_time,
    format_summary,
    gate_lines,
    list_notes,
    report_lines,
)
from pancode.interfaces.cli.larger_work import load_commands
from pancode.interfaces.cli.output import find_user
from pancode.interfaces.cli.parameters import Cursor, Detach, Json, Run, Whole, Yes, fetch_page, option, verb
from pancode.interfaces.cli.terminal import (
    RowColumns,
    can_draw,
    color_diff,
    escape_output,
    format_rows,
    safe_block,
    short_time,
    shorten_binaries,
)
from pancode.kernel.formatting import (
    clip_columns,
    cost_of,
    count_noun,
    escape_line,
    format_bytes,
    format_result,
    format_usd,
)
from pancode.kernel.names import LAST
from pancode.runs.answers import CONTINUE, RETRY, RUN, RUNS, CallsShape, RunDetail, RunShape, UsageShape
from pancode.runs.commands.named_runs import AnyRun, OfWorkflow, find_run, is_workflow


@verb(
    "runs ls",
    "50",
    "pancode runs --node gpubox --state verify_failed --since 3d",
    "pancode runs --text 'export' --agent builder",
)
def ls(
    *,
    count: Annotated[int, Argument(metavar="[NUMBER]", min=1, max=10_000)] = 20,
    node: Annotated[str | None, option("Show only runs on this node.")] = None,
    agent: Annotated[str | None, option("Show only runs of this agent.")] = None,
    outcome: Annotated[
        str | None,
        option(
            "Show only runs with this state, as the list shows it: to_land, unverified, error, running ...",
            "--state",
            "S",
        ),
    ] = None,
    since: Annotated[
        str | None, option("Show only runs dispatched since then: 90m, 2h, 3d, 2026-11-22.", "T")
    ] = None,
    text: Annotated[str | None, option("Show only runs whose task contains this text.", "T")] = None,
    checks: Annotated[
        bool, option("Also show the runs that check the gates or the result of another run.")
    ] = False,
    number: Annotated[
        int | None, option("Show at most this many runs (the same as NUMBER).", "N", min=1, max=10_000)
    ] = None,
    waiting: Annotated[
        bool, option("Show the queues instead: the waiting runs of each, in order, with the reason.")
    ] = False,
    queue: Annotated[
        str | None,
        option("With --waiting: show only this queue, which is a pool's requirement or a node.", "NAME"),
    ] = None,
    cursor: Cursor = None,
    whole: Whole = False,
    face: Json,
) -> None:
    """List runs, the newest first.

    In any command, RUN may be an unambiguous prefix, `last`, or an agent with exactly one active run.
    """
    if waiting or queue is not None:
        from pancode.runs.commands.queue import show_queues

        return show_queues(face, queue)
    wanted: dict[str, object] = {
        "node": node,
        "agent": agent,
        "outcome": outcome,
        "since": since,
        "text": text,
        "checks": checks,
    }
    client, most = face.client(), number or count
    answer = fetch_page(client, RUNS, "runs", most, cursor, wanted, whole=whole)
    none = "no matching run" if any(wanted.values()) else 'no runs yet; try: pancode dispatch "..."'
    return face.show(answer, lambda: format_runs(answer["runs"], none))


def format_runs(found: list[RunShape], none: str) -> str:
    """Return the runs as text, one line each; `none`: the text if there are no runs."""
    return format_rows(found, _COLUMNS, none, spare=("RUNTIME", "MODEL", "AGENT", "AT", "COST"), cut="TASK")


def _format_task(run: RunShape) -> str:
    """Return the first paragraph of the run's task on one line, after the names of its workflow and step."""
    step = f"{run['workflow']}/{run['step']}: " if run["workflow"] else ""
    notes = "".join(f"  ({note})" for note in list_notes(run))
    return step + clip_columns(escape_line(run["task"].strip().partition("\n\n")[0]), 60) + notes


_COLUMNS: RowColumns[RunShape] = {
    **{"RUN": "run", "STATE": format_result, "NODE": "node", "AGENT": "agent"},
    **{"RUNTIME": "runtime", "MODEL": "model", "TOOK": format_run_time, "COST": cost_of, "AT": "created_at"},
    "TASK": _format_task,
}


@verb("runs show", "", "SHOP-12", "w-7f3k2x")
def show(*, run: AnyRun = LAST, face: Json) -> None:
    """Show everything about one run, or the steps of a workflow."""
    client = face.client()
    if is_workflow(run):
        return load_commands().show(face, run)
    answer = client.get(RUN.at(find_run(client, run)))
    return face.show(answer, lambda: _format_run(answer))


def _list_facts(run: RunDetail) -> Iterator[tuple[str, str | list[str] | None]]:
    yield from (("task", run["task"]), ("agent", run["agent"]), ("model", run["model"]))
    yield from (("reasoning", run["reasoning"]), ("mode", run["mode"]), ("safety", run["safety"]))
    yield from (("isolation", run["isolation"]), ("project", run["project"]), ("folder", run["folder"]))
    yield from (("verify", run["verify"]), ("workspace", run["in_workspace"]), ("workflow", run["workflow"]))
    yield from (("step", run["step"]), ("skills", run["skills"]), ("receipt", run["receipt"]))
    yield "landed", run["landed"]
    for name, moment in (("created", run["created_at"]), ("started", run["started_at"])):
        yield name, short_time(moment) if moment else None
    yield "finished", short_time(run["finished_at"]) if run["finished_at"] else None
    yield "chosen by", run["model_from"]
    yield "actions", [f"{count} {name}" for name, count in run["actions"].items()]
    about = run["served"]
    yield "endpoint", f"{about['endpoint']} of {about['node']}, {about['words']}" if about else None
    yield "continues", f"{', '.join(run['chain'])} ({run['session']} session)" if run["chain"] else None
    yield "answered", run["answered"]
    for one in run["told"]:
        how = f"delivered: {one['delivered']}" if one["delivered"] else "not delivered yet"
        yield "told", f"{one['text']} ({one['by']}; {how})"
    yield "next", run["continued_by"]


def _join_value(value: str | list[str]) -> str:
    return ", ".join(value) if isinstance(value, list) else value


def _format_run(run: RunDetail) -> str:
    lines = list[str]()
    for key, value in _list_facts(run):
        lines += [f"  {key:<10} {escape_line(_join_value(value))}"] if value else []
    lines += [f"  calls      {_format_calls(run, run['calls'])}"] if run["calls"] else []
    lines += gate_lines(run)
    for one in run["checks"]:
        lines.append(f"  check      {one['run']}  {format_result(one)}  {escape_line(one['task'])}")
    lines += report_lines(run, 10)
    lines += [f"  file       {escape_line(name)}" for name in run["files_changed"][:50]]
    answer = f"\n{safe_block(run['answer'])}" if run["answer"] else ""
    return format_summary(run) + "\n".join(lines) + "\n" + answer


def _format_calls(run: RunDetail, calls: CallsShape) -> str:
    """Return the usage counted by the model gateway, and the one reported by the runtime if different."""
    claimed = run["claimed"]
    if calls["subscription"]:
        went = f"{format_bytes(calls['sent_bytes'])} out, {format_bytes(calls['received_bytes'])} in"
        count = count_noun(calls["requests"], "connection")
        return f"subscription, not metered: {count}, {went}; {_format_tokens(run['usage'])}"
    counts = (("failed", calls["failed"]), ("refused", calls["refused"]), ("unread", calls["unread"]))
    notes = [f"{count} {name}" for name, count in counts if count]
    notes += ["the last one was the final answer at the limit"] if calls["wrap_up"] else []
    details = f" ({', '.join(notes)})" if notes else ""
    through = f"{calls['requests']} through the model gateway{details}"
    reported = f"; the runtime says {_format_tokens(claimed)}" if claimed else ""
    waited = f"; waited {calls['waited_ms'] / 1000:.1f} s for a free slot" if calls["waited_ms"] else ""
    return f"{through}: {_format_tokens(run['usage'])}{reported}{waited}"


def _format_tokens(usage: UsageShape) -> str:
    cost = "" if usage["cost_usd"] is None else f", {format_usd(usage['cost_usd'])}"
    return f"{usage['input_tokens']} tokens in, {usage['output_tokens']} out{cost}"


@verb("runs retry", "last", "last --resume", "w-7f3k2x")
def retry(
    run: Run,
    *,
    resume: Annotated[bool, option("Continue the agent's conversation, on the same node.")] = False,
    alone: Annotated[bool, option("Keep the new run out of the old run's workflow.")] = False,
    workflow: OfWorkflow = False,
    detach: Detach = False,
    yes: Yes = False,
    face: Json,
) -> int:
    """Repeat the same work as a new run; a lost run is given up. For a workflow, repeat all of its work.

    The run of a step or of an item of a lane is retried only with --alone: `pancode workflow resume` and
    `pancode lane create --resume` start again what failed.
    """
    if workflow or is_workflow(run):
        return load_commands().retry(face, run, detach, yes)
    return follow_new(face, RETRY.at(run), {"by": find_user(), "resume": resume, "alone": alone}, detach)


@verb("runs continue", "last 'also update the changelog'", "r-zd43pq --detach")
def continue_(
    run: Run,
    text: Annotated[str, Argument(help="The next task; if omitted, the agent continues its work.")] = "",
    *,
    detach: Detach = False,
    face: Json,
) -> int:
    """Start a new run from the result of a run, in the same conversation if that is retained."""
    return follow_new(face, CONTINUE.at(run), {"by": find_user(), "text": text}, detach)


@verb("diff", "", "last | git apply --stat")
def diff(
    *,
    run: AnyRun = LAST,
    stat: Annotated[bool, option("Show only the files and the number of changed lines.")] = False,
    since: Annotated[
        str | None,
        option("Show what has changed since this run's result, as of the round before.", "RUN"),
    ] = None,
    face: Json,
) -> None:
    """Show a run's change as a patch for git apply; for a suspended session, its whole change.

    Of a run in progress, its node reads what has changed so far, at most every ten seconds.
    """
    client = face.client()
    before = None if since is None else find_run(client, since)
    found = client.change(find_run(client, run), stat=stat, since=before)
    change = found.diff
    if face.as_json:
        so_far = {"at": found.at, "notes": found.notes} if found.at else {}
        return face.show({"run": run, "diff": change.decode("utf-8", "replace"), **so_far}, str)
    if found.at:
        face.note(f"so far, at {short_time(found.at)}; the run continues")
    if found.notes:
        face.note(f"not shown: {escape_line(found.notes)}")
    if not change:
        face.note("no changes")
    change = shorten_binaries(change, sys.stdout)
    if can_draw(sys.stdout):
        sys.stdout.write(color_diff(change, sys.stdout))
    else:
        sys.stdout.buffer.write(escape_output(change, sys.stdout))
        sys.stdout.buffer.flush()
    return None
