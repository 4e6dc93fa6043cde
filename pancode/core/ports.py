"""The ports of the control plane to the world, as protocols. Every call is synchronous."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Protocol, TypeVar

from node_agent.wire.identity import AttemptId
from pancode.core.quota import RedisUsage
from pancode.core.records import Record
from pancode.errors import WorkspaceError

R = TypeVar("R", bound=Record)
Key = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Grouping:
    """A query of grouped rows, with the figures of each group.

    `by`: fields that are equal within a group. `sums`: fields of whole numbers or amounts. `distinct`: count
    the different values of this field and not the rows. `among`: a field has one of these values.
    `prefix`: a field starts with this text. `least`: a number field is at least this, `below`: less
    than this.
    """

    by: tuple[str, ...]
    sums: tuple[str, ...] = ()
    distinct: str | None = None
    among: Mapping[str, tuple[str | int | None, ...]] = field(default_factory=dict)
    prefix: tuple[str, str] | None = None
    least: tuple[str, int] | None = None
    below: tuple[str, int] | None = None
    largest: tuple[str, int] | None = None
    """Where each row is a group: so many of them, those with the most of this amount."""


@dataclass(frozen=True, slots=True)
class Grouped:
    """One group: the values of `by`, how many rows, and the exact sums in their order."""

    key: tuple[Any, ...]
    count: int
    sums: tuple[Decimal | int, ...] = ()


class Transaction(Protocol):
    """One atomic look and change: all that is read is of one moment, nothing is seen before the end."""

    def get(self, kind: type[R], *key: str | int) -> R | None:
        """The row with this key, or None."""

    def find(
        self,
        kind: type[R],
        where: Mapping[str, object] | None = None,
        *,
        order: str | None = None,
        descending: bool = False,
        limit: int | None = None,
        after: Key | None = None,
    ) -> list[R]:
        """Rows whose fields equal `where` (key or index fields only), by key or by `order`.

        `after`: only rows that come after this place, which is the value of `order` and the key; not for an
        `order` that may be null.
        """

    def starting(self, kind: type[Record], prefix: str, limit: int) -> list[Key]:
        """The first keys, in order, whose first field (a text) starts with `prefix`; by the index of keys."""

    def tally(self, kind: type[Record], grouping: Grouping) -> list[Grouped]:
        """The groups in no order, counted and summed by the database; rows may be many. Null sums as 0."""

    def insert(self, record: Record) -> None:
        """A new row; ConflictError when the key is taken: at once, or at the latest as the block is left,
        and then nothing of the block is written."""

    def put(self, record: Record) -> None:
        """A new row or the new value of the row with that key."""

    def delete(self, kind: type[Record], *key: str | int) -> None:
        """Removes the row; nothing happens when there is none."""


class Ledger(Protocol):
    """The record of everything; survives a kill at any moment."""

    def transaction(self) -> AbstractContextManager[Transaction]:
        """Commits on leaving, rolls back on an exception. Durable (fsync) when the block has been left."""

    def close(self) -> None:
        """Idempotent."""


@dataclass(frozen=True, slots=True)
class UpMessage:
    """Something that a node wrote: not believed before its signature was checked."""

    tag: str
    entry: str
    """Id in the stream, for `drop_up`."""
    data: bytes


@dataclass(frozen=True, slots=True)
class Ticket:
    """Admitted work as shown in a pool queue: a projection, never an order."""

    queue: str
    run: str
    attempt: int
    task: str
    agent: str
    priority: int


@dataclass(frozen=True, slots=True)
class Offer:
    """A signed order for the queue of one node."""

    tag: str
    identity: AttemptId
    envelope: str


@dataclass(frozen=True, slots=True)
class JobToClose:
    """A job that is to leave its node's queue."""

    tag: str
    identity: AttemptId
    ok: bool
    reason: str
    entry: bytes = b""
    """The id of its start, as its node wrote it; empty: only the job's own record has one."""


