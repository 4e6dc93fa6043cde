"""Which gates of a repository have passed before or fail without a change, and what runs are told of it."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import TypeAlias

from node_agent.wire.failure import FailureKind, Outcome
from pancode.kernel.facets import GateTerms, Judging, Lineage
from pancode.kernel.ports import Transaction
from pancode.kernel.records import Action, ActionKind, Run, RunState, Setting, WaitReason
from pancode.kernel.values import replace
from pancode.landing.rules import argv_of
from pancode.runs.life.binding import begin_waiting
from pancode.runs.life.changes import Changes, Signal
from pancode.runs.life.ends import end_unstarted

Gate: TypeAlias = tuple[str, ...]
"""The command of a gate."""
WAITS = "waits for its gates on the unchanged tree"
ALREADY = "this gate already fails without the change"
MOST_GATES = 200
"""How many gates of a repository are remembered: those that were used first are forgotten first."""


@dataclass(frozen=True, slots=True)
class KnownGate:
    """What is known of a gate in a repository.

    `passed`: whether any run has passed it; None: a check has not ended. `told`: the runs that failed it
    meanwhile, which are told of the verdict.
    """

    passed: bool | None
    told: tuple[str, ...] = ()


KnownGates: TypeAlias = Mapping[Gate, KnownGate]


def name_row(run: Run) -> str:
    """Return the name of the setting that has the known gates of the run's repository."""
    return f"gates:{run.project}"


def read_known(tx: Transaction, run: Run) -> KnownGates:
    """Return the known gates of the run's repository."""
    row = tx.get(Setting, name_row(run))
    rows = row.value if row is not None and isinstance(row.value, list) else []
    return {tuple(one["argv"]): KnownGate(one["passed"], tuple(one["told"])) for one in rows}


def dump_known(known: KnownGates) -> list[dict[str, object]]:
    """Return the known gates as plain JSON for the ledger."""
    newest = list(known.items())[-MOST_GATES:]
    return [{"argv": list(gate), "passed": one.passed, "told": list(one.told)} for gate, one in newest]


def why_uncheckable(run: Run) -> str:
    """Return why the gates of a new run cannot be checked on the unchanged tree; empty: they can."""
    lineage = Lineage.of(run)
    if run.project is None or run.workspace.get("kind") != "git":
        return "it has no snapshot of a repository"
    if run.judges is not None or lineage.continues or lineage.begins or lineage.takes or lineage.resolves:
        return "it begins with the change of another run"
    if lineage.in_workspace or run.takes_turns:
        return "it goes on in the files of a workspace or session"
    return "its gates may need the GPUs that it holds" if run.holds_gpus else ""


def begin_known(known: KnownGates, run: Run) -> KnownGates | None:
    """Return the known gates with those that are checked for this run; None: no check is needed."""
    new = {gate: KnownGate(None) for gate in map(argv_of, run.gates) if gate not in known}
    return {**known, **new} if new or GateTerms.of(run).check_first else None


def learn_results(known: KnownGates, run: str, results: Mapping[Gate, bool]) -> KnownGates:
    """Return the known gates after a run's receipt: a gate has passed, or the run waits for the verdict."""
    learned = dict(known)
    for gate, has_passed in results.items():
        before = known.get(gate)
        if has_passed:
            learned[gate] = replace(before or KnownGate(None), passed=True)
        elif before is not None and before.passed is None and run not in before.told:
            learned[gate] = replace(before, told=(*before.told, run))
    return learned


def end_check(known: KnownGates, check: Run) -> KnownGates:
    """Return the known gates after a check. A gate that it could not judge is checked at its next use."""
    learned, results = dict(known), judged_gates(check)
    for gate in map(argv_of, check.gates):
        has_passed = results.get(gate) or (gate in known and known[gate].passed)
        if gate in results or has_passed:
            learned[gate] = KnownGate(bool(has_passed))
        else:
            learned.pop(gate, None)
    return learned


