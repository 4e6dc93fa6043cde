"""`pancode status --health` and `runs recover`: show what is silent or stuck; continue failed runs."""

from __future__ import annotations

from typing import Annotated

from pancode.interfaces.cli.parameters import Argument, Face, Json, completions, find_user, option, verb
from pancode.interfaces.cli.terminal import RowColumns, escape_line, escape_lines, format_rows, short_time
from pancode.kernel.errors import ExitCode, UsageError
from pancode.runs.answers import HEALTH, RECOVER, HealthRow
from pancode.runs.commands.named_runs import find_run


def show_health(face: Face, *, whole: bool) -> int:
    """Show the health of working agents and of nodes: problems only, or all (`whole`). Return exit status."""
    answer = face.get(HEALTH)
    agents = [row for row in answer["agents"] if whole or row["gravity"] != "well"]
    machines = [row for row in answer["machines"] if whole or row["gravity"] != "well"]
    rows = [*agents, *machines]
    commands = dict.fromkeys(f"  {row['who']}: {row['command']}" for row in rows if row["command"])
    text = format_rows(rows, _COLUMNS, "all agents and nodes are healthy", cut="WHY") + escape_lines(commands)
    face.show({**answer, "agents": agents, "machines": machines}, lambda: text)
    return ExitCode.DONE if answer["well"] else ExitCode.BLOCKED


_COLUMNS: RowColumns[HealthRow] = {
    "WHO": "who",
    "RUN": lambda row: row["run"] or "",
    "STATE": "state",
    "SINCE": lambda row: short_time(row["until"] or row["since"]) if row["since"] or row["until"] else "",
    "WHY": "why",
}


@verb("runs recover", "builder", "--all --dry-run", "last")
def recover(
    run: Annotated[str | None, Argument(autocompletion=completions.complete_runs)] = None,
    *,
    whole: Annotated[bool, option("Recover all runs of the last day that failed.", "--all")] = False,
    dry_run: Annotated[bool, option("Only show which runs would be continued, and how.")] = False,
    face: Json,
) -> int:
    """Continue a failed run, without waiting for the result. RUN may be an agent: its newest such run.

    The work of a lost or faulty node is repeated. After an error, a time limit or a failed gate, a new run
    continues from the remaining files, in the same conversation if that is retained. Runs that ended well,
    were stopped, wait for a user or are already continued are left unchanged.
    """
    if (run is None) is not whole:
        raise UsageError("RUN or --all is required", fix="pancode runs recover --all --dry-run")
    client = face.client(works=not dry_run)
    named = None if run is None else find_run(client, run)
    answer = client.post(RECOVER, {"run": named, "dry_run": dry_run, "by": find_user()})
    text, rows = "", answer["runs"]
    for row in rows:
        what = f"as {row['next']}" if row["next"] else escape_line(row["error"] or "not started (--dry-run)")
        text += f"{row['run']}  {row['outcome']}  {row['how']}: {what}\n"
    face.show(answer, lambda: text or "no run of the last day needs recovery\n")
    return ExitCode.PARTIAL if any(row["error"] for row in rows) else ExitCode.DONE
