"""`pancode workers`: each agent on each runtime and node, its work now and its record."""

from __future__ import annotations

from typing import Any

from pancode.cli.output.render import took, usd
from pancode.cli.output.tables import table
from pancode.cli.parsing.lazy import Commands
from pancode.cli.parsing.params import Json
from pancode.counted import counted

app = Commands()


@app.verb("workers", "pancode workers", "pancode workers --json")
def workers(face: Json) -> None:
    """Show each agent on each runtime and node; those at work come first.

    The record is that of the last 2,000 runs; a receipt proves each.
    """
    answer = face.client().get("/v1/workers")
    face.show(answer, lambda: _lines(answer["workers"]))


def _lines(workers: list[dict[str, Any]]) -> str:
    if not workers:
        return "no agent has worked yet\n"
    head = ("AGENT", "RUNTIME", "NODE", "NOW", "RUNS", "DONE", "STOPPED", "COST", "EACH")
    return table(head, (_row(worker) for worker in workers))


def _row(worker: dict[str, Any]) -> tuple[object, ...]:
    now = ", ".join(f"{one['run']} {one['stage']}" for one in worker["now"]) or "idle"
    each = took(worker["minutes"] * 60 / worker["runs"]) if worker["runs"] else "-"
    unknown = f" + {counted(worker['unknown_runs'], 'unknown')}" if worker["unknown_runs"] else ""
    cost = f"{usd(worker['usd'])}{unknown}" if worker["runs"] else "-"
    names = worker["agent"], worker["runtime"], worker["node"]
    return *names, now, worker["runs"], worker["done"], worker["stopped"], cost, each