@dataclass(frozen=True, slots=True)
class NamedJobs:
    """One page of the jobs that a node's queue and its registry of started jobs name."""

    waiting: tuple[str, ...]
    """Job ids, in order: the queue is written by us."""
    started: tuple[bytes, ...]
    """Entries of the registry. The node writes it, so nothing of it is believed."""
    total: int
    """Entries in the whole registry."""
    cursor: int
    """The start of the next page; 0: the first entry."""


class Bus(Protocol):
    """Redis as the coordinator sees it. Not trusted, may forget everything at any moment.

    Every method raises UnavailableError while Redis cannot be used; every write is idempotent.
    """

    def push_orders(self, orders: Sequence[Offer]) -> None:
        """Put each into its node's queue, in this order, unless its job is already queued or claimed there.

        After an UnavailableError some of them may be there.
        """

    def close_jobs(self, jobs: Sequence[JobToClose]) -> dict[str, str]:
        """Each RQ job is finished (ok) or failed with the reason, out of the queue. Unknown: no effect.

        By tag: what a node has written there that no node agent writes, in words; its jobs are closed all the
        same. After an UnavailableError some of them may be.
        """

    def named_jobs(self, tag: str, cursor: int) -> NamedJobs:
        """A bounded page, however much the node has written. Begin with 0, go on with the page's cursor."""

    def drop_named(self, tag: str, entries: Sequence[bytes]) -> None:
        """Take these entries out of the node's registry of started jobs."""

    def show_tickets(self, tickets: Iterable[Ticket]) -> None:
        """Make the pool queues show exactly these, in this order."""

    def send_controls(self, tag: str, messages: Sequence[tuple[int, str]]) -> None:
        """Append (number, envelope) to the node's control stream (capped) in this order, and hint once.

        Sending again is harmless. After an UnavailableError some of them may be there.
        """

    def drop_controls(self, tag: str) -> None:
        """Take everything out of the node's control stream."""

    def set_beats(self, envelopes: Mapping[str, str]) -> None:
        """Replace the coordinator's beat for each of these nodes, by tag, in one round trip.

        After an UnavailableError some of them may be there.
        """

    def heartbeats(self, tags: Sequence[str]) -> dict[str, bytes]:
        """The newest heartbeat envelope of each of these nodes that has one, as found."""

    def read_up(self, tags: Sequence[str], limit: int, wait_ms: int) -> list[UpMessage]:
        """Oldest messages of these nodes not dropped yet; waits at most `wait_ms` when there are none.

        Of each node in its order, and no more than its share of a round (`domain.nodes.quota.is_full`).
        """

    def drop_up(self, messages: Sequence[UpMessage]) -> None:
        """These are dealt with. Never before their effect is durable."""

    def admit_node(self, tag: str, password: str) -> None:
        """Create or renew the node's own Redis user, held to its own keys."""

    def expel_node(self, tag: str) -> None:
        """Remove the node's user (its connections are cut) and its keys."""

    def used(self) -> int:
        """Bytes that the whole server holds now; one cheap question."""

    def weigh(self) -> dict[str, RedisUsage]:
        """The sizes of each node's keys, by tag: reads every key, so not often. Works on a full server."""

    def queues(self) -> list[QueueView]:
        """All our RQ queues as they are in Redis."""


@dataclass(frozen=True, slots=True)
class QueueView:
    """One RQ queue as it is in Redis: job ids in order, and those started."""

    name: str
    waiting: tuple[str, ...]
    started: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SnapshotTaken:
    """A snapshot of the user's working tree in the depot."""

    repo: str
    base: str | None
    snapshot: str
    object_format: str
    untracked: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


Progress = Callable[[int, int], None]
"""Called with how many files of a snapshot are in, and of how many."""


def unwatched(done: int, of: int) -> None:
    """Nobody follows the progress."""


