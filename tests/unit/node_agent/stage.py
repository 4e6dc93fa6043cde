"""A stage for the node agent: memory ports, a small honest coordinator, a clock that only the test moves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from node_agent.agent.agent import NodeAgent
from node_agent.agent.fleettime import FleetClock
from node_agent.agent.publish import EventSigner
from node_agent.agent.world import Exams, World
from node_agent.attempt.claims import Self
from node_agent.attempt.gateways import NoGateways
from node_agent.attempt.journal import Journal
from node_agent.attempt.ports import Claimed, Sent
from node_agent.intervals import Intervals
from node_agent.runtimes.base import TOOLS
from node_agent.wire import keys
from node_agent.wire.clock import Clock
from node_agent.wire.control import Acknowledge, Control, ControlBody, CoordinatorHeartbeat
from node_agent.wire.event import Event, Events, Refused, Revoked
from node_agent.wire.failure import JobRefusal
from node_agent.wire.identity import AttemptId
from node_agent.wire.job import AgentSpec, Gate, Job, Limits, Workspace
from node_agent.wire.model import FleetTime
from node_agent.wire.node import Heartbeat, Inventory, NodeProfile
from node_agent.wire.policy import Mode, Safety, compile_policy
from node_agent.wire.receipt import Claims, Receipt
from node_agent.wire.signing import PublicKey, SigningKey, open_as, parse_envelope
from tests.fakes.node import (
    Crash,
    MemoryCalls,
    MemoryClock,
    MemoryDepot,
    MemoryDepotLink,
    MemoryFacts,
    MemoryHost,
    MemoryRunner,
    MemoryRuntimes,
    MemoryShelf,
    MemoryUplink,
    MemoryWorkspaces,
    NoSessions,
    Script,
    SeededIds,
    Tripping,
    Tripwire,
)
from tests.fakes.node.drive import make_inline_agent
from tests.fakes.node.exams import NoExams

FLEET = "f-test"
SNAPSHOT = "a" * 40
COORDINATOR, NODE, STRANGER = SigningKey(b"c" * 32), SigningKey(b"n" * 32), SigningKey(b"s" * 32)
TAG = NODE.public.tag
RUN = "r-test1"
AHEAD = 5_000_000
"""The coordinator's boot clock minus the node's."""


def identity(run: str = RUN, attempt: int = 1, lease: int = 1) -> AttemptId:
    return AttemptId(run=run, attempt=attempt, lease=lease)


def job_of(**changes: Any) -> Job:
    """A job for the stage's node, with whatever a test wants different."""
    read_only = changes.pop("read_only", False)
    safety = changes.pop("safety", Safety.AUTO_EDIT)
    base: dict[str, Any] = {
        "fleet": FLEET,
        "epoch": 1,
        "identity": identity(),
        "node": TAG,
        "issued_wall_ms": 1_790_000_000_000,
        "start_by": FleetTime(epoch=1, ms=AHEAD + 1_000_000 + 60_000),
        "agent": AgentSpec(name="builder", prompt="Build.", tools=TOOLS, read_only=read_only),
        "task": "do it",
        "runtime": "scripted",
        "mode": Mode.BUILD,
        "safety": safety,
        "policy": compile_policy(safety, read_only),
        "workspace": Workspace(kind="git", repo="repo-1", base=SNAPSHOT, snapshot=SNAPSHOT),
        "limits": Limits(wall_ms=3_600_000, idle_ms=600_000, output_bytes=1 << 20, usd=Decimal(1)),
        "trace": "t",
    }
    return Job(**{**base, **changes})


def gates(*names: str) -> tuple[Gate, ...]:
    return tuple(Gate(name=name, argv=(name, "--all")) for name in names)


