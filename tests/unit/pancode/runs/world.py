"""A coordinator on memory adapters and a puppet node that says whatever a test tells it to."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from node_agent.wire.control import Control, CoordinatorHeartbeat
from node_agent.wire.event import Event, EventBody, Events, Marked
from node_agent.wire.failure import FailureKind, Outcome
from node_agent.wire.identity import AttemptId, Mark
from node_agent.wire.job import Job
from node_agent.wire.model import FleetTime
from node_agent.wire.node import (
    MOST_HEARTBEAT_BYTES,
    Ask,
    Heartbeat,
    Inventory,
    JournalEntry,
    NodeFacts,
    RuntimeFact,
)
from node_agent.wire.packing import read_text
from node_agent.wire.policy import Isolation, Mode, Safety
from node_agent.wire.receipt import Claims, Usage, receipt_of
from node_agent.wire.signing import Envelope, M, SigningKey, WireRefusal, open_as, parse_envelope
from pancode import __version__
from pancode.app.features import FEATURES
from pancode.budget import books
from pancode.fleet import inventory
from pancode.kernel.ports import Composed, Composition, Preview, ResultPlace, SnapshotRequest, SnapshotTaken
from pancode.kernel.records import Audit, Balance, BookEntry, Node, Record, Run
from pancode.runs import keyring
from pancode.runs.core import ControlSettings, Core, Ports
from pancode.runs.dispatch import admit_run
from pancode.runs.reconcile import run_pass, start_epoch
from pancode.runs.unit_of_work import unit_of_work
from tests.fakes.bus import MemoryRedis
from tests.fakes.epochs import MemoryEpochs
from tests.fakes.ledger import MemoryLedger
from tests.fakes.node.clock import MemoryClock, SeededIds

FLEET = "f-test"


def enqueue(core: Core, run: Run) -> Run:
    """Queue an admitted run."""
    with unit_of_work(core) as work:
        return admit_run(work, run)


class HonestDepot:
    """A depot in which everything has arrived, but for what a test takes away."""

    def __init__(self) -> None:
        self.missing_blobs: set[str] = set()
        self.commits: set[str] = set()
        self.blobs: dict[str, bytes] = {}
        self.in_every_commit: dict[str, bytes] = {}
        self.tree = "e" * 40

    def snapshot(self, wanted: SnapshotRequest) -> SnapshotTaken:
        return SnapshotTaken("demo-1234", None, "a" * 40, "sha1", tree=self.tree)

    def preview(self, project: str, folder: str, allowed: tuple[str, ...]) -> Preview:
        return Preview("c" * 40, "main", ("a.txt",), ("secret.env",), ("b.bin is large",))

    def diff(self, repo: str, old: str, new: str, stat: bool) -> bytes:
        return b"--- a\n+++ b\xff\n"

    def tree_now(self, project: str, allowed: tuple[str, ...]) -> str:
        return self.tree

    def begin_at(self, run: str, taken: SnapshotTaken) -> None:
        """It has every commit."""

    def compose(self, wanted: Composition) -> Composed:
        made = hashlib.sha1(repr(wanted).encode(), usedforsecurity=False).hexdigest()
        return Composed(made, wanted.origin)

    def read_file(self, repo: str, commit: str, path: str, most: int) -> bytes | None:
        return self.in_every_commit.get(path)

    def has_commit(self, repo: str, commit: str) -> bool:
        return True

    def file_names(self, repo: str, commit: str) -> list[str]:
        return []

    def lines_changed(self, repo: str, old: str, new: str) -> int:
        return int(new[:4], 16)

    def ahead_and_behind(self, project: str, result: ResultPlace) -> tuple[int | None, int | None]:
        return int(result.commit[:1], 16) - int(result.since[:1], 16), None if result.base is None else 0

    def shown_change(self, repo: str, old: str, new: str, most: int, hides: Callable[[str], bool]) -> bytes:
        return b""

    def shown_history(
        self, project: str, taken: SnapshotTaken, commits: str, most: int, hides: Callable[[str], bool]
    ) -> bytes:
        return f"commits {commits}".encode()

    def whole_answer(self, identity: AttemptId, printed: bool) -> bytes | None:
        return None

    def commit_arrived(self, repo: str, identity: AttemptId, commit: str, snapshot: str | None) -> bool:
        return commit in self.commits

    def blob_arrived(self, identity: AttemptId, name: str, size: int, sha256: str) -> bool:
        return name not in self.missing_blobs

    def blob_part(self, identity: AttemptId, name: str, offset: int, limit: int) -> bytes:
        return self.blobs.get(name, b"")[offset:][:limit]


class ListArchive:
    """Archived receipts, in order."""

    def __init__(self) -> None:
        self.stored: list[tuple[str, str]] = []

    def store(self, receipts: Sequence[tuple[AttemptId, str]]) -> None:
        self.stored += [(str(identity), envelope) for identity, envelope in receipts]

    def has_room(self) -> bool:
        return True


class Desk:
    """The coordinator under test with its world."""

    def __init__(self, ceiling: str = "10", redis: Any = None) -> None:
        """`redis`: another store than memory, with the same two ends."""
        self.clock = MemoryClock()
        self.redis = redis or MemoryRedis(self.clock.boot_ms)
        self.ledger = MemoryLedger(strict=True)
        self.depot = HonestDepot()
        self.archive, self.epochs = ListArchive(), MemoryEpochs()
        self.ids = SeededIds()
        self.key, self.former = SigningKey(b"c" * 32), list[SigningKey]()
        self.rules = ControlSettings(ceiling_usd=Decimal(ceiling))
        self.restart()

    def restart(self) -> None:
        """A new coordinator process on the same ledger and Redis."""
        bus = self.redis.bus()
        ports = Ports(self.ledger, bus, self.depot, self.archive, self.epochs, self.clock, self.ids)
        self.core = Core(ports, self.key, FLEET, self.rules, FEATURES)
        self.core.former.update({key.public.keyid: key for key in self.former})
        start_epoch(self.core)

    def turn(self, ms: int = 1_000) -> None:
        self.clock.ms += ms
        run_pass(self.core)

    def dispatch(self, run: str = "r-0001", usd: str = "0.75", **changes: Any) -> Run:
        return enqueue(self.core, a_run(run, self.clock.wall_ms(), Decimal(usd), **changes))

    def row(self, kind: type[Record], *key: str | int) -> Any:
        with self.ledger.transaction() as tx:
            return tx.get(kind, *key)

    def rows(self, kind: type[Record], **where: object) -> list[Any]:
        with self.ledger.transaction() as tx:
            return list(tx.find(kind, where))

    def check_books(self) -> None:
        """Sum of entries = balance, in every scope."""
        for balance in self.rows(Balance):
            entries = self.rows(BookEntry, scope=balance.scope)
            assert books.sum_entries(balance.scope, entries) == balance


def a_run(run: str, wall_ms: int, usd: Decimal, **changes: Any) -> Run:
    fields: dict[str, Any] = {
        "id": run,
        "created_ms": wall_ms,
        "created_by": "test",
        "task": "true",
        "argv": None,
        "agent": "builder",
        "prompt": "",
        "tools": (),
        "read_only": False,
        "runtime": "claude",
        "model": None,
        "mode": Mode.BUILD,
        "safety": Safety.AUTO_EDIT,
        "told_only": bool(changes.get("read_only")),  # its node has no sandbox
        "node": None,
        "require": {},
        "priority": 0,
        "project": None,
        "workspace": {"kind": "none"},
        "setup": (),
        "cache": (),
        "gates": (),
        "limits": {"wall_ms": 60_000, "idle_ms": 60_000, "output_bytes": 1_000_000},
        "env": (),
        "secrets": (),
        "depth": 0,
        "estimate_usd": usd,
        "on_lost": "ask",
        "max_attempts": None,
        "trace": "t",
    }
    return Run(**{**fields, **changes})


class Puppet:
    """A node that speaks only when told."""

    def __init__(
        self, coordinator: Desk, name: str = "n1", slots: int = 2, password: str = "password"
    ) -> None:
        self.coordinator, self.name, self.slots = coordinator, name, slots
        self.key = SigningKey(name.encode().ljust(32, b"n"))
        self.tag = self.key.public.tag
        self.uplink = coordinator.redis.uplink(self.tag)
        self.session, self.nonce, self.seq = "s1", "nonce-1", 0
        self.control_seen, self.open = 0, []  # type: int, list[AttemptId]
        self.ahead = 0
        """The most jobs that it holds until a slot is free."""
        self.reports = False
        """Whether it reports its attempts to a coordinator whose ledger was restored."""
        self.events: dict[str, int] = {}
        self.obeys = {coordinator.key.public.keyid: coordinator.key.public}
        self.facts = facts()
        self.journal: list[JournalEntry] = []
        coordinator.redis.bus().admit_node(self.tag, password)
        inventory.add(
            coordinator.core,
            Node(name, 0, {}, {"os": "linux"}, slots, tag=self.tag, public_key=self.key.public.text()),
        )
        with coordinator.ledger.transaction() as tx:
            keyring.start_key(tx, keyring.NODE, name, self.key.public, 0)

    def beat(self) -> CoordinatorHeartbeat | None:
        data = self.uplink.news("0").heartbeat
        return self._believed(CoordinatorHeartbeat, read_text(data, MOST_HEARTBEAT_BYTES)) if data else None

    def _believed(self, kind: type[M], data: bytes) -> M | None:
        """None for what it does not believe, as on a real node."""
        try:
            return open_as(kind, parse_envelope(data), self.obeys)
        except WireRefusal:
            return None

    def breathe(self, inventory: bool = True) -> None:
        """Two rounds: a heartbeat that echoes the newest heartbeat, and an inventory."""
        self.coordinator.turn(self.coordinator.rules.heartbeat_ms)
        self.heartbeat()
        if inventory:
            self.inventory()
        self.coordinator.turn(0)

    def heartbeat(self, echo: FleetTime | None = None, **changes: Any) -> Heartbeat:
        heartbeat = self.beat()
        self.seq += 1
        fields: dict[str, Any] = {
            "fleet": FLEET,
            "node": self.tag,
            "session": self.session,
            "boot_id": "b",
            "seq": self.seq,
            "boot_ms": self.coordinator.clock.ms,
            "nonce": self.nonce,
            "echo": echo or (heartbeat.time if heartbeat else None),
            "epoch_seen": heartbeat.time.epoch if heartbeat else 0,
            "control_seen": self.control_seen,
            "ask": Ask(
                seq=self.seq,
                slots=self.slots,
                open=tuple(self.open),
                ahead=self.ahead,
                reports=self.reports,
            ),
            "version": __version__,
            "obeys": tuple(self.obeys),
            "facts": self.facts,
        }
        made = Heartbeat(**{**fields, **changes})
        self.uplink.set_heartbeat(made.signed(self.key).model_dump_json())
        return made

    def inventory(self) -> None:
        heartbeat = self.beat()
        if heartbeat is not None:
            made = Inventory(
                fleet=FLEET,
                node=self.tag,
                session=self.session,
                nonce=self.nonce,
                at=self.coordinator.core.now(),
                epoch_seen=heartbeat.time.epoch,
                entries=tuple(self.journal),
            )
            self.uplink.send(made.signed(self.key).model_dump_json())

    def claim(self) -> Job | None:
        claimed = self.uplink.claim()
        if claimed is None:
            return None
        return open_as(Job, parse_envelope(claimed.envelope), self.obeys)

    def take(self) -> Job:
        """The job that waits for it."""
        due = self.claim()
        assert due is not None, "no job waits, or it does not believe it"
        return due

    def carry_out(self, due: Job | None = None, /, **claims: Any) -> Job:
        """Start and end a run, the next one unless `due` is given; the coordinator has its receipt then."""
        due = due or self.take()
        self.start(due)
        self.deliver(due, **claims)
        self.coordinator.turn()
        return due

    def say(self, identity: AttemptId, body: EventBody, key: SigningKey | None = None) -> None:
        seq = self.events[str(identity)] = self.events.get(str(identity), 0) + 1
        event = Event(identity=identity, seq=seq, wall_ms=self.coordinator.clock.wall_ms(), body=body)
        told = Events(fleet=FLEET, node=self.tag, events=(event,))
        self.uplink.send(told.signed(key or self.key).model_dump_json())

    def start(self, job: Job) -> None:
        for mark in (Mark.ACCEPTED, Mark.PREPARED, Mark.SPAWNED):
            self.say(job.identity, Marked(mark=mark))

    def receipt(self, due: Job, /, **changes: Any) -> Envelope:
        digest = due.signed(self.coordinator.key).digest()
        fields: dict[str, Any] = {
            "fleet": FLEET,
            "epoch": due.epoch,
            "identity": due.identity,
            "node": self.tag,
            "node_name": self.name,
            "order": digest,
            "node_version": "0.1.0",
            "runtime": due.runtime,
            "agent": due.agent.name,
            "prompt_digest": "0" * 64,
            "mode": due.mode,
            "safety": due.safety,
            "isolation": Isolation.NONE,
            "enforced": (),
            "outcome": Outcome.DONE,
            "reason": "exit 0",
            "usage": Usage(cost_usd=Decimal("0.10"), cost_source="reported", input_tokens=10),
            "tool_calls": {},
            "gates": (),
            "finished_wall_ms": self.coordinator.clock.wall_ms(),
            "files_changed": (),
            "change": "none",
            "blobs": (),
            "snapshot": due.workspace.snapshot,
            "last_event": self.events.get(str(due.identity), 0),
        }
        return receipt_of(Claims(**{**fields, **changes})).signed(self.key)

    def deliver(self, due: Job, /, **changes: Any) -> Envelope:
        envelope = self.receipt(due, **changes)
        self.uplink.send(envelope.model_dump_json())
        return envelope

    def controls(self) -> list[Control]:
        """New control messages, each once, in order."""
        found = [self._believed(Control, s.data) for s in self.uplink.news("0").controls]
        fresh = {c.seq: c for c in found if c is not None and c.seq > self.control_seen}
        if fresh:
            self.control_seen = max(fresh)
        return [fresh[seq] for seq in sorted(fresh)]


class Fleet:
    """A node that does harm, and an honest one."""

    def __init__(self, coordinator: Desk, password: str = "password") -> None:
        self.coordinator = coordinator
        self.bad = Puppet(coordinator, "bad", password=password)
        self.good = Puppet(coordinator, "good", password=password)
        self.breathe()

    def breathe(self) -> None:
        for node in (self.bad, self.good):
            node.breathe()

    def taken(self, run: str = "r-bad0", **changes: Any) -> Job:
        """A run of the bad node's, accepted by it."""
        self.coordinator.dispatch(run, node="bad", **changes)
        self.bad.breathe()
        return self.bad.take()

    def alarms(self) -> list[Any]:
        return [a for a in self.coordinator.rows(Audit) if a.domain == "trust" and a.level == "error"]

    def quarantined(self) -> str | None:
        """Why the bad node is shut out."""
        found: Node = self.coordinator.row(Node, "bad")
        return found.quarantined

    def still_works(self) -> None:
        """A run that is for the honest node alone comes to its end."""
        self.coordinator.dispatch("r-good", node="good")
        for _ in range(3):
            self.good.breathe()
        due = self.good.carry_out()
        assert due.identity.run == "r-good"
        assert self.coordinator.row(Run, "r-good").outcome is Outcome.DONE


def failed(kind: FailureKind, outcome: Outcome) -> dict[str, Any]:
    return {"failure": kind, "outcome": outcome, "reason": kind.value}


def facts(**changes: Any) -> NodeFacts:
    made = NodeFacts(
        hostname="h",
        os="linux",
        arch="x86_64",
        python="3.11.7",
        cpus=2,
        memory=1,
        disk_free=1,
        load_1m=0.0,
        isolation=Isolation.NONE,
        runtimes=tuple(RuntimeFact(name=name, state="ok") for name in ("shell", "scripted", "claude")),
        wall_ms=0,
    )
    return made.model_copy(update=changes)


def entry_of(job: Job, mark: Mark = Mark.ACCEPTED) -> JournalEntry:
    return JournalEntry(identity=job.identity, job="0" * 64, mark=mark, last_event=0)


def offered(coordinator: Desk) -> tuple[Puppet, Job]:
    """A node that has taken the order of the desk's first run."""
    node = Puppet(coordinator)
    node.breathe()
    coordinator.dispatch()
    coordinator.turn()
    return node, node.take()


def no_prd(project: str) -> str:
    """No file of the project tells its agents what it is to become."""
    return ""
