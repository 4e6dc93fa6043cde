"""The coordinator's simulated machine: ledger, archive and depot outlive the process."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

from node_agent.wire.identity import AttemptId
from node_agent.wire.signing import SigningKey
from pancode.app.features import FEATURES
from pancode.app.schema import SCHEMA
from pancode.kernel.errors import PancodeError, UnavailableError
from pancode.kernel.node import Deadlines
from pancode.kernel.ports import (
    Composed,
    Composition,
    Preview,
    ResultPlace,
    SnapshotRequest,
    SnapshotTaken,
    Transaction,
)
from pancode.kernel.records import Record
from pancode.runs.core import ControlSettings, Core, Ports
from pancode.runs.reconcile import run_pass, start_epoch, wait_for_messages
from tests.fakes.bus import MemoryRedis
from tests.fakes.epochs import MemoryEpochs
from tests.fakes.ledger import MemoryLedger
from tests.fakes.node import Crash, MemoryClock, MemoryDepot, SeededIds, Tripping, Tripwire
from tests.simulation.trees import Trees

FLEET = "f-simulation"
RULES = ControlSettings(
    ceiling_usd=Decimal(4),
    deadlines=Deadlines(ask_ms=15_000, suspect_ms=30_000, unreachable_ms=60_000, lost_ms=120_000),
    start_by_ms=40_000,
)
Rows = dict[type[Record], list[Record]]


class SimDepot:
    """pancode.kernel.ports.Depot over what the nodes have delivered."""

    def __init__(self, arrived: MemoryDepot, trees: Trees) -> None:
        self.arrived, self.trees = arrived, trees

    def snapshot(self, wanted: SnapshotRequest) -> SnapshotTaken:
        return SnapshotTaken(
            "repo-1", None, hashlib.sha1(wanted.run.encode(), usedforsecurity=False).hexdigest(), "sha1"
        )

    def preview(self, project: str, folder: str, allowed: tuple[str, ...]) -> Preview:
        return Preview("c" * 40, "main", ("a.txt",), ("secret.env",), ("b.bin is large",))

    def diff(self, repo: str, old: str, new: str, stat: bool) -> bytes:
        return b"--- a\n+++ b\xff\n"

    def tree_now(self, project: str, allowed: tuple[str, ...]) -> str:
        return ""

    def begin_at(self, run: str, taken: SnapshotTaken) -> None:
        """It has every commit."""

    def compose(self, wanted: Composition) -> Composed:
        return self.trees.compose(wanted)

    def read_file(self, repo: str, commit: str, path: str, most: int) -> bytes | None:
        return self.trees.read(commit, path)

    def has_commit(self, repo: str, commit: str) -> bool:
        return True

    def file_names(self, repo: str, commit: str) -> list[str]:
        return sorted(self.trees.files(commit))

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
        return self.arrived.commits.get(str(identity)) == commit

    def blob_arrived(self, identity: AttemptId, name: str, size: int, sha256: str) -> bool:
        data = self.arrived.blobs.get((str(identity), name))
        return data is not None and len(data) == size and hashlib.sha256(data).hexdigest() == sha256

    def blob_part(self, identity: AttemptId, name: str, offset: int, limit: int) -> bytes:
        return self.arrived.blobs.get((str(identity), name), b"")[offset:][:limit]


class SimArchive:
    """Receipts as archived."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}

    def store(self, receipts: Sequence[tuple[AttemptId, str]]) -> None:
        for identity, envelope in receipts:
            digest = hashlib.sha256(envelope.encode()).hexdigest()
            self.kept[f"{identity}/{digest}"] = envelope

    def has_room(self) -> bool:
        return True


class SimDesk:
    """The coordinator's machine. `lives` counts its starts; `rules` are those of this schedule."""

    def __init__(self, redis: MemoryRedis, depot: SimDepot, clock: MemoryClock, key: Any = None) -> None:
        self.redis, self.clock = redis, clock
        self.wire = Tripwire()
        self.ledger = MemoryLedger(
            before_commit=lambda: self.wire.pass_by("before commit"),
            after_commit=lambda: self.wire.pass_by("after commit"),
        )
        self.archive, self.depot, self.ids = SimArchive(), depot, SeededIds(1)
        self.epochs = MemoryEpochs()
        self.key: SigningKey = key or SigningKey(b"c" * 32)
        self.rules = RULES
        self.core: Core | None = None
        self.frozen = False
        self.lives = 0

    @property
    def awake(self) -> Core | None:
        """The core, when a user who calls now gets an answer."""
        return None if self.frozen else self.core

    def start(self) -> None:
        """A new coordinator process. It may die while it starts."""
        self.lives += 1
        ports = Ports(
            self.ledger,
            Tripping(self.redis.bus(), self.wire, "bus"),
            self.depot,
            Tripping(self.archive, self.wire, "archive"),
            Tripping(self.epochs, self.wire, "epochs"),
            self.clock,
            self.ids,
        )
        core = Core(ports, self.key, FLEET, self.rules, FEATURES)
        self.core = core
        self.guarded(lambda: start_epoch(core))

    def turn(self) -> bool:
        """One turn; whether it came to its end."""
        if self.core is None or self.frozen:
            return False
        core = self.core

        def one() -> int:
            wait_for_messages(core, 0)
            # A step is shorter than the pause after which a real round comes that no message has woken.
            return run_pass(core, woken=True)

        return self.guarded(one) is not None

    def guarded(self, work: Callable[[], Any]) -> Any:
        """Do it; a crash ends the process. None: it was not done to its end."""
        try:
            return work()
        except Crash:
            self.core = None
            self.wire.at = None
        except UnavailableError:
            pass
        return None

    def ask(self, verb: Callable[[Core], Any]) -> bool:
        """A verb that a user calls; its refusal is an answer. Whether it was done."""
        core = self.awake
        if core is None:
            return False

        def call() -> bool:
            try:
                verb(core)
            except PancodeError:
                return False
            return True

        return bool(self.guarded(call))

    def crash_in(self, calls: int) -> None:
        """Die at the `calls`-th moment between calls from now on."""
        self.wire.at = self.wire.count + calls

    def kill(self) -> None:
        self.core, self.wire.at = None, None

    def reboot(self) -> None:
        """The coordinator's machine: its boot clock begins anew, the wall clock continues."""
        self.kill()
        wall = self.clock.wall_ms()
        self.clock.ms = 45_000
        self.clock.wall = wall - self.clock.ms

    @contextmanager
    def unharmed(self) -> Iterator[None]:
        """Nothing crashes because somebody looks."""
        at, count = self.wire.at, self.wire.count
        self.wire.at = None
        try:
            yield
        finally:
            self.wire.at, self.wire.count = at, count

    @contextmanager
    def seen(self) -> Iterator[Transaction]:
        """The ledger as an onlooker sees it."""
        with self.unharmed(), self.ledger.transaction() as tx:
            yield tx

    def backup(self) -> Rows:
        """The whole ledger as it is now."""
        with self.seen() as tx:
            return {kind: tx.find(kind) for kind in SCHEMA.tables}

    def restore(self, rows: Rows) -> None:
        """Put a backup in the place of the ledger. No process may run on it."""
        assert self.core is None
        with self.seen() as tx:
            for kind in SCHEMA.tables:
                for record in tx.find(kind):
                    tx.delete(kind, *(getattr(record, name) for name in kind.TABLE.key))
                for record in rows[kind]:
                    tx.insert(record)
