"""`pancode health` and `recover`: what works, what is quiet or stuck; what ended badly goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from typer import Argument

from pancode.interfaces.cli import completions
from pancode.interfaces.cli.commands import Commands
from pancode.interfaces.cli.output import Face, find_user
from pancode.interfaces.cli.parameters import Json, option
from pancode.interfaces.cli.terminal import RowColumns, escape_line, format_rows, short_time
from pancode.kernel.errors import ExitCode, UsageError
from pancode.runs.answers import HEALTH, RECOVER, HealthRow, RecoveredShape

app = Commands()


@app.group("health", "pancode health", "pancode health check", default="status")
def health() -> None:
    """How each agent that has work, and each node, is: working, thinking, in a long command, quiet, stuck.

    The status is 12 if something needs a user.
    """


@health.verb("status", "pancode health status --json")
def status(face: Json) -> int:
    """Every agent that has work and every machine, with the evidence."""
    return _tell(face, lambda row: True)


@health.verb("check", "pancode health check && echo well")
def check(face: Json) -> int:
    """Only what somebody should look at, each with the command for it."""
    return _tell(face, lambda row: row["gravity"] != "well")


def _tell(face: Face, wanted: Callable[[HealthRow], bool]) -> int:
    answer = face.client().get(HEALTH)
    agents, machines = (list(filter(wanted, rows)) for rows in (answer["agents"], answer["machines"]))
    face.show({**answer, "agents": agents, "machines": machines}, lambda: _lines([*agents, *machines]))
    return ExitCode.DONE if answer["well"] else ExitCode.BLOCKED


def _lines(rows: list[HealthRow]) -> str:
    table = format_rows(rows, _COLUMNS, "all is well", cut="WHY")
    commands = {row["command"]: None for row in rows if row["command"]}
    return table + "".join(f"  {escape_line(command)}\n" for command in commands)


_COLUMNS: RowColumns[HealthRow] = {
    "WHO": "who",
    "RUN": lambda row: row["run"] or "",
    "STATE": "state",
    "SINCE": lambda row: short_time(row["until"] or row["since"]) if row["since"] or row["until"] else "",
    "WHY": "why",
}


@app.verb(
    "recover", "pancode recover builder", "pancode recover --all --dry-run", "pancode runs recover last"
)
def recover(
    run: Annotated[str | None, Argument(autocompletion=completions.runs)] = None,
    *,
    whole: Annotated[bool, option("All runs of the last day that ended badly.", "--all")] = False,
    dry_run: Annotated[bool, option("Only show which, and how they would go on.", "--dry-run")] = False,
    face: Json,
) -> int:
    """Let a run that ended badly go on, and do not wait for it. RUN may be an agent: its newest such run.

    What a lost or faulty machine had is done once more. After an error, a limit of time or a failed gate a
    new run goes on from the files that are left, in its conversation where that is kept. What ended well,
    was stopped, waits for a user or goes on already is left alone.
    """
    if (run is None) is not whole:
        raise UsageError("RUN or --all is required", fix="pancode recover --all --dry-run")
    body = {"run": run, "dry_run": dry_run, "by": find_user()}
    answer = face.client(works=not dry_run).post(RECOVER, body)
    rows = answer["runs"]
    none = "nothing of the last day is to be recovered\n"
    face.show(answer, lambda: "".join(map(_recovered, rows)) or none)
    return ExitCode.PARTIAL if any(row["error"] for row in rows) else ExitCode.DONE


def _recovered(row: RecoveredShape) -> str:
    what = f"as {row['next']}" if row["next"] else escape_line(row["error"] or "not begun (--dry-run)")
    return f"{row['run']}  {row['outcome']}  {row['how']}: {what}\n"
