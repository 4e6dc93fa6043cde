"""Rules for the landing of a run: how it is requested, called off and ended."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from node_agent.wire.failure import Outcome
from pancode.kernel.declared import to_json
from pancode.kernel.errors import UsageError, WorkspaceError
from pancode.kernel.formatting import count_noun
from pancode.kernel.records import Action, ActionKind, Run, RunState
from pancode.kernel.values import replace
from pancode.runs.facts import LandingTerms, Lineage
from pancode.runs.life import waits as people
from pancode.runs.life.changes import Changes, Signal
from pancode.runs.life.conversation import has_change
from pancode.runs.life.inbox import ItemKind, must_wait
from pancode.runs.receipts.trust import LANDED, NOTHING, REVERTED, WAITING, passed_gates
from pancode.runs.request import LandWay

CALLED_OFF, FAILED = "called off", "failed"
HELD, DROPPED = "held", "dropped"
LANDED_MS = "landed_ms"
"""The key in a run's result for the wall time, in milliseconds, of the last landing of its change."""
_KEPT = (
    *("status", "files", "tree", "branch", "commit", "gate", "yes", "held", "error", "recovered", "made"),
    *("conflicts", "already", "how", "asked_by"),
)


@dataclass(frozen=True, slots=True)
class RequiredGate:
    """A gate that a landing requires. `run`: the newest run of the change that requires the gate."""

    argv: tuple[str, ...]
    name: str
    run: str

    @property
    def text(self) -> str:
        """Return the gate's command as a user types it."""
        return shlex.join(self.argv)

    def is_named(self, text: str) -> bool:
        """Whether a user who types this text means this gate."""
        try:
            return tuple(shlex.split(text)) == self.argv
        except ValueError:
            return False


@dataclass(frozen=True, slots=True)
class RequiredGates:
    """The gates of all runs of a change without duplicates, and the set-up commands that they need.
    `left_out`: the gates that a user has left out."""

    gates: tuple[RequiredGate, ...]
    setup: tuple[tuple[str, ...], ...]
    left_out: tuple[RequiredGate, ...] = ()


def queue_landing(made: Changes) -> Changes:
    """At settlement, queue the landing of a completed run that has a change and was to be landed. A run whose
    stop request came too late is not landed; for a lost run, only its lease records the stop."""
    run = made.run
    changed = run.result.get("commit") is not None or Lineage.of(run).begins
    if not run.land or run.outcome is not Outcome.DONE or not changed:
        return made
    if run.stop_asked is not None or made.case.leases[run.lease].stop_sent:
        return _write_report(made, _make_off_report(made, run.stop_asked or "a stop was requested"))
    return made.follow(ActionKind.LAND, run.created_by, _place(run))


def _place(run: Run) -> dict[str, object]:
    """Return the key of the landing queue of the run's repository."""
    return {"repo": str(run.workspace.get("repo", ""))}


@dataclass(frozen=True, slots=True)
class LandingAsked(Signal):
    """A user's request to land the change."""

    way: LandWay

    def apply(self, made: Changes) -> Changes:
        """Queue a landing for a user, replacing a waiting one. WorkspaceError if the run has not ended."""
        run, waits = made.run, made.case.action(ActionKind.LAND)
        if run.state is not RunState.ENDED:
            raise WorkspaceError(f"{run.id} has not ended", fix=f"pancode runs show {run.id}")
        if self.way.approves:
            must_wait(run, made.case.action(ActionKind.USER), ItemKind.LANDING)
        row = {**_place(run), **to_json(self.way)}
        if waits is not None and WRITES in waits.detail:  # The landing may already have written the change.
            row[WRITES] = waits.detail[WRITES]
        if waits is not None and waits.detail == row:
            return made
        report = {
            **run.landing,
            "status": WAITING,
            "why": "waiting for earlier landings",
            "fix": "pancode land",
        }
        made = made.done(waits).put(replace(run, landing=report))
        return made.follow(ActionKind.LAND, self.way.by, row)


