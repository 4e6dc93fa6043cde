"""The simulated machines: a coordinator and its nodes, each of which can crash between any two calls."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

from node_agent.agent import NodeAgent
from node_agent.claims import Self
from node_agent.fleettime import FleetClock
from node_agent.journal import Journal
from node_agent.memory import (
    CountingIds,
    Crash,
    MemoryClock,
    MemoryDepot,
    MemoryDepotLink,
    MemoryFacts,
    MemoryHost,
    MemoryRunner,
    MemoryRuntimes,
    MemoryShelf,
    MemoryWorkspaces,
    Script,
    Tripping,
    Tripwire,
)
from node_agent.ports import Claimed, LinkDown, Sent
from node_agent.publish import Speaker
from node_agent.tempo import Tempo
from node_agent.wire.identity import AttemptId
from node_agent.wire.signing import SigningKey
from node_agent.world import World
from pancode.adapters.memory_bus import MemoryRedis, NodeShapes
from pancode.adapters.memory_ledger import MemoryLedger
from pancode.control.core import Ports, Rules
from pancode.control.plane import Plane
from pancode.domain.fleet import Deadlines
from pancode.domain.records import Node
from pancode.errors import UnavailableError
from pancode.ports import SnapshotTaken, Transaction

FLEET = "f-simulation"
SHAPES = NodeShapes(LinkDown, Claimed, Sent)
RULES = Rules(
    ceiling_usd=Decimal(4),
    deadlines=Deadlines(ask_ms=15_000, suspect_ms=30_000, unreachable_ms=60_000, lost_ms=120_000),
    start_by_ms=40_000,
)
TEMPO = Tempo(inventory_ms=60_000, publish_most_ms=20_000)


class SimDepot:
    """pancode.ports.Depot over what the nodes have delivered."""

    def __init__(self, arrived: MemoryDepot) -> None:
        self.arrived = arrived

    def snapshot(self, project: str, run: str) -> SnapshotTaken:
        return SnapshotTaken(
            "repo-1", None, hashlib.sha1(run.encode(), usedforsecurity=False).hexdigest(), "sha1"
        )

    def commit_arrived(self, repo: str, identity: AttemptId, commit: str) -> bool:
        return self.arrived.commits.get(str(identity)) == commit

    def blob_arrived(self, identity: AttemptId, name: str, size: int, sha256: str) -> bool:
        data = self.arrived.blobs.get((str(identity), name))
        return data is not None and len(data) == size and hashlib.sha256(data).hexdigest() == sha256


class SimArchive:
    """Receipts as archived; storing again must store the same."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}

    def store(self, identity: AttemptId, envelope: str) -> None:
        digest = hashlib.sha256(envelope.encode()).hexdigest()
        self.kept[f"{identity}/{digest}"] = envelope


class Desk:
    """The coordinator's machine. The ledger and the archive outlive a crash; the process does not."""

    def __init__(self, redis: MemoryRedis, arrived: MemoryDepot, clock: MemoryClock) -> None:
        self.redis, self.clock = redis, clock
        self.wire = Tripwire()
        self.ledger = MemoryLedger(
            before_commit=lambda: self.wire.pass_by("before commit"),
            after_commit=lambda: self.wire.pass_by("after commit"),
        )
        self.archive, self.depot, self.ids = SimArchive(), SimDepot(arrived), CountingIds()
        self.key = SigningKey(b"c" * 32)
        self.plane: Plane | None = None
        self.frozen = False

    def start(self) -> None:
        """A new coordinator process. It may die while it starts."""
        ports = Ports(
            self.ledger,
            Tripping(self.redis.bus(), self.wire, "bus"),
            self.depot,
            Tripping(self.archive, self.wire, "archive"),
            self.clock,
            self.ids,
        )
        plane = Plane(ports, self.key, FLEET, RULES)
        self.plane = plane
        self.guarded(plane.start)

    @contextmanager
    def seen(self) -> Iterator[Transaction]:
        """The ledger as an onlooker sees it: nothing crashes because somebody looks."""
        at, count = self.wire.at, self.wire.count
        self.wire.at = None
        try:
            with self.ledger.transaction() as tx:
                yield tx
        finally:
            self.wire.at, self.wire.count = at, count

    def guarded(self, work: Callable[[], Any]) -> Any:
        """Do it; a crash ends the process."""
        try:
            return work()
        except Crash:
            self.plane = None
            self.wire.at = None
        except UnavailableError:
            pass
        return None

    def turn(self) -> None:
        if self.plane is not None and not self.frozen:
            self.guarded(self.plane.turn)

    def crash_in(self, calls: int) -> None:
        """Die at the `calls`-th moment between calls from now on."""
        self.wire.at = self.wire.count + calls