def find_told(tx: Transaction, check: Run) -> list[Run]:
    """Return the runs that are told of a check's verdict: its own one, and those that failed meanwhile."""
    known, gates = read_known(tx, check), set(map(argv_of, check.gates))
    waiting = (name for gate, one in known.items() if gate in gates for name in one.told)
    found = (tx.get(Run, name) for name in dict.fromkeys((check.judges or check.id, *waiting)))
    return [run for run in found if run is not None]


def judged_gates(run: Run) -> dict[Gate, bool]:
    """Return the gates that ran to their end in the run, and whether each has passed."""
    if run.outcome not in (Outcome.DONE, Outcome.VERIFY_FAILED):
        return {}
    rows = run.result.get("gates")
    return (
        {argv_of(one): bool(one["passed"]) for one in rows if one["judged"]} if isinstance(rows, list) else {}
    )


def tell_known(tx: Transaction, made: Changes) -> Changes:
    """Tell a run that has just failed its gates which of them are known to fail without its change."""
    if made.run.outcome is not Outcome.VERIFY_FAILED or made.run.judges is not None:
        return made
    known = read_known(tx, made.run)
    return _mark(made, {gate for gate, one in known.items() if one.passed is False})


def follow_check(tx: Transaction, made: Changes) -> Changes:
    """Let the verdict of a check that has just ended be told. Idempotent."""
    is_check, run = Judging.of(made.run).unchanged, made.run
    is_told = not is_check or tx.get(Action, action_id(run.id)) is not None
    return made if is_told else made.add(make_action(run, made.now.ms))


def make_action(run: Run, at_ms: int) -> Action:
    """Return the action that begins the check of a run's gates, or tells the verdict of a check."""
    return Action(action_id(run.id), ActionKind.CHECK_GATES, run.id, at_ms, run.created_by)


def action_id(run: str) -> str:
    """Return the id of this action."""
    return f"{ActionKind.CHECK_GATES}:{run}"


def _mark(made: Changes, failing: Set[Gate]) -> Changes:
    """Mark the failed gates of an ended run that fail without its change, too. Idempotent."""
    run, rows = made.run, made.run.result.get("gates")
    failed = [one for one in rows if not one["passed"]] if isinstance(rows, list) else []
    already = [one for one in failed if argv_of(one) in failing and not one.get("already_fails")]
    if not isinstance(rows, list) or not already:
        return made
    marked = [{**one, "already_fails": True} if one in already else one for one in rows]
    reason = f"{run.reason}; {ALREADY}" if failed[0] in already else run.reason
    made = made.put(replace(run, reason=reason, result={**run.result, "gates": marked}))
    for one in already:
        made = made.tell("gate", str(one["name"]), "already fails", "it fails on the unchanged tree, too")
    return made


@dataclass(frozen=True, slots=True)
class GatesChecked(Signal):
    """The check of the run's gates on the unchanged tree has ended, or is not possible.

    `check`: the run that has checked them, or `gates`; `failing`: the gates that failed there; `failure`: why
    the check did not pass; None: it did; `why`: how it ended.
    """

    check: str
    failing: frozenset[Gate]
    failure: FailureKind | None
    why: str

    def apply(self, made: Changes) -> Changes:
        """Begin or end a run that has waited for the check; tell an ended one what already failed."""
        run = made.run
        if run.outcome is Outcome.VERIFY_FAILED:
            return _mark(made, self.failing)
        made = made.tell("gate", self.check, "checked", f"gates on the unchanged tree: {self.why}")
        if run.state is not RunState.PENDING or run.waits is not WaitReason.GATES:
            return made
        if self.failure is None:
            return begin_waiting(made)
        why = f"{self.why}; {ALREADY}" if self.failing else f"its gates were not checked: {self.why}"
        return end_unstarted(made, self.failure, f"{why}: fix it first, or leave it out with --no-verify")
