"""Decides how far the result of a run is verified: by its own node, by another node, or not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from node_agent.wire.failure import Outcome
from pancode.kernel.facets import GateTerms, Lineage
from pancode.kernel.records import Run, RunState
from pancode.kernel.values import replace
from pancode.runs.life.conversation import has_change, list_next_runs

OTHER = "other"
"""The value of `verify_on` that means any node except the run's own."""
KEPT = "verification"
"""The key, in a run's result, of the result's verification by another node."""


class ResultTrust(StrEnum):
    """How far a result is verified. `disputed`: a gate passed on the run's node, but failed on another."""

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
class VerifiedResult:
    """How far a result is trusted. `run`, `node`, `receipt`: of the verification; `waits`: the verification
    is not finished. `earlier`: the verdicts of other nodes before this one, oldest first."""

    state: ResultTrust
    why: str
    run: str | None = None
    node: str | None = None
    receipt: str | None = None
    waits: bool = False
    earlier: tuple[VerifiedResult, ...] = ()

    @property
    def words(self) -> str:
        """Return the state as text for users; `partly`, a good end, must not read as half done."""
        return "being verified" if self.waits else _WORDS[self.state]

    @property
    def is_verdict(self) -> bool:
        """Whether another node has judged the result and signed its verdict."""
        return self.state in (ResultTrust.VERIFIED, ResultTrust.DISPUTED) and self.receipt is not None

    @property
    def disputed_before(self) -> bool:
        """Whether a node disputed the result before this verification."""
        return any(one.state is ResultTrust.DISPUTED for one in self.earlier)

    @property
    def in_doubt(self) -> bool:
        """Whether the result is disputed, and no node has agreed with it since."""
        return self.state is ResultTrust.DISPUTED or (self.waits and self.disputed_before)

    def plain(self) -> dict[str, object]:
        """Return the fields as JSON values, as the run stores them and interfaces show them."""
        return {**self._make_row(), "earlier": [one._make_row() for one in self.earlier]}

    def _make_row(self) -> dict[str, object]:
        row: dict[str, object] = {"state": self.state.value, "why": self.why, "waits": self.waits}
        return row | {"run": self.run, "node": self.node, "receipt": self.receipt}


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
    seen = read_verified(run)
    apart = run.result.get("gates_on") == "result"
    return passed_on(run) if apart and seen is not None and not seen.in_doubt else ""


def read_verified(run: Run) -> VerifiedResult | None:
    """Return how far the run's result is trusted; None: it has no result that a node could verify."""
    if run.outcome is not Outcome.DONE or run.judges is not None:
        return None
    node = passed_on(run)
    if not node:
        return VerifiedResult(ResultTrust.UNVERIFIED, "it has no gates, so it was not tested")
    row = run.result.get(KEPT)
    if not isinstance(row, Mapping):
        return VerifiedResult(ResultTrust.PARTLY, f"its gates passed on {node}; no other node has run them")
    return _parse_row(row)


def _parse_row(row: Mapping[str, Any]) -> VerifiedResult:
    names = {name: row.get(name) for name in ("run", "node", "receipt")}
    earlier = tuple(map(_parse_row, row.get("earlier") or ()))
    state, why, waits = ResultTrust(row["state"]), str(row["why"]), bool(row.get("waits"))
    return VerifiedResult(state, why, waits=waits, earlier=earlier, **names)


def list_verdicts(run: Run) -> tuple[VerifiedResult, ...]:
    """Return the verdicts of other nodes on the result, oldest first."""
    seen = read_verified(run)
    if seen is None:
        return ()
    return (*seen.earlier, *((replace(seen, earlier=()),) if seen.is_verdict else ()))


def update_trust(known: tuple[VerifiedResult, ...], new: VerifiedResult) -> VerifiedResult:
    """Return the trust after verification `new`; if `new` has no verdict, the last verdict remains."""
    if new.is_verdict or not known:
        return replace(new, earlier=known)
    last = known[-1]
    why = f"{last.why}; asked again: {new.why}"
    return VerifiedResult(last.state, why, new.run or last.run, new.node, earlier=known)


def result_at(run: Run) -> str | None:
    """Return the commit that another node would verify; None: the run does not have one."""
    if run.workspace.get("kind") != "git":
        return None
    commit = run.result.get("commit") or run.workspace.get("snapshot")
    return commit if isinstance(commit, str) else None


def wants_verification(run: Run) -> bool:
    """Whether a run that has just ended requires that another node verifies its result."""
    return bool(GateTerms.of(run).verify_on) and result_at(run) is not None and bool(passed_on(run))


def is_waiting(run: Run) -> bool:
    """Whether another node is still verifying the result."""
    seen = read_verified(run)
    return seen is not None and seen.waits


def make_waiting(run: Run, why: str, other: str | None = None) -> VerifiedResult:
    """Return the trust while a verification is not finished; `other`: the verifying run, once it exists."""
    return VerifiedResult(ResultTrust.PARTLY, why, other, waits=True, earlier=list_verdicts(run))


def judge_result(run: Run, other: Run) -> VerifiedResult:
    """Return the verdict of the verifying run `other`, which has ended."""
    node, receipt = (
        str(value) if (value := other.result.get(name)) else None for name in ("node", "receipt")
    )
    # A failed gate of another run of the change is not a dispute, as this run's node has not run that gate.
    failed, own = set(passed_gates(other, passed=False)), set(passed_gates(run))
    match other.outcome:
        case Outcome.DONE if receipt and passed_on(other):
            state, why = ResultTrust.VERIFIED, f"its gates passed on {passed_on(run)} and on {node}"
        case Outcome.VERIFY_FAILED if receipt and (not failed or failed & own):
            state, why = (
                ResultTrust.DISPUTED,
                f"its gates passed on {passed_on(run)}, but on {node}: {other.reason}",
            )
        case _:
            state, why = (
                ResultTrust.PARTLY,
                f"{other.id} could not verify it: {other.outcome}, {other.reason}",
            )
    return VerifiedResult(state, why, other.id, node, receipt)


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
    result that another node disputes or must still verify does not count."""
    seen = read_verified(run)
    if seen is None or seen.waits or seen.state is ResultTrust.DISPUTED:
        return False
    done = run.outcome is Outcome.DONE and bool(run.gates) and gates_passed(run)
    return done and is_open(run, project)


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
    if is_waiting(run):
        return {"status": WAITING, "why": "another node must verify the result first"}
    if run.result.get("commit") is None and not Lineage.of(run).begins:
        return {"status": NOTHING, "why": "the run changed no files"}
    return {"status": WAITING, "why": "it is being landed; its gates run first"}


def final_commit(run: Run) -> str | None:
    """Return the commit at which the next step begins: the run's result or, without a change, its own
    beginning."""
    found = run.result.get("commit") or run.workspace.get("snapshot")
    return found if isinstance(found, str) else None