class Machine:
    """A node: its disk and its processes outlive the node agent; its processes do not outlive a power cut."""

    def __init__(self, name: str, redis: MemoryRedis, arrived: MemoryDepot, slots: int) -> None:
        self.name, self.redis, self.arrived, self.slots = name, redis, arrived, slots
        self.key = SigningKey(name.encode().ljust(32, b"."))
        self.tag = self.key.public.tag
        self.clock = MemoryClock(ms=int.from_bytes(name.encode(), "big") % 5_000_000)
        self.scripts: dict[str, Script] = {}
        self.host = MemoryHost(self.clock, lambda who: self.scripts.get(str(who.run), Script()))
        self.shelf, self.ids, self.wire = MemoryShelf(), CountingIds(), Tripwire()
        self.link = MemoryDepot(commits=arrived.commits, blobs=arrived.blobs)
        self.agent: NodeAgent | None = None
        self.frozen = False
        redis.bus().admit_node(self.tag, "password")

    def row(self) -> Node:
        """The node as the inventory has it after its enrolment."""
        return Node(
            self.name, 0, {}, {"name": self.name}, self.slots, tag=self.tag, public_key=self.key.public.text()
        )

    def start(self, coordinator: SigningKey) -> None:
        """A new node agent on the same disk."""
        me = Self(FLEET, self.name, "0.1.0", self.key.public)
        fleet = FleetClock(0, self.ids.token(8))
        journal = Journal(self.shelf, Speaker(me, self.key, self.clock, fleet), self.clock)
        runner = MemoryRunner(self.host)
        self.journal = journal
        keys = {coordinator.public.keyid: coordinator.public}

        def behind(port: object, name: str) -> Any:
            return Tripping(port, self.wire, name)

        def make() -> NodeAgent:
            world = World(
                node=me,
                key=self.key,
                keys=keys,
                journal=behind(journal, "journal"),
                runner=behind(runner, "runner"),
                workspaces=behind(MemoryWorkspaces(self.host, self.link), "workspaces"),
                depot=behind(MemoryDepotLink(self.link, runner), "depot"),
                runtimes=MemoryRuntimes(),
                uplink=behind(self.redis.uplink(self.tag, SHAPES), "uplink"),
                facts=MemoryFacts(self.host),
                fleet=fleet,
                clock=self.clock,
                ids=self.ids,
                tempo=TEMPO,
                slots=self.slots,
            )
            return NodeAgent(world)

        try:
            self.agent = make()
        except Crash:
            self.agent, self.wire.at = None, None

    def tick(self) -> None:
        if self.agent is None or self.frozen:
            return
        try:
            self.agent.tick()
        except Crash:
            self.agent, self.wire.at = None, None

    def crash_in(self, calls: int) -> None:
        self.wire.at = self.wire.count + calls

    def cut(self, down: bool) -> None:
        """The link: Redis and depot go together, as they share one SSH connection."""
        self.link.down = down
        (self.redis.cut.add if down else self.redis.cut.discard)(self.tag)

    def power_cut(self) -> None:
        """Everything that ran is gone; the boot clock begins anew, the wall clock goes on."""
        self.agent = None
        self.host.reboot()
        wall = self.clock.wall_ms()
        self.clock.ms = 20_000
        self.clock.wall = wall - self.clock.ms

    def alive(self) -> list[tuple[AttemptId, str]]:
        """(attempt, phase) of what really runs on this machine now."""
        found = []
        runner = MemoryRunner(self.host)
        for folder, phase in list(self.host.phases.items()):
            if phase.boot != self.host.boot or phase.gone or phase.ended is not None:
                continue
            if type(runner.look(Path(folder))).__name__ == "Running":
                found.append((AttemptId.parse(phase.plan.marker), phase.plan.phase))
        return found
