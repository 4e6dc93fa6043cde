"""Judges a landing, using the repositories port: if its gates pass on the merged tree and where they ran."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from decimal import Decimal
from typing import Any

from node_agent.policy.deciding import NAMED_TO_AGENTS, ChangedTree, why_they_decide
from node_agent.wire.failure import Outcome
from node_agent.wire.git import decode_path
from node_agent.wire.job import NO_AGENT
from pancode.git.landings import Conflict, LandingGates, Merged, Repositories
from pancode.kernel.ports import SnapshotTaken, Transaction
from pancode.kernel.records import Judging, Node, Run, RunState
from pancode.kernel.rows import dump_facets
from pancode.kernel.states import How
from pancode.kernel.values import replace
from pancode.landing.rules import RequiredGates, argv_of, require_gates, spoiled_by
from pancode.runs import reconcile
from pancode.runs.core import Core
from pancode.runs.dispatch import admit_run, new_id
from pancode.runs.facts import GateTerms, Provision
from pancode.runs.features import features_of
from pancode.runs.placement.placement import can_be_had, explain_misfit
from pancode.runs.receipts.trust import passed_gates, trusted_on
from pancode.runs.request import LandWay
from pancode.runs.stop import stop_run
from pancode.runs.unit_of_work import Work, unit_of_work
from pancode.runs.whole_changes import change_of

HISTORY = 200
"""How many of the newest runs are searched for gates that ran on the same tree."""

_FRESH: dict[str, Any] = {
    one.name: one.default if one.default_factory is MISSING else one.default_factory()
    for one in fields(Run)
    if one.default is not MISSING or one.default_factory is not MISSING
}
"""The values of a run's fields before the run has any result."""
_OF_A_MODEL = ("tokens", "usd", "requests", "wrap_up", "turns")


def reserve_run_id(core: Core) -> str:
    """Return an id for the run that will judge a landing."""
    with core.lock:
        return new_id(core)


def find_judging_run(core: Core, run: Run, snapshot: str, required: RequiredGates) -> str | None:
    """Return the id of a run that has judged or now judges exactly this tree with these gates, even one that
    an earlier coordinator began; None if there is none."""
    with core.ports.ledger.transaction() as tx:
        found = tx.find(Run, order="created_ms", descending=True, limit=HISTORY)
    commands = [one.argv for one in required.gates]
    mine = (
        one for one in found if one.judges == run.id and [argv_of(gate) for gate in one.gates] == commands
    )
    same = (one for one in mine if one.workspace.get("snapshot") == snapshot and one.stop_asked is None)
    return next((one.id for one in same if one.outcome in (None, Outcome.DONE)), None)


def begin_judging(core: Core, run: Run, gate_id: str, snapshot: str, by: str, required: RequiredGates) -> Run:
    """Queue a run that does only the required set-up and gates. Raises RefusedError without budget. The run
    prefers the node of the original run, where the set-up is cached."""
    judging = judging_run(core, run, gate_id, snapshot, by, required)
    with core.lock, unit_of_work(core) as work:
        judging = admit_run(work, replace(judging, node=_at_home(core, work.tx, run, judging)))
        work.tell(run.id, "land", f"gates on the merged tree: {gate_id}", "begun", by)
    return judging


def judging_run(core: Core, run: Run, gate_id: str, snapshot: str, by: str, required: RequiredGates) -> Run:
    """Return a run like `run` at another commit, with only the required set-up and gates and no agent."""
    without, given = ", ".join(one.text for one in required.left_out), Provision.of(run)
    limits = {name: None if name in _OF_A_MODEL else value for name, value in run.limits.items()}
    return replace(
        run,
        **{
            **_FRESH,
            "id": gate_id,
            "created_ms": core.wall_ms(),
            "created_by": by,
            "task": f"gates of the landing of {run.id}{f', without {without}' if without else ''}",
            "setup": required.setup,
            "gates": tuple({"name": one.name, "argv": list(one.argv)} for one in required.gates),
            "argv": NO_AGENT,
            "prompt": "",
            "runtime": "shell",
            "model": None,
            "read_only": False,
            "workspace": {**run.workspace, "snapshot": snapshot, "folder": ""},
            "limits": {**limits, "wrap_up": False},
            "estimate_usd": Decimal(0),
            "max_attempts": None,
            "on_lost": "retry",
            "rules": run.rules,
            # Gates get what they got in the run.
            "terms": dump_facets(
                (
                    Judging(run.id),
                    Provision(given.walled, given.confined, ports=given.ports, copied=given.copied),
                )
            ),
        },
    )


