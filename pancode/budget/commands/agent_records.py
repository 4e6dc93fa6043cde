"""`pancode agents record`: each agent with its current work and record, by node or by kind of work."""

from __future__ import annotations

from typing import Annotated, Literal

from pancode.budget.answers import RECORDS, WORKERS, TrackRecordRow, WorkerShape
from pancode.interfaces.cli.parameters import Argument, Json, completions, option, verb
from pancode.interfaces.cli.terminal import RowColumns, format_rows, format_seconds, format_usd
from pancode.kernel.formatting import count_noun
from pancode.kernel.names import not_found

_MOST = 10_000
"""The maximum rows of one answer; the records cover 5,000 runs."""
Most = Annotated[int | None, option("Show at most this many rows (default: all).", min=1, max=_MOST)]
_BY = "Group by node, by kind of work and repository, or by agent and model only."


@verb("agents record", "", "--by kind --agent builder")
def workers(
    *,
    name: Annotated[str | None, Argument(metavar="[AGENT]", autocompletion=completions.agents)] = None,
    by: Annotated[Literal["node", "kind", "agent"], option(_BY)] = "node",
    agent: Annotated[str | None, option("Show only this agent.")] = None,
    number: Most = None,
    face: Json,
) -> None:
    """Show each agent with its current work, and how well it works.

    By node: agents that are working come first. The record covers the last 2,000 runs; RATE is the share that
    succeeded, without those that users stopped. By kind or agent: the best come first, based on accepted
    receipts of the newest 5,000 runs. Runs that users stopped, questions, and failures of a node, a model
    server or PanCode do not count; a run whose landed change was reverted is not good. That RATE is smoothed,
    and BETWEEN is its 95 % confidence interval, which is wide for few runs.
    """
    agent = name or agent
    if by != "node":
        answer = face.get(RECORDS, rankings=by == "agent", agent=agent, limit=number or _MOST)
        kinds = () if by == "kind" else ("KIND", "SIZE", "REPOSITORY")
        columns = {head: cell for head, cell in _RECORDS.items() if head not in kinds}
        none = "no run has a record yet: records are made from accepted receipts"
        return face.show(answer, lambda: format_rows(answer["records"], columns, none))
    found = face.get(WORKERS)["workers"]
    rows = [one for one in found if agent in (None, one["agent"])]
    if agent is not None and not rows:
        raise not_found("agent", agent, {one["agent"] for one in found}, "pancode agents record")
    none = "no agent has worked yet"
    return face.show({"workers": rows[:number]}, lambda: format_rows(rows[:number], _WORKERS, none))


def _each_landed(row: TrackRecordRow) -> str:
    if row["usd_each_landed"] is not None:
        return format_usd(str(row["usd_each_landed"]))
    return "unknown" if row["unknown_runs"] and row["landed"] else "-"


_RECORDS: RowColumns[TrackRecordRow] = {
    **{"AGENT": "agent", "MODEL": "model", "RUNTIME": "runtime", "KIND": "kind", "SIZE": "size"},
    **{"REPOSITORY": "repository"},
    **{"RUNS": "runs", "GOOD": "good", "RATE": lambda row: f"{row['rate']:.2f}"},
    **{"BETWEEN": lambda row: f"{row['low']:.2f} to {row['high']:.2f}", "LANDED": "landed"},
    **{"REVERTED": "reverted", "EACH": _each_landed, "MINUTES": "minutes_each_landed"},
}


def _format_rate(worker: WorkerShape) -> str:
    ended = worker["runs"] - worker["stopped"]
    return f"{worker['done'] / ended:.2f}" if ended else "-"


def _format_cost(worker: WorkerShape) -> str:
    unknown = f" + {count_noun(worker['unknown_runs'], 'unknown')}" if worker["unknown_runs"] else ""
    return f"{format_usd(worker['usd'])}{unknown}" if worker["runs"] else "-"


_WORKERS: RowColumns[WorkerShape] = {
    **{"AGENT": "agent", "RUNTIME": "runtime", "NODE": "node"},
    "NOW": lambda row: ", ".join(f"{one['run']} {one['stage']}" for one in row["now"]) or "idle",
    **{"RUNS": "runs", "DONE": "done", "RATE": _format_rate, "STOPPED": "stopped", "COST": _format_cost},
    "EACH": lambda row: format_seconds(row["minutes"] * 60 / row["runs"]) if row["runs"] else "-",
}
