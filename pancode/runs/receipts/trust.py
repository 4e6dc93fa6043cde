"""Decides how far the result of a run is tested, and whether its change is open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from node_agent.wire.failure import Outcome
from pancode.kernel.records import Run, RunState
from pancode.runs.facts import GateTerms, Lineage
from pancode.runs.life.conversation import has_change, list_next_runs

KEPT = "verification"
"""The key, in a run's result, of what another node signed of it: only runs of older versions have it."""


class ResultTrust(StrEnum):
    """How far a result is tested. `verified` and `disputed`: by another node, in an older version."""

    VERIFIED = "verified"
    PARTLY = "partly"
    UNVERIFIED = "unverified"
    DISPUTED = "disputed"


_WORDS = {
    ResultTrust.VERIFIED: "gates passed on two nodes",
    ResultTrust.PARTLY: "gates passed",
    ResultTrust.UNVERIFIED: "no gates",
    ResultTrust.DISPUTED: "gates disputed",
}


@dataclass(frozen=True, slots=True)
class TestedResult:
    """How far a result is tested, and why."""

    state: ResultTrust
    why: str

    @property
    def words(self) -> str:
        """Return the state as text for users; `partly`, a good end, must not read as half done."""
        return _WORDS[self.state]


def passed_on(run: Run) -> str:
    """Return the node whose receipt states that every gate of the run passed on its result; empty: none."""
    gates = [tuple(gate["argv"]) for gate in run.gates if isinstance(gate["argv"], list | tuple)]
    whole = run.outcome is Outcome.DONE and bool(gates) and passed_gates(run) == gates
    return str(run.result.get("node") or "") if whole else ""


def passed_gates(run: Run, passed: bool = True) -> list[tuple[str, ...]]:
    """Return the commands of the run's gates that passed (or failed) by its node's receipt, in order."""
    rows = [one for one in _list_results(run) if bool(one.get("passed")) is passed]
    return [tuple(one.get("argv") or ()) for one in rows]


def _list_results(run: Run) -> list[dict[str, Any]]:
    gates = run.result.get("gates")
    return [one for one in gates if isinstance(one, dict)] if isinstance(gates, list | tuple) else []


def trusted_on(run: Run) -> str:
    """Return the node whose gate results need no second run; empty: none, another node disputes them, or an
    older node agent ran the gates in the agent's place."""
    return passed_on(run) if run.result.get("gates_on") == "result" and not is_disputed(run) else ""


def read_tested(run: Run) -> TestedResult | None:
    """Return how far the run's result is tested; None: it has no result."""
    if run.outcome is not Outcome.DONE or run.judges is not None:
        return None
    node = passed_on(run)
    if not node:
        return TestedResult(ResultTrust.UNVERIFIED, "it has no gates, so it was not tested")
    rows = _list_verdicts(run)
    if rows:
        return TestedResult(ResultTrust(rows[-1]["state"]), str(rows[-1]["why"]))
    return TestedResult(ResultTrust.PARTLY, f"its gates passed on {node}")


def _list_verdicts(run: Run) -> list[Mapping[str, Any]]:
    """Return what other nodes said of the result in an older version, oldest first."""
    row = run.result.get(KEPT)
    if not isinstance(row, Mapping):
        return []
    return [one for one in (*(row.get("earlier") or ()), row) if not one.get("waits")]


def is_disputed(run: Run) -> bool:
    """Whether a gate that passed on the run's node has failed on another node, in an older version."""
    seen = read_tested(run)
    return seen is not None and seen.state is ResultTrust.DISPUTED


def find_missing_verdict(run: Run) -> str:
    """Return why a change that an older version admitted must not land by itself; empty: it may."""
    seen = read_tested(run)
    if not GateTerms.of(run).verify_on or (seen is not None and seen.state is ResultTrust.VERIFIED):
        return ""
    return "another node was to run its gates first, which this version does not do"


LANDED, NOTHING, WAITING = "landed", "nothing to land", "waiting"
NOT_DONE = "not landed"
"""The status if nothing is landed because the run did not end well."""
REVERTED = "reverted"
"""The key, in a run's result, of the commit that reverted its landed change."""
REFUSED = ("denied", "dropped")
"""The states of a landing that a user refused."""
CLOSED = (*REFUSED, NOTHING)


def is_green(run: Run, project: str) -> bool:
    """Whether the run is done, passed its gates, and has a change that was neither landed nor continued. A
    result that another node disputed does not count."""
    done = run.outcome is Outcome.DONE and bool(run.gates) and gates_passed(run)
    return done and is_open(run, project) and not is_disputed(run)


def is_open(run: Run, project: str) -> bool:
    """Whether the run ended with a change that was not landed, denied, dropped or continued."""
    mine = run.project == project and run.judges is None and run.landed is None
    open_still = not list_next_runs(run) and run.landing.get("status") not in CLOSED
    return mine and run.outcome is not None and open_still and has_change(run)


def gates_passed(run: Run) -> bool:
    """Whether the run's accepted receipt states that each of its gates has passed."""
    results = _list_results(run)
    return len(results) >= len(run.gates) and all(one.get("passed") for one in results)


def landing_of(run: Run) -> Mapping[str, Any] | None:
    """Return the state of the run's landing; None if no landing was requested."""
    if run.landing:
        return run.landing
    if not run.land:
        return None
    if run.state is not RunState.ENDED:
        return {"status": WAITING, "why": "the run has not ended"}
    if run.outcome is not Outcome.DONE:
        return {"status": NOT_DONE, "why": f"the run ended as {run.outcome}"}
    row = run.result.get(KEPT)
    if isinstance(row, Mapping) and row.get("waits"):
        return {"status": NOT_DONE, "why": find_missing_verdict(run), "fix": f"pancode land {run.id}"}
    if run.result.get("commit") is None and not Lineage.of(run).begins:
        return {"status": NOTHING, "why": "the run changed no files"}
    return {"status": WAITING, "why": "it is being landed; its gates run first"}


def final_commit(run: Run) -> str | None:
    """Return the commit at which the next step begins: the run's result or, without a change, its own
    beginning."""
    found = run.result.get("commit") or run.workspace.get("snapshot")
    return found if isinstance(found, str) else None