class Coordinator:
    """A small honest coordinator at the other end of a MemoryUplink."""

    def __init__(self, clock: Clock, uplink: MemoryUplink, node: PublicKey) -> None:
        self.clock, self.uplink, self.tag = clock, uplink, node.tag
        self.known = {node.keyid: node}
        self.epoch, self.acknowledges = 1, True
        self.heartbeats, self.controls, self.read = 0, 0, 0
        self.cursors: dict[str, int] = {}
        self.events: dict[tuple[str, int], Event] = {}
        self.receipts: dict[str, set[str]] = {}
        self.claims: dict[str, Claims] = {}
        self.order_of_receipts: list[Claims] = []
        self.inventories: list[Inventory] = []
        self.offered: dict[str, tuple[int, Claimed]] = {}
        self.answered = ""

    def now(self) -> FleetTime:
        return FleetTime(epoch=self.epoch, ms=self.clock.boot_ms() + AHEAD)

    def beat(self, **changes: Any) -> None:
        """The next heartbeat; it answers the newest heartbeat."""
        self.heartbeats += 1
        heard = self.heartbeat()
        fields: dict[str, Any] = {
            "fleet": FLEET,
            "node": self.tag,
            "seq": self.heartbeats,
            "time": self.now(),
            "answers": None if heard is None else heard.nonce,
            "cursors": dict(self.cursors),
            "control_floor": 0,
        }
        self.uplink.pulse = (
            CoordinatorHeartbeat(**{**fields, **changes}).signed(COORDINATOR).model_dump_json().encode()
        )

    def heartbeat(self) -> Heartbeat | None:
        if self.uplink.heartbeat is None:
            return None
        heartbeat = open_as(Heartbeat, parse_envelope(self.uplink.heartbeat), self.known)
        # the node may write a newer profile between these two looks
        profiles = (NodeProfile.model_validate_json(one) for one in reversed(self.uplink.profiles) if one)
        profile = next(one for one in profiles if one.digest() == heartbeat.profile)
        return heartbeat.model_copy(update={"facts": heartbeat.facts.with_profile(profile)})

    def push(self, job: Job, key: SigningKey = COORDINATOR) -> str:
        """Offer a job; its lease is open here until it is answered."""
        envelope = job.signed(key).model_dump_json()
        rq_job = Claimed(keys.job_id(self.tag, job.identity), envelope.encode())
        self.offered[str(job.identity)] = (self.clock.boot_ms(), rq_job)
        self.cursors.setdefault(str(job.identity), 0)
        self.uplink.queue.append(rq_job)  # a node agent of another thread takes it at once
        return envelope

    def tell(self, body: ControlBody, key: SigningKey = COORDINATOR, **changes: Any) -> None:
        self.controls += 1
        fields = {"fleet": FLEET, "node": self.tag, "seq": self.controls, "at": self.now(), "body": body}
        control = Control(**{**fields, **changes}).signed(key)
        self.uplink.told.append(Sent(str(len(self.uplink.told) + 1), control.model_dump_json().encode()))

    def coordinate(self) -> None:
        """Read what came up, as a coordinator does: verify, apply once, in order; acknowledge receipts."""
        heard = self.heartbeat()
        if heard is not None and heard.nonce != self.answered:
            self.answered = heard.nonce
            self.beat()
        while self.read < len(self.uplink.sent):
            envelope = parse_envelope(self.uplink.sent[self.read])
            self.read += 1
            if envelope.payloadType == Receipt.payload_type():
                self._take_receipt(open_as(Receipt, envelope, self.known).predicate, envelope)
            elif envelope.payloadType == Inventory.payload_type():
                self.inventories.append(open_as(Inventory, envelope, self.known))
            else:
                for event in open_as(Events, envelope, self.known).events:
                    self._take_event(event)

    def _take_event(self, event: Event) -> None:
        key = (str(event.identity), event.seq)
        assert self.events.get(key, event) == event, "one number, two events"
        self.events[key] = event
        name = str(event.identity)
        while (name, self.cursors.get(name, 0) + 1) in self.events and name in self.cursors:
            self.cursors[name] += 1
            if isinstance(self.events[(name, self.cursors[name])].body, Refused | Revoked):
                del self.cursors[name]

    def _take_receipt(self, claims: Claims, envelope: Any) -> None:
        name = str(claims.identity)
        if envelope.digest() not in self.receipts.setdefault(name, set()):
            self.order_of_receipts.append(claims)
        self.receipts[name].add(envelope.digest())
        self.claims[name] = claims
        if self.acknowledges:
            signed = COORDINATOR.countersign(envelope).signatures[-1]
            self.tell(
                Acknowledge(identity=claims.identity, receipt=envelope.digest(), countersignature=signed)
            )
            self.cursors.pop(name, None)

    def offer_again(self) -> None:
        """Push the same bytes again while nothing was heard of them, as the coordinator does."""
        for name, (when, claimed) in self.offered.items():
            if self.cursors.get(name) == 0 and self.clock.boot_ms() - when >= 10_000:
                self.offered[name] = (self.clock.boot_ms(), claimed)
                if claimed not in self.uplink.queue:
                    self.uplink.queue.append(claimed)

    def bodies(self, one: AttemptId | None = None) -> list[Any]:
        """What was said of an attempt, in order."""
        name = str(one or identity())
        return [event.body for key, event in sorted(self.events.items()) if key[0] == name]


