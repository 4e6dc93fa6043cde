"""One schedule: a seed decides work, faults and their order; then faults stop and all comes to its end."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from pancode.app.schema import SCHEMA
from pancode.kernel.records import Audit, AuditAnchor, FeedEvent, Run, RunState
from tests.simulation import enemy, faults, flows, talks, work
from tests.simulation.ending import at_the_end, reasons_are_true
from tests.simulation.flow_truth import FlowTruth
from tests.simulation.invariants import Broken, Invariants
from tests.simulation.kinds import KINDS, WORK, kind_of
from tests.simulation.night_truth import NightTruth
from tests.simulation.talk_truth import TalkTruth
from tests.simulation.world import SimWorld

SETTLE_STEPS = 700
QUIET_MS = 70_000
"""Long enough for what is tidied once a minute."""
LOGS = (Audit, AuditAnchor, FeedEvent)
Act = Callable[[SimWorld], None]


def act_named(name: str) -> Act:
    """The act of that name, in whichever file it is."""
    for place in (work, faults, enemy, flows, talks):
        if hasattr(place, name):
            act: Act = getattr(place, name)
            return act
    raise KeyError(name)


class Schedule(SimWorld):
    """`run()` raises Broken with the seed and the story of what was done. The same seed does the same."""

    def __init__(self, seed: int, kind: str | None = None) -> None:
        super().__init__(seed, kind_of(seed) if kind is None else KINDS[kind])
        self.seed = seed
        self.invariants = Invariants(self)
        self.flow_truth = FlowTruth(self)
        self.talk_truth = TalkTruth(self)
        self.night_truth = NightTruth(self)
        weights = {**WORK, **self.kind.acts}
        self._acts = [act_named(name) for name, weight in weights.items() for _ in range(weight)]

    def run(self) -> None:
        try:
            self.begin()
            for _ in range(self.kind.steps):
                self.random.choice(self._acts)(self)
                self.step(self.random.choice(self.kind.paces))
            self._heal()
            self._settle()
            at_the_end(self)
            self.flow_truth.at_the_end()
            self.talk_truth.at_the_end()
        except Exception as exc:
            told = "\n  ".join(self.story[-80:])
            where = f"seed {self.seed} ({self.kind.name})"
            raise Broken(f"{where}: {type(exc).__name__}: {exc}\n  {told}") from exc

    def step(self, ms: int) -> None:
        super().step(ms)
        self.invariants.after_step()
        self.flow_truth.after_step()
        self.talk_truth.after_step()
        self.night_truth.after_step()
        reasons_are_true(self)

    def ledger_is_another(self) -> None:
        self.invariants.begin_anew()
        self.flow_truth.begin_anew()

    def digest(self) -> str:
        """Of the ledger but its logs, which tell of forgeries: what two runs of one seed must agree on."""
        with self.coordinator.seen() as tx:
            rows = [repr(record) for kind in SCHEMA.tables if kind not in LOGS for record in tx.find(kind)]
        return hashlib.sha256("\n".join(rows).encode()).hexdigest()

    def _heal(self) -> None:
        self.say("faults stop")
        self.channel.chaos, self.postman.works = 0.0, False
        self.redis.down = False
        self.coordinator.frozen, self.coordinator.wire.at = False, None
        for machine in self.machines:
            machine.cut(False)
            machine.frozen, machine.wire.at = False, None
            machine.host.full = machine.shelf.full = False
            if machine.agent is None and not machine.gone:
                self.start(machine)
        if self.coordinator.core is None:
            self.coordinator.start()
        if self.coordinator.core is None:
            raise Broken("the coordinator does not start without faults")
        work.wind_up(self)

    def _settle(self) -> None:
        """Small steps at first, then the pace of the heartbeat, until all is at its end and quiet."""
        quiet_ms = 0
        for number in range(SETTLE_STEPS):
            work.stop_homeless(self)
            work.release_held(self, number)
            flows.go_on(self)
            ms = 1_000 if number < 10 else 5_000
            self.step(ms)
            quiet_ms = quiet_ms + ms if self._at_rest() else 0
            if quiet_ms >= QUIET_MS:
                return

    def _at_rest(self) -> bool:
        with self.coordinator.seen() as tx:
            ended = all(r.state is RunState.ENDED for r in tx.find(Run))
        return (
            ended
            and flows.at_rest(self)
            and talks.at_rest(self)
            and not any(m.journal.live() for m in self.machines if not m.gone)
        )