@dataclass(frozen=True, slots=True)
class LandingProposed(Signal):
    """An orchestrator's proposal to land the change, which a user must approve."""

    by: str

    def apply(self, made: Changes) -> Changes:
        """Ask a user to approve the landing that an orchestrator proposes. Idempotent. WorkspaceError if
        there is nothing to land."""
        run = made.run
        if run.state is not RunState.ENDED or run.outcome is not Outcome.DONE or not has_change(run):
            why = (
                "it has not ended"
                if run.state is not RunState.ENDED
                else f"its outcome is {run.outcome}, or it has no change"
            )
            raise WorkspaceError(f"{run.id} has nothing to land", why=why, fix=f"pancode runs show {run.id}")
        if run.landed is not None or made.case.action(ActionKind.LAND) is not None:
            raise WorkspaceError(
                f"{run.id} is already landed, or is waiting to land", fix=f"pancode why {run.id}"
            )
        if made.case.action(ActionKind.USER) is not None:
            asked_by = run.landing.get("asked_by", self.by)
            return made.put(replace(run, landing={**run.landing, "asked_by": asked_by}))
        if run.landing.get("status") in (DROPPED, people.DENIED):
            raise WorkspaceError(
                f"the change of {run.id} was rejected by a user", fix=f"pancode why {run.id}"
            )
        report = {
            "status": HELD,
            "why": f"{self.by} proposes to land it",
            "fix": f"pancode approve {run.id}",
            "asked_by": self.by,
        }
        return _write_report(people.open_question(made), report, self.by)


def land_when_due(made: Changes) -> Changes:
    """Queue the landing of the result of larger work; if a user must approve the agent's change, it waits for
    that."""
    run = made.run
    if autonomy := LandingTerms.of(run).autonomy:
        why = f"agent {run.agent} is {autonomy}: its change needs approval"
        return _write_report(made, {"status": HELD, "why": why, "fix": f"pancode approve {run.id}"})
    return queue_landing(made)


def spoiled_by(made_by: Sequence[Run], runs_gates: bool) -> tuple[Run, ...]:
    """Return the runs of a change, newest first, whose failures a user must approve before landing.

    Work that an older run left unfinished counts as finished by the newer ones. A policy violation remains
    part of the change. A failed gate counts until the same gate has passed in a newer run or, with
    `runs_gates`, because the landing runs it again and requires that it passes.
    """
    newest, passed = made_by[0], set[tuple[str, ...]]()
    found = [] if newest.outcome in (None, Outcome.DONE) else [newest]
    for run in made_by:
        own, here = {argv_of(gate) for gate in run.gates}, set(passed_gates(run))
        is_settled = bool(own) and (runs_gates or passed >= (own - here or own))
        failed = run.outcome is Outcome.VERIFY_FAILED and not is_settled
        if run.id != newest.id and (failed or run.outcome is Outcome.POLICY_VIOLATION):
            found.append(run)
        passed |= here
    return tuple(found)


def require_gates(made_by: Sequence[Run], without: Collection[str] = ()) -> RequiredGates:
    """Return the gates of all runs of a change, except those that a user withdraws by naming their text.

    `made_by`: newest first, as are the returned gates. The setup is that of the newest run, and of each older
    run with a gate that no newer run has.
    """
    found = dict[tuple[str, ...], RequiredGate]()
    for run in made_by:
        for gate in run.gates:
            found.setdefault(argv_of(gate), RequiredGate(argv_of(gate), str(gate["name"]), run.id))
    out = tuple(one for one in found.values() if any(one.is_named(text) for text in without))
    kept = tuple(one for one in found.values() if one not in out)
    prepared = {made_by[0].id, *(one.run for one in kept)}
    setup = dict.fromkeys(tuple(argv) for run in made_by if run.id in prepared for argv in run.setup)
    return RequiredGates(kept, tuple(setup), out)


