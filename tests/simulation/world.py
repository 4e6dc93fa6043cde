"""One simulated fleet under one seed: its machines, its clocks, what was done to it, and the next step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random  # noqa: TID251 - seeded, which is the point

from node_agent.wire.signing import SigningKey
from pancode.fleet import inventory
from tests.fakes.bus import MemoryRedis
from tests.fakes.node import MemoryClock, MemoryDepot
from tests.simulation import flows, talks
from tests.simulation.channel import Channel
from tests.simulation.coordinator import RULES, Rows, SimDepot, SimDesk
from tests.simulation.interactive_runs import Models
from tests.simulation.kinds import Kind
from tests.simulation.machines import INTERVALS, Machine
from tests.simulation.postman import Postman
from tests.simulation.trees import Trees
from tests.simulation.truth import Truth


class SimWorld:
    """What acts act on."""

    def __init__(self, seed: int, kind: Kind) -> None:
        self.kind, self.random = kind, Random(seed)
        self.clock, self.server = MemoryClock(ms=10_000_000), MemoryClock(ms=10_000_000)
        self.swallowed: set[str] = set()
        self.arrived, self.trees = MemoryDepot(), Trees()
        self.models = Models()
        self.channel = Channel(Random(seed + 1))
        self.postman = Postman(Random(seed + 2))
        self.redis = MemoryRedis(self.server.boot_ms)
        self.redis.carry = self.channel.carry
        self.coordinator = SimDesk(self.redis, SimDepot(self.arrived, self.trees), self.clock)
        if kind.ceiling_usd is not None:
            self.coordinator.rules = replace(RULES, ceiling_usd=kind.ceiling_usd)
        count = self.random.choice(kind.nodes)
        self.machines = [
            Machine(f"n{i}", self.redis, (self.arrived, self.trees), self.random.choice((1, 2, 3)))
            for i in range(count)
        ]
        for machine in self.machines:
            machine.intervals = replace(INTERVALS, **kind.intervals)
            machine.models = self.models
        self.truth = Truth(self.coordinator, self.machines)
        self.unenrolled: set[str] = set()
        self.runs: list[str] = []
        self.backups: list[Rows] = []
        self.story: list[str] = []
        self.number = 0
        self.after_this_step: list[Callable[[], None]] = []
        self.flows = flows.Flows()
        self.talks = talks.Talks()
        self.quiet_enemy = False
        """The enemy draws his cards and plays none that only a believer would notice (see test_clones)."""

    # -- time ------------------------------------------------------------------------------------

    def begin(self) -> None:
        self.coordinator.start()
        for machine in self.machines:
            if self.coordinator.core is not None:
                labels = {"name": machine.name, "half": machine.name}
                inventory.add(self.coordinator.core, machine.row(labels))
            self.start(machine)
        for _ in range(4):
            self.step(1_000)

    def start(self, machine: Machine) -> None:
        keys = {self.coordinator.key.public.keyid: self.coordinator.key.public}
        machine.start(keys)

    def step(self, ms: int) -> None:
        """Time passes, then everybody who can acts, in an order that the seed decides."""
        self.pass_time(ms)
        turned = False

        def coordinator() -> None:
            nonlocal turned
            turned = self.coordinator.turn()
            flows.follow(self)
            talks.follow(self)

        actors: list[Callable[[], None]] = [coordinator, *(m.tick for m in self.machines)]
        self.random.shuffle(actors)
        for act in actors:
            act()
        for repair in self.after_this_step:
            repair()
        self.after_this_step.clear()
        for identity in self.swallowed:
            self.lose(identity)
        self.channel.note_heartbeats(self.redis)
        self.postman.deliver_again(self)
        self.truth.after_step(ms, turned)
        self._restarts()

    def pass_time(self, ms: int) -> None:
        for clock in (self.clock, self.server, *(m.clock for m in self.machines)):
            clock.advance(ms)

    def lose(self, identity: str) -> None:
        """The depot no longer has anything of this attempt."""
        self.arrived.commits.pop(identity, None)
        for key in [key for key in self.arrived.blobs if key[0] == identity]:
            del self.arrived.blobs[key]

    def _restarts(self) -> None:
        """What died comes back after a while, as its supervisor would see to it."""
        for name in sorted(self.unenrolled) if self.coordinator.awake is not None else ():
            self.unenrolled.discard(name)
            self.enrol(next(m for m in self.machines if m.name == name))
        if self.coordinator.core is None and self.random.random() < 0.4:
            self.say("coordinator starts")
            self.coordinator.start()
        for machine in self.machines:
            if machine.agent is None and not machine.gone and self.random.random() < 0.4:
                self.say(f"{machine.name} starts")
                self.start(machine)

    def enrol(self, machine: Machine) -> None:
        """A user has the node's new key enrolled, as soon as the coordinator answers."""
        key = machine.key.public.text()
        if not self.coordinator.ask(lambda core: inventory.enrol(core, machine.name, key)):
            self.unenrolled.add(machine.name)

    def ledger_is_another(self) -> None:
        """A backup was put back."""

    # -- for acts --------------------------------------------------------------------------------

    def machine(self) -> Machine:
        return self.random.choice(self.machines)

    def say(self, what: str) -> None:
        self.story.append(f"{self.server.ms}: {what}")

    def stranger(self) -> SigningKey:
        return SigningKey(b"x" * 32)