@dataclass(frozen=True, slots=True)
class SnapshotRequest:
    """The files of a run. `folder`: below the project's top, where the run begins.

    `allowed`: patterns of untracked files that travel although their names usually mean secrets.
    """

    project: str
    run: str
    folder: str = ""
    allowed: tuple[str, ...] = ()
    progress: Progress = unwatched


@dataclass(frozen=True, slots=True)
class EarlierResult:
    """What a step has left: its commit, and the steps whose results it began from."""

    commit: str
    began_from: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Composition:
    """The start of a step: the results of the steps that it needs, with files that it is handed.

    `origin`: the snapshot at which the first of them began. `folder`: where handed files are; those of the
    steps before leave it. `without`: files that are not there when it begins; `origin` keeps its own.
    """

    repo: str
    run: str
    base: str | None
    origin: str
    results: Mapping[str, str]
    """By step: the commit of its result."""
    files: Mapping[str, bytes]
    folder: str
    without: tuple[str, ...] = ()
    history: Mapping[str, EarlierResult] = field(default_factory=dict)
    """By step, in an order in which each comes after those that it began from, as far as it is known.

    Two results are merged on what both began from.
    """
    origins: Mapping[str, str] = field(default_factory=dict)
    """By step: the snapshot from which its change is counted, where that may be another than `origin`."""
    marked: bool = False
    """Results that conflict are merged with the markers of the conflict: the run settles it."""


@dataclass(frozen=True, slots=True)
class Composed:
    """`snapshot`: where the run begins. `origin`: from where the whole change of the workflow is counted."""

    snapshot: str
    origin: str


class MergeConflictError(WorkspaceError):
    """Results of several steps do not go together."""


class DepotPort(Protocol):
    """The coordinator's own git objects and logs."""

    def snapshot(self, wanted: SnapshotRequest) -> SnapshotTaken:
        """Take a snapshot; WorkspaceError names paths and fix. The user's repository stays byte for byte.

        So does one whose folder is not below the top. The progress is told between, if at all.
        """

    def begin_at(self, run: str, snapshot: SnapshotTaken) -> None:
        """Make a commit of the depot the snapshot of a run. WorkspaceError where it is gone. Idempotent."""

    def compose(self, wanted: Composition) -> Composed:
        """Make the commit at which a step begins. MergeConflictError, WorkspaceError. Idempotent."""

    def read_file(self, repo: str, commit: str, path: str, most: int) -> bytes | None:
        """A file of a result; None where there is none, or it is larger than `most` bytes."""

    def file_names(self, repo: str, commit: str) -> list[str]:
        """Every file of a result."""

    def lines_changed(self, repo: str, old: str, new: str) -> int:
        """The number of added and removed lines."""

    def whole_answer(self, identity: AttemptId, printed: bool) -> bytes | None:
        """All of a long answer; None: it did not arrive. `printed`: of a script, whose output it is."""

    def commit_arrived(self, repo: str, identity: AttemptId, commit: str) -> bool:
        """Whether the fence's ref is there, is this commit, is whole and stands on the run's snapshot."""

    def blob_arrived(self, identity: AttemptId, name: str, size: int, sha256: str) -> bool:
        """Whether that log is on disk, complete to its digest."""

    def blob_part(self, identity: AttemptId, name: str, offset: int, limit: int) -> bytes:
        """Up to `limit` bytes of that log; empty when there are none."""


class Epochs(Protocol):
    """The newest epoch that was begun, kept where no backup of the ledger puts an older one back."""

    def last(self) -> int | None:
        """None when it is not known: nothing was kept yet, it was lost, or it is the copy of another disk."""

    def keep(self, epoch: int) -> None:
        """Durable when it returns. UnavailableError on a full disk: the epoch is not begun then."""


class ReceiptArchive(Protocol):
    """The folder of countersigned receipts as files, besides the ledger."""

    def store(self, receipts: Sequence[tuple[AttemptId, str]]) -> None:
        """Durable when it returns, all of them; the same bytes again are no error, and may be kept twice."""

    def has_room(self) -> bool:
        """Whether its disk has more left than has to stay free."""