def must_have_gates(run: str, made_by: Sequence[Run], without: Collection[str]) -> None:
    """Raise UsageError if a user withdraws a gate that no run of the change has."""
    gates = require_gates(made_by).gates
    unknown = [text for text in without if not any(one.is_named(text) for one in gates)]
    if not unknown:
        return
    commands = [f"pancode land {run} --without-gate {shlex.quote(one.text)}" for one in gates]
    raise UsageError(
        f"the change of {run} has no gate {unknown[0]}",
        why="; ".join(f"{one.text} (from {one.run})" for one in gates) or "it has no gates",
        fix="; or: ".join(commands) or f"pancode land {run}",
        code="unknown_gate",
    )


def argv_of(gate: Mapping[str, object]) -> tuple[str, ...]:
    """Return the command of a run's gate."""
    argv = gate.get("argv")
    return tuple(str(word) for word in argv) if isinstance(argv, list | tuple) else ()


WRITES = "writes"
"""Key in the row of a waiting landing: the report that applies if the write under way completed."""


def by_hand(action: Action) -> bool:
    """Whether a user requested this landing after the dispatch."""
    return "by" in action.detail


@dataclass(frozen=True, slots=True)
class Dropped(Signal):
    """A user's decision to discard the change."""

    by: str

    def apply(self, made: Changes) -> Changes:
        """Mark the change as discarded, so lists no longer offer it. Idempotent. Its commit remains stored,
        and `land` can still land it. WorkspaceError if the run has not ended."""
        run = made.run
        if run.state is not RunState.ENDED:
            raise WorkspaceError(f"{run.id} has not ended", fix=f"pancode runs stop {run.id}")
        if run.landing.get("status") == DROPPED:
            return made
        made = people.close_question(made.done(made.case.action(ActionKind.LAND)))
        report: dict[str, object] = {"status": DROPPED, "why": f"dropped by {self.by}", "was": run.landing}
        made = made.put(replace(run, landing={**report, "fix": f"pancode land {run.id}"}))
        made = made.tell("land", f"requested by {self.by}", DROPPED, "")
        return made.record("land", "info", DROPPED, by=self.by)


@dataclass(frozen=True, slots=True)
class TakenBack(Signal):
    """A user's decision to take back the drop of the change."""

    by: str

    def apply(self, made: Changes) -> Changes:
        """Restore the landing as it was before the drop. Do nothing to a run that is not dropped."""
        landing, was = made.run.landing, made.run.landing.get("was")
        if landing.get("status") != DROPPED:
            return made
        made = made.put(replace(made.run, landing=was if isinstance(was, dict) else {}))
        made = made.tell("land", f"requested by {self.by}", "no longer dropped", "")
        return made.record("land", "info", "no longer dropped", by=self.by)


@dataclass(frozen=True, slots=True)
class CalledOff(Signal):
    """A request to call off the landing of the change."""

    why: str

    def apply(self, made: Changes) -> Changes:
        """Call off the waiting landing, if any. A landing under way records its end itself."""
        waits, run = made.case.action(ActionKind.LAND), made.run
        if waits is None or (run.landed is not None and not by_hand(waits)):
            return made
        return _write_report(made.done(waits), _make_off_report(made, self.why))


@dataclass(frozen=True, slots=True)
class LandingWrites(Signal):
    """Signal that the landing of `action` is about to be written; `report` applies if the write completes."""

    report: Mapping[str, Any]
    action: str

    def apply(self, made: Changes) -> Changes:
        """Store the report that applies if the write completes, unless the landing was called off."""
        waits = made.case.action(ActionKind.LAND)
        if waits is None or waits.id != self.action:
            return made
        return made.note(waits, {WRITES: dict(self.report)})


