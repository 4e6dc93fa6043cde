"""Judges the merged tree of a landing: may it be written unasked, and do its gates pass on a node."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from node_agent.policy.deciding import why_it_decides
from node_agent.wire.failure import Outcome
from node_agent.wire.git import shown
from pancode.code.landing import gating
from pancode.code.landing.ports import Repositories
from pancode.control.core import Core
from pancode.core.records import Run
from pancode.life.land_values import Conflict, How, LandingGates, LandWay, Merged
from pancode.life.landing import spoiled_by
from pancode.life.verified import trusted_on
from pancode.runs import rounds
from pancode.runs.stop import stop
from pancode.work.workflow.continued import change_of

GATE_MS = 3_600_000
LOOK_S = 0.1


@dataclass(frozen=True, slots=True)
class LandingJudge:
    """Of one landing. `off`: whether it was called off meanwhile."""

    core: Core
    repositories: Repositories
    run: Run
    asked: LandWay
    off: Callable[[], bool]

    def __call__(self, merged: Merged) -> LandingGates:
        made_by = change_of(self.core, self.run)
        held = (*self._ends(made_by), *self._secrets(made_by), *self._deciding(merged))
        if held:
            return LandingGates(False, "a person has to say yes to it first", held)
        if not self.asked.gates or not self.run.gates:
            return LandingGates(
                True, "no gates" if not self.run.gates else "its gates were left out, as a person wanted"
            )
        node = trusted_on(self.run) if merged.tested else ""
        if node:
            return LandingGates(
                True, f"passed on {node}, which signed that for the very same tree; no gate ran again"
            )
        return self._on_a_node(merged.tree)

    def _deciding(self, merged: Merged) -> list[Conflict]:
        commands = (*self.run.setup, *(_argv(gate) for gate in self.run.gates))
        asked = () if self.asked.with_commands else merged.files
        reasons = ((name, why_it_decides(name, commands)) for name in asked)
        return [Conflict(shown(os.fsencode(name)), why, "--with-commands") for name, why in reasons if why]

    def _ends(self, made_by: Sequence[Run]) -> list[Conflict]:
        """What its runs did against the rules, however the newest of them has ended."""
        spoiled = () if self.asked.anyway else spoiled_by(made_by)
        return [Conflict(run.id, f"it ended {run.outcome}: {run.reason}", "--anyway") for run in spoiled]

    def _secrets(self, made_by: Sequence[Run]) -> list[Conflict]:
        every = () if self.asked.with_secret else made_by
        own_commits = bool(self.asked.branch) and self.asked.how is not How.SQUASH
        return [
            Conflict(str(row["file"]), self._exposed(run, row), "--with-secret")
            for run in every
            for row in rows_of(run.result.get("exposed"))
            if own_commits or not row.get("passing")
        ]

    def _exposed(self, run: Run, row: Mapping[str, Any]) -> str:
        if row.get("passing"):
            return f"held the secret {row['secret']} in a commit of {run.id} on the way"
        if run.id == self.run.id:
            return f"holds the secret {row['secret']}"
        return f"{run.id} wrote the secret {row['secret']} into it, and nobody knows whether it is gone"

    def _on_a_node(self, tree: str) -> LandingGates:
        core, run = self.core, self.run
        repo, base = str(run.workspace["repo"]), run.workspace.get("base")
        base = None if base is None else str(base)
        snapshot = self.repositories.commit_of(repo, tree, base)
        gate_id = gating.known(core, run, snapshot)
        if gate_id is None:
            gate_id = gating.reserve(core)
            self.repositories.offer(repo, gate_id, snapshot, base)
            gating.begin(core, run, gate_id, snapshot, self.asked.by)
            rounds.act(core)
        return self._ended(gate_id)

    def _ended(self, gate_id: str) -> LandingGates:
        clock = self.core.ports.clock
        until = clock.boot_ms() + GATE_MS
        while (run := gating.ended(self.core, gate_id)) is None:
            if self.off() or clock.boot_ms() > until:
                with self.core.lock:
                    stop(self.core, gate_id, f"the landing of {self.run.id} was called off, or took too long")
                rounds.act(self.core)
                return LandingGates(False, f"{gate_id} was stopped before its gates had ended", run=gate_id)
            time.sleep(LOOK_S)
        if run.outcome is not Outcome.DONE:
            why = f"{run.reason}; look: pancode runs logs --stream gates.log {gate_id}"
            return LandingGates(False, why, run=gate_id)
        where = f"{run.result.get('node')}, isolation {run.result.get('isolation')}"
        return LandingGates(True, f"passed on the merged tree: {gate_id} on {where}", run=gate_id)


def rows_of(found: object) -> Sequence[Mapping[str, Any]]:
    """The rows of a list in a run's result."""
    return found if isinstance(found, list | tuple) else ()


def _argv(gate: dict[str, object]) -> list[str]:
    argv = gate.get("argv")
    return [str(word) for word in argv] if isinstance(argv, list | tuple) else []
