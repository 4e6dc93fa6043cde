"""The simulated nodes: a disk, processes and a node agent, which can crash between any two calls."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from node_agent.agent.agent import NodeAgent
from node_agent.agent.fleettime import FleetClock
from node_agent.agent.publish import EventSigner
from node_agent.agent.world import World
from node_agent.attempt.accept import Ceiling
from node_agent.attempt.claims import Self
from node_agent.attempt.gateways import NoGateways
from node_agent.attempt.journal import Journal
from node_agent.attempt.ports import AttemptResult, Claimed, CommitStamp, LinkDown, News, Sent
from node_agent.intervals import Intervals
from node_agent.shim.spool import Running
from node_agent.wire.identity import AttemptId
from node_agent.wire.job import Workspace
from node_agent.wire.signing import PublicKey, SigningKey
from pancode import __version__
from pancode.kernel.records import Node
from tests.fakes.bus import MemoryRedis, NodeShapes
from tests.fakes.node import (
    Crash,
    MemoryCalls,
    MemoryClock,
    MemoryDepot,
    MemoryDepotLink,
    MemoryFacts,
    MemoryHost,
    MemoryShelf,
    MemoryWorkspaces,
    NoSessions,
    Script,
    SeededIds,
    Tripping,
    Tripwire,
    die,
)
from tests.fakes.node.drive import make_inline_agent
from tests.fakes.node.exams import NoExams
from tests.simulation.coordinator import FLEET
from tests.simulation.interactive_runs import InteractiveRunRunner, InteractiveRunRuntimes, Models, Programs
from tests.simulation.trees import Trees

SHAPES = NodeShapes(LinkDown, Claimed, Sent, News)
INTERVALS = Intervals(inventory_ms=60_000, publish_most_ms=20_000)


class SimWorkspaces(MemoryWorkspaces):
    """Its commits have the work of their runs in them."""

    def __init__(self, host: MemoryHost, depot: MemoryDepot, trees: Trees) -> None:
        super().__init__(host, depot)
        self._trees = trees

    def commit(
        self, identity: AttemptId, workspace: Workspace, stamp: CommitStamp, baseline: str | None = None
    ) -> AttemptResult:
        made = super().commit(identity, workspace, stamp, baseline)
        if made.commit is not None:
            self._trees.committed(identity.run, workspace.snapshot, made.commit)
        return made


class Machine:
    """A node: its disk and its processes outlive the node agent; its processes do not outlive a power cut."""

    def __init__(self, name: str, redis: MemoryRedis, far: tuple[MemoryDepot, Trees], slots: int) -> None:
        """`far`: what nodes deliver to, and what is in the commits."""
        self.name, self.redis, self.slots = name, redis, slots
        self.arrived, self.trees = far
        self.models = Models()
        self.load = 0.0
        self.most_slots = slots
        self.intervals = INTERVALS
        self.clock = MemoryClock(ms=int.from_bytes(name.encode(), "big") % 5_000_000)
        self.scripts: dict[str, Script] = {}
        self.ids, self.wire, self.disks = SeededIds(int.from_bytes(name.encode(), "big")), Tripwire(), 0
        self.agent: NodeAgent | None = None
        self.top, self.facts = Ceiling(), MemoryFacts(MemoryHost(self.clock, lambda who: Script()))
        self.frozen = self.gone = False
        """`gone`: taken out of the fleet, or never to come back."""
        self.link = MemoryDepot(commits=self.arrived.commits, blobs=self.arrived.blobs)
        self.new_disk(SigningKey(name.encode().ljust(32, b".")))

    def new_disk(self, key: SigningKey) -> None:
        """An empty machine of the same name."""
        self.agent, self.key, self.tag = None, key, key.public.tag
        self.disks += 1
        self.shelf = MemoryShelf()
        self.programs = Programs(self)
        self.host = MemoryHost(self.clock, self._script)
        self.host.boot = f"boot-{100 * self.disks}"
        self.redis.bus().admit_node(self.tag, "password")
        self._open_journal()

    def _script(self, who: AttemptId) -> Script:
        interactive_run = self.programs.of(str(who))
        return self.scripts.get(str(who.run), Script()) if interactive_run is None else interactive_run.script

    def row(self, labels: dict[str, str]) -> Node:
        """The node as the inventory has it after its enrolment."""
        return Node(self.name, 0, {}, labels, self.slots, tag=self.tag, public_key=self.key.public.text())

    def _open_journal(self) -> tuple[Self, FleetClock]:
        me = Self(FLEET, self.name, __version__, self.key.public)
        fleet = FleetClock(0, self.ids.token(8))
        self.journal = Journal(self.shelf, EventSigner(me, self.key, self.clock, fleet), self.clock)
        return me, fleet

    def start(self, keys: dict[str, PublicKey]) -> None:
        """A new node agent on the same disk."""
        me, fleet = self._open_journal()
        runner = InteractiveRunRunner(self)
        self.facts = MemoryFacts(self.host, ("shell", "scripted", "native"))
        self.facts.top, self.facts.load = self.top, self.load

        def behind(port: object, name: str) -> Any:
            return Tripping(port, self.wire, name)

        world = World(
            node=me,
            key=self.key,
            keys=keys,
            journal=behind(self.journal, "journal"),
            runner=behind(runner, "runner"),
            workspaces=behind(SimWorkspaces(self.host, self.link, self.trees), "workspaces"),
            depot=behind(MemoryDepotLink(self.link, runner), "depot"),
            runtimes=InteractiveRunRuntimes(self.programs),
            gateways=NoGateways(),
            uplink=behind(self.redis.uplink(self.tag, SHAPES), "uplink"),
            facts=self.facts,
            fleet=fleet,
            clock=self.clock,
            ids=self.ids,
            intervals=self.intervals,
            slots=self.slots,
            exams=NoExams(),
            sessions=NoSessions(),
            calls=behind(MemoryCalls(self.host), "calls"),
        )
        try:
            self.agent = make_inline_agent(world)
        except Crash:
            self.agent, self.wire.at = None, None

    def allow(self, top: Ceiling) -> None:
        """What its owner allows from now on."""
        self.top = self.facts.top = top

    def tick(self) -> None:
        if self.frozen or self.gone:
            return
        self.programs.go()
        if self.agent is None:
            return
        try:
            self.agent.tick()
        except Crash:
            self.agent, self.wire.at = None, None

    def crash_in(self, calls: int) -> None:
        self.wire.at, self.wire.action = self.wire.count + calls, die

    def power_fails_in(self, calls: int) -> None:
        """In the middle of whatever its node agent does then."""
        self.wire.at, self.wire.action = self.wire.count + calls, self._power_fails

    def _power_fails(self) -> None:
        self.power_cut()
        raise Crash

    def cut(self, down: bool) -> None:
        """The link: Redis and depot go together, as they share one SSH connection."""
        self.link.down = down
        (self.redis.cut.add if down else self.redis.cut.discard)(self.tag)

    @property
    def reaches(self) -> bool:
        """Whether what the node says now arrives."""
        up = self.agent is not None and not self.frozen and not self.gone
        return up and not self.link.down and not self.redis.down

    def power_cut(self) -> None:
        """Everything that ran is gone; the boot clock begins anew, the wall clock continues."""
        self.agent = None
        self.programs.lose_power()
        self.host.power_cut()
        self.shelf.power_cut()
        wall = self.clock.wall_ms()
        self.clock.ms = 20_000
        self.clock.wall = wall - self.clock.ms

    def alive(self) -> list[tuple[AttemptId, str]]:
        """(attempt, phase) of what really runs on this machine now."""
        found = []
        runner = InteractiveRunRunner(self)
        for folder, phase in list(self.host.phases.items()):
            if phase.boot != self.host.boot or phase.gone or phase.ended is not None:
                continue
            if isinstance(runner.look(Path(folder)), Running):
                found.append((AttemptId.parse(phase.plan.marker), phase.plan.phase))
        return found