@dataclass
class Stage(Coordinator):
    """One node and its coordinator. All fields but `agent` outlive a crash of the node agent."""

    script: Callable[[AttemptId], Script] = lambda _: Script()
    slots: int = 2
    secrets: dict[str, str] = field(default_factory=dict)
    wire: Tripwire = field(default_factory=Tripwire)
    clock: MemoryClock = field(default_factory=MemoryClock)
    ids: SeededIds = field(default_factory=SeededIds)
    shelf: MemoryShelf = field(default_factory=MemoryShelf)
    depot: MemoryDepot = field(default_factory=MemoryDepot)
    uplink: MemoryUplink = field(default_factory=MemoryUplink)
    exams: Exams = field(default_factory=NoExams)
    aside: Callable[[Callable[[], None]], None] = lambda work: work()
    """Fetches snapshots beside the turn."""

    def __post_init__(self) -> None:
        super().__init__(self.clock, self.uplink, NODE.public)
        self.host = MemoryHost(self.clock, self.script)
        self.crashes = 0
        self.agent = self.start()

    def start(self) -> NodeAgent:
        """A node agent over whatever is durable."""
        node = Self(FLEET, "n1", "1.0", NODE.public)
        fleet = FleetClock(0, self.ids.token(8))
        journal = Journal(self.shelf, EventSigner(node, NODE, self.clock, fleet), self.clock)
        runner = MemoryRunner(self.host)
        workspaces = MemoryWorkspaces(self.host, self.depot)

        def behind(port: object, name: str) -> Any:
            return Tripping(port, self.wire, name)

        self.journal = journal
        return make_inline_agent(
            World(
                node=node,
                key=NODE,
                keys={COORDINATOR.public.keyid: COORDINATOR.public},
                journal=behind(journal, "journal"),
                runner=behind(runner, "runner"),
                workspaces=behind(workspaces, "workspaces"),
                depot=behind(MemoryDepotLink(self.depot, runner), "depot"),
                runtimes=MemoryRuntimes(self.secrets),
                gateways=NoGateways(),
                uplink=behind(self.uplink, "uplink"),
                facts=MemoryFacts(self.host),
                fleet=fleet,
                clock=self.clock,
                ids=self.ids,
                intervals=Intervals(),
                slots=self.slots,
                exams=self.exams,
                sessions=NoSessions(self.host.stored),
                calls=behind(MemoryCalls(self.host), "calls"),
                aside=self.aside,
            )
        )

    # -- time

    def turn(self) -> int:
        """One turn of the node agent, which may die in it and is then started again."""
        try:
            return self.agent.tick()
        except Crash:
            self.crashes += 1
            self.agent = self.start()
            return 0

    def go(self, ms: int, until: Callable[[], bool] = lambda: False) -> bool:
        """Let that much time pass; True as soon as `until` holds."""
        end = self.clock.ms + ms
        next_heartbeat = self.clock.ms
        while self.clock.ms <= end:
            if self.clock.ms >= next_heartbeat:
                self.beat()
                next_heartbeat = self.clock.ms + 5_000
            wait = self.turn()
            self.coordinate()
            self.offer_again()
            if until():
                return True
            self.clock.advance(max(50, min(wait, 1_000)))
        return until()

    def settle(self, ms: int = 600_000) -> None:
        """Until the node needs nothing more to do, and the coordinator has heard everything."""

        def quiet() -> bool:
            return not self.uplink.queue and not self.cursors and not self.journal.live()

        self.go(ms, quiet)


LONG = Script(duration_ms=600_000)


def running(script: Script = LONG) -> Stage:
    stage = Stage(script=lambda _: script)
    stage.push(job_of())
    assert stage.go(20_000, lambda: len(stage.host.spawns) == 1)
    return stage


def why(stage: Stage, one: str = f"{RUN}.1.1") -> list[JobRefusal]:
    return [
        event.body.why
        for key, event in sorted(stage.events.items())
        if key[0] == one and isinstance(event.body, Refused)
    ]
