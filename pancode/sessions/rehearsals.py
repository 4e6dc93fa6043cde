"""Has an orchestrator's model rehearse requests, and tells by the record what it asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from node_agent.wire.policy import Mode
from node_agent.wire.receipt import TurnStop
from pancode.agents.agents import ORCHESTRATOR
from pancode.budget import books
from pancode.kernel.errors import UsageError
from pancode.kernel.ports import Transaction
from pancode.kernel.records import Audit, Run, RunState, Setting
from pancode.kernel.values import replace
from pancode.runs.core import Core
from pancode.runs.request import DispatchRequest
from pancode.runs.unit_of_work import unit_of_work
from pancode.runs.views import iso
from pancode.sessions.answers import DecompositionShape, RehearsedShape
from pancode.sessions.rehearsal_rules import (
    REQUESTS,
    RehearsedCall,
    RehearsedRequest,
    RehearsedStep,
    agents_of,
    graded,
    request_named,
)

REHEARSED = "a rehearsal has asked for this"
"""What the audit says of a rehearsed request; the detail has `call`, `asked`, `steps` and `waits`."""
KEPT = "decomposes:"
"""The prefix before a model's name: the setting that holds the newest rehearsal of each request."""
NOT_ASKED, UNDER_WAY = "not asked", "under way"
AT_ONCE_MS, TURN_MS = 1, 600_000
"""A rehearsal's turns in milliseconds: it rests at once after its one turn, which may take this long."""


def as_rehearsal(asked: DispatchRequest, ground: Callable[[], Path]) -> DispatchRequest:
    """Return the request as a session whose model takes it apart, while nothing that the model asks for is
    carried out.

    `ground`: makes the repository for this. NotFoundError for a request that is not in the table; UsageError
    without a model.
    """
    request = request_named(asked.rehearses)
    if not asked.model:
        fix = "pancode models decompose MODEL"
        raise UsageError("a rehearsal is of one model, and none is named", fix=fix, code="no_model")
    turns = {"idle_ms": AT_ONCE_MS, "turn_ms": TURN_MS}
    asked = replace(asked, task=request.words, agent=ORCHESTRATOR, mode=Mode.BUILD, turns=turns)
    return replace(asked, cwd=str(ground()), workspace="git", on_cap="rest", rounds=0)


def keep(core: Core, asked: DispatchRequest, run: str) -> None:
    """Record the run as the newest rehearsal of that request by that model."""
    name = f"{KEPT}{asked.model}"
    with unit_of_work(core) as work:
        runs = {**_runs(work.tx.get(Setting, name)), asked.rehearses: run}
        work.tx.put(Setting(name, runs, core.wall_ms(), asked.created_by))


def decompositions(core: Core, model: str | None = None) -> list[DecompositionShape]:
    """Return how each model that has rehearsed took requests apart; `model`: that one, even if it never
    has."""
    with core.ports.ledger.transaction() as tx:
        names = [one.name.removeprefix(KEPT) for one in tx.find(Setting) if one.name.startswith(KEPT)]
        wanted = sorted(names) if model is None else [model]
        return [_shape(core, tx, name) for name in wanted]


def summaries(core: Core) -> dict[str, str]:
    """Return, by model that has rehearsed, how many it took apart well, as `7 of 12`."""
    return {one["model"]: f"{one['passed']} of {one['of']}" for one in decompositions(core)}


def _runs(kept: Setting | None) -> dict[str, str]:
    value = kept.value if kept is not None else {}
    assert isinstance(value, dict)
    return value


def _shape(core: Core, tx: Transaction, model: str) -> DecompositionShape:
    runs = _runs(tx.get(Setting, f"{KEPT}{model}"))
    rows = [_row(core, tx, request, runs.get(request.name)) for request in REQUESTS]
    passed = sum(row["state"] == "passed" for row in rows)
    return {"model": model, "passed": passed, "of": len(rows), "requests": rows}


def _row(core: Core, tx: Transaction, request: RehearsedRequest, run_id: str | None) -> RehearsedShape:
    row: RehearsedShape = {
        "name": request.name,
        "words": request.words,
        "expected": request.expected[0],
        "state": NOT_ASKED,
        "asked": "",
        "why": "",
        "run": run_id,
        "spent_usd": "0",
        "at": None,
    }
    run = tx.get(Run, run_id) if run_id is not None else None
    if run is None:
        return row
    (purse,) = core.held_in(tx, [books.session_scope(run.id)])
    row["spent_usd"] = f"{books.counted_usd(purse.balance):f}"
    if run.state is not RunState.ENDED:
        row["state"] = UNDER_WAY
        return row
    cut, calls = _cut(run), _calls(tx, run.id)
    row |= {"state": graded(request, calls, cut).value, "asked": agents_of(calls), "why": cut}
    row["at"] = iso(run.finished_ms)
    return row


def _cut(run: Run) -> str:
    """Return why the rehearsal's turn did not end by itself; empty: it did."""
    turn: dict[str, Any] = run.terms.get("turn", {})
    if turn.get("stop") == TurnStop.END_TURN:
        return ""
    return str(turn.get("why") or run.reason or "it took no turn")


def _calls(tx: Transaction, run: str) -> list[RehearsedCall]:
    """Return the calls in order, each once: one that was repeated after a restart has the same number."""
    found: dict[int, RehearsedCall] = {}
    for row in tx.find(Audit, {"run": run}, order="number"):
        if row.what == REHEARSED:
            detail: dict[str, Any] = row.detail
            steps = tuple(RehearsedStep(**one) for one in detail["steps"])
            found[int(detail["call"])] = RehearsedCall(str(detail["asked"]), steps, bool(detail["waits"]))
    return [found[number] for number in sorted(found)]