@dataclass(frozen=True, slots=True)
class LandingOver(Signal):
    """The end of a queued landing."""

    report: Mapping[str, Any]
    """Status, why, fix, files, tree, branch, commit and gate of the landing, as far as known."""
    action: str = ""
    """The action that requested the landing; empty: the waiting landing."""
    by: str = ""
    """The user who requested the landing by hand; empty: the dispatch requested it."""

    def apply(self, made: Changes) -> Changes:
        """Record the end of the landing, unless it was called off and so already has an end."""
        waits, report = made.case.action(ActionKind.LAND), self.report
        if self.action and waits is not None and waits.id != self.action:
            return _record_report(made, report, self.by)  # Another landing was requested meanwhile.
        if waits is None and report["status"] == CALLED_OFF:
            # The end was already recorded when the landing was called off or denied, or the change was
            # dropped.
            return made
        made = made.done(waits)
        made = people.open_question(made) if report["status"] == HELD and not self.by else made
        return _write_report(made, report, self.by)


@dataclass(frozen=True, slots=True)
class Landed(Signal):
    """Signal that the change has been written to its owner's files."""

    by: str
    commit: str
    files: int
    gates: str
    branch: str = ""
    flags: tuple[str, ...] = ()

    def apply(self, made: Changes) -> Changes:
        """Record that the change is in its owner's files, even if it was reverted before."""
        commit, files = self.commit, self.files
        made = people.close_question(made)
        change = f"{count_noun(files, 'file')}{f' on branch {self.branch}' if self.branch else ''}"
        result = {name: value for name, value in made.run.result.items() if name != REVERTED}
        made = made.put(replace(made.run, landed=commit, result={**result, LANDED_MS: made.now.ms}))
        made = made.tell("land", commit[:12], "landed", f"{change}; gates: {self.gates}")
        detail = {"by": self.by, "yes": list(self.flags), "gates": self.gates, "branch": self.branch}
        return made.record("land", "info", "landed", commit=commit, files=files, **detail)


@dataclass(frozen=True, slots=True)
class Reverted(Signal):
    """Signal that a later commit of the owner's repository has reverted the landed change."""

    commit: str

    def apply(self, made: Changes) -> Changes:
        """Record that the landed change was reverted; this now counts against its agent."""
        run = made.run
        if run.landed is None or REVERTED in run.result:
            return made
        made = made.put(replace(run, result={**run.result, REVERTED: self.commit}))
        made = made.tell("land", self.commit[:12], "reverted", "a later commit reverts the landed change")
        return made.record("land", "warning", "reverted", commit=self.commit)


def _make_off_report(made: Changes, why: str) -> dict[str, Any]:
    return {"status": CALLED_OFF, "why": why, "fix": f"pancode land {made.run.id}"}


def _write_report(made: Changes, report: Mapping[str, Any], by: str = "") -> Changes:
    kept: dict[str, object] = {"why": _format_why(report), "fix": report.get("fix", "")}
    report = {**{key: one for key, one in made.run.landing.items() if key == "asked_by"}, **report}
    kept |= {key: list(v) if isinstance(v := report[key], tuple) else v for key in _KEPT if key in report}
    made = _record_report(made.put(replace(made.run, landing=kept)), report, by)
    return made if report["status"] == WAITING else made.advance()  # The lane continues now.


def _record_report(made: Changes, report: Mapping[str, Any], by: str) -> Changes:
    status, why = str(report["status"]), _format_why(report)
    if status == LANDED:  # The code that landed the change has already logged it.
        return made
    made = made.tell("land", f"requested by {by}" if by else "requested at dispatch", status, why)
    level = "info" if status == NOTHING else "warning"
    detail = {"by": by} if by else {}
    return made.record("land", level, f"not landed: {status}", why=why, **detail)


def _format_why(report: Mapping[str, Any]) -> str:
    status = report["status"]
    return str(report.get("why", "your tree already has the change" if status == NOTHING else ""))
