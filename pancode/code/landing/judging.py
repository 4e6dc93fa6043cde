"""Judges the merged tree of a landing: may it be written unasked, and do its gates pass on a node."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from node_agent.policy.deciding import why_it_decides
from node_agent.wire.failure import Outcome
from node_agent.wire.git import shown
from pancode.code.landing import gating
from pancode.code.landing.ports import Repositories
from pancode.control.core import Core
from pancode.core.records import Run
from pancode.life.land_values import Conflict, LandingGates, LandWay, Merged
from pancode.life.verified import trusted_on
from pancode.runs import rounds
from pancode.runs.stop import stop

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
        held = (*self._secrets(), *self._deciding(merged))
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

    def _secrets(self) -> list[Conflict]:
        found = self.run.result.get("exposed")
        rows = found if isinstance(found, list | tuple) and not self.asked.with_secret else ()
        return [
            Conflict(str(one["file"]), f"holds the secret {one['secret']}", "--with-secret") for one in rows
        ]

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


def _argv(gate: dict[str, object]) -> list[str]:
    argv = gate.get("argv")
    return [str(word) for word in argv] if isinstance(argv, list | tuple) else []