def admit_at_commit(work: Work, judging: Run) -> None:
    """Make the commit of a judging run its snapshot, and queue the run."""
    where = judging.workspace
    base, form = where.get("base"), str(where.get("object_format") or "sha1")
    begins = SnapshotTaken(
        str(where["repo"]), None if base is None else str(base), str(where["snapshot"]), form
    )
    work.core.ports.depot.begin_at(judging.id, begins)
    admit_run(work, judging)


def _at_home(core: Core, tx: Transaction, run: Run, judging: Run) -> str | None:
    name = run.result.get("node")
    node = tx.get(Node, name) if isinstance(name, str) else None
    if node is None or node.removed is not None:
        return None
    view = core.view_of(node)
    return node.name if can_be_had(view) and not explain_misfit(replace(judging, node=None), view) else None


def find_ended(core: Core, gate_id: str) -> Run | None:
    """Return the judging run if it has ended; None while it continues."""
    with core.ports.ledger.transaction() as tx:
        found = tx.get(Run, gate_id)
    return found if found is not None and found.state is RunState.ENDED else None


GATE_MS = 3_600_000
LOOK_S = 0.1


@dataclass(frozen=True, slots=True)
class LandingJudge:
    """Judges one landing. `off`: returns whether the landing was called off; `prd_of`: returns the
    requirements file of a project that its agents must read."""

    core: Core
    repositories: Repositories
    run: Run
    way: LandWay
    off: Callable[[], bool]
    prd_of: Callable[[str], str]

    def __call__(self, merged: Merged) -> LandingGates:
        made_by = change_of(self.core, self.run)
        held = (
            *self._find_bad_ends(made_by),
            *self._find_secrets(made_by),
            *self._find_deciding(merged, made_by),
        )
        if held:
            return LandingGates(False, "a user must approve the change first", held)
        required = require_gates(made_by, self.way.without_gates)
        gates = self._judge_gates(merged, required)
        if not gates.ok or not required.left_out or not self.way.gates:
            return gates
        without = ", ".join(one.text for one in required.left_out)
        return replace(gates, detail=f"{gates.detail}; left out, as {self.way.by} requested: {without}")

    def _judge_gates(self, merged: Merged, required: RequiredGates) -> LandingGates:
        if not self.way.gates:
            return LandingGates(True, "the gates were left out, as a user requested")
        if not required.gates:
            return LandingGates(True, "no gates")
        node = trusted_on(self.run) if merged.tested else ""
        if node and {one.argv for one in required.gates} <= set(passed_gates(self.run)):
            reads = ", ".join(GateTerms.of(self.run).reads)
            also = f" and for the agent's {reads}, which does not land" if reads else ""
            return LandingGates(
                True, f"passed on {node}, which signed that for the very same tree{also}; no gate ran again"
            )
        core, run = self.core, self.run
        repo, base = str(run.workspace["repo"]), run.workspace.get("base")
        base = None if base is None else str(base)
        snapshot = self.repositories.commit_of(repo, merged.tree, base)
        gate_id = find_judging_run(core, run, snapshot, required)
        if gate_id is None:
            gate_id = reserve_run_id(core)
            self.repositories.offer(repo, gate_id, snapshot, base)
            begin_judging(core, run, gate_id, snapshot, self.way.by, required)
            reconcile.act_now(core)
        return self._await_gates(gate_id, required)

    def _find_deciding(self, merged: Merged, made_by: Sequence[Run]) -> list[Conflict]:
        commands = [argv for run in made_by for argv in (*run.setup, *map(argv_of, run.gates))]
        if self.way.with_commands or not merged.files:
            return []
        before, after = (
            self.repositories.files_of(str(self.run.workspace["repo"]), tree)
            for tree in (merged.before, merged.tree)
        )
        prd = self.prd_of(str(self.run.project))
        reasons = why_they_decide(ChangedTree(merged.files, before, after, prd, merged.plain), commands)
        # A user already approved this text with `issue plan --keep`.
        with self.core.ports.ledger.transaction() as tx:
            kept = {digest for find in features_of(self.core).approved for digest in find(tx)}
        return [
            Conflict(decode_path(os.fsencode(name)), why, "--with-commands")
            for name, why in reasons.items()
            if why != NAMED_TO_AGENTS or hashlib.sha256(after.read(name) or b"").hexdigest() not in kept
        ]

    def _find_bad_ends(self, made_by: Sequence[Run]) -> list[Conflict]:
        """Return a conflict for each run of the change that ended badly, however the newest one ended."""
        spoiled = () if self.way.anyway else spoiled_by(made_by, self.way.gates)
        return [Conflict(run.id, f"it ended {run.outcome}: {run.reason}", "--anyway") for run in spoiled]

    def _find_secrets(self, made_by: Sequence[Run]) -> list[Conflict]:
        every = () if self.way.with_secret else made_by
        own_commits = bool(self.way.branch) and self.way.how is not How.SQUASH
        return [
            self._make_secret_conflict(run, row)
            for run in every
            for row in rows_of(run.result.get("exposed"))
            if own_commits or not row.get("passing")
        ]

    def _make_secret_conflict(self, run: Run, row: Mapping[str, Any]) -> Conflict:
        secret, file, flag = row["secret"], str(row["file"]), "--with-secret"
        if not secret:  # the node could not search for secrets, and the row contains the reason
            return Conflict(run.id, file, flag)
        if row.get("passing"):
            return Conflict(
                file, f"contained the secret {secret} in an intermediate commit of {run.id}", flag
            )
        if run.id == self.run.id:
            return Conflict(file, f"contains the secret {secret}", flag)
        why = f"{run.id} wrote the secret {secret} into the file, and it may still be there"
        return Conflict(file, why, flag)

    def _await_gates(self, gate_id: str, required: RequiredGates) -> LandingGates:
        clock = self.core.ports.clock
        until = clock.boot_ms() + GATE_MS
        while (run := find_ended(self.core, gate_id)) is None:
            if self.off() or clock.boot_ms() > until:
                with self.core.lock:
                    stop_run(
                        self.core, gate_id, f"the landing of {self.run.id} was called off or took too long"
                    )
                reconcile.act_now(self.core)
                return LandingGates(
                    False, f"{gate_id} was stopped before its gates had finished", run=gate_id
                )
            time.sleep(LOOK_S)
        if run.outcome is not Outcome.DONE:
            failed, older = (
                passed_gates(run, passed=False),
                [one for one in required.gates if one.run != self.run.id],
            )
            gates = [one for one in required.gates if one.argv in failed] or older
            of = ", ".join(f"{one.text} is a gate of {one.run}" for one in gates if one in older)
            why = f"{run.reason}{f' ({of})' if of else ''}"
            if reads := ", ".join(GateTerms.of(self.run).reads):
                why += (
                    f" (the agent's {reads} is only on the node of {self.run.id}, and not part of its change)"
                )
            look = f"see: pancode logs --stream gates.log {gate_id}"
            return LandingGates(False, f"{why}; {look}", run=gate_id, failed=tuple(one.text for one in gates))
        where = f"{run.result.get('node')}, isolation {run.result.get('isolation')}"
        return LandingGates(True, f"passed on the merged tree: {gate_id} on {where}", run=gate_id)


def rows_of(found: object) -> Sequence[Mapping[str, Any]]:
    """Return the rows of a list in a run's result; empty if `found` is not a list."""
    return found if isinstance(found, list | tuple) else ()
