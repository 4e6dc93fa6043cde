"""The control plane's ports to the outside, as protocols. All calls are synchronous."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Protocol, TypeVar

from node_agent.wire.identity import AttemptId
from pancode.kernel.errors import WorkspaceError
from pancode.kernel.quota import RedisUsage
from pancode.kernel.records import Record

R = TypeVar("R", bound=Record)
Key = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Grouping:
    """A query for groups of rows, with counts and sums for each group.

    `by`: fields that are equal within a group. `sums`: fields of whole numbers or amounts. `distinct`: count
    different values of this field, not rows. `among`: a field must have one of these values. `prefix`: a
    field must start with this text. `least`: a number field must be at least this, `below`: less than this.
    """

    by: tuple[str, ...]
    sums: tuple[str, ...] = ()
    distinct: str | None = None
    among: Mapping[str, tuple[str | int | None, ...]] = field(default_factory=dict)
    prefix: tuple[str, str] | None = None
    least: tuple[str, int] | None = None
    below: tuple[str, int] | None = None
    largest: tuple[str, int] | None = None
    """If each row is a group: return only this many rows, those with the largest amount in that field."""


@dataclass(frozen=True, slots=True)
class Grouped:
    """One group: the values of fields `by`, the number of rows, and the exact sums in order of `sums`."""

    key: tuple[Any, ...]
    count: int
    sums: tuple[Decimal | int, ...] = ()


class Transaction(Protocol):
    """One atomic read and change: all reads see the same moment, and others see changes only at the end."""

    def get(self, kind: type[R], *key: str | int) -> R | None:
        """Return the row with this key, or None if there is none."""

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
        """Return the rows whose fields equal `where` (key or index fields only), ordered by key or `order`.

        `after`: only rows after this place, which is the value of `order` and the key; not for an `order`
        that may be null.
        """

    def starting(self, kind: type[Record], prefix: str, limit: int) -> list[Key]:
        """Return the first keys, in order, whose first field (a text) starts with `prefix`. Uses an index."""

    def tally(self, kind: type[Record], grouping: Grouping) -> list[Grouped]:
        """Return the groups, unordered, counted and summed by the database over many rows. Null adds 0."""

    def insert(self, record: Record) -> None:
        """Add a new row. Raises ConflictError if the key is taken, at once or at the latest at the end of the
        block; then nothing of the block is written."""

    def put(self, record: Record) -> None:
        """Write a new row, or the new value of the row with that key."""

    def delete(self, kind: type[Record], *key: str | int) -> None:
        """Remove the row, if it exists."""


class Ledger(Protocol):
    """The coordinator's durable records; they survive a kill at any moment."""

    def transaction(self) -> AbstractContextManager[Transaction]:
        """Return a context manager that commits durably (fsync) at its end, or rolls back on an exception."""

    def close(self) -> None:
        """Close the ledger. Idempotent."""


@dataclass(frozen=True, slots=True)
class UpMessage:
    """A message that a node wrote. It is untrusted until its signature is checked."""

    tag: str
    entry: str
    """The message's id in the stream, for `drop_up`."""
    data: bytes


@dataclass(frozen=True, slots=True)
class Ticket:
    """An admitted run as a pool queue shows it; it is only for display and never a job."""

    queue: str
    run: str
    attempt: int
    task: str
    agent: str
    priority: int


@dataclass(frozen=True, slots=True)
class Offer:
    """A signed job for the queue of one node."""

    tag: str
    identity: AttemptId
    envelope: str


@dataclass(frozen=True, slots=True)
class JobToClose:
    """A job to remove from its node's queue."""

    tag: str
    identity: AttemptId
    ok: bool
    reason: str
    entry: bytes = b""
    """The stream id of the job's start, as the node wrote it; empty: only the job's own record exists."""


@dataclass(frozen=True, slots=True)
class NamedJobs:
    """One page of the jobs that are in a node's queue or in its registry of started jobs."""

    waiting: tuple[str, ...]
    """The job ids in the queue, in order; the coordinator writes this queue."""
    started: tuple[bytes, ...]
    """The entries of the registry of started jobs. They are not trusted, because the node writes it."""
    total: int
    """The number of entries in the whole registry."""
    cursor: int
    """The cursor of the next page; 0: it begins at the first entry."""


class Bus(Protocol):
    """Redis as the coordinator uses it. Redis is not trusted, and may lose all data at any moment. Every
    method raises UnavailableError while Redis cannot be used; every write is idempotent."""

    def push_jobs(self, jobs: Sequence[Offer]) -> None:
        """Put each offer, in this order, into its node's queue, unless its job is already queued or claimed.
        After an UnavailableError, some of the offers may be in the queue."""

    def close_jobs(self, jobs: Sequence[JobToClose]) -> dict[str, str]:
        """Mark each RQ job as finished (ok) or failed with the reason, and remove it from the queue.

        An unknown job has no effect. The result describes, by node tag, entries that no node agent would
        write; these nodes' jobs are closed all the same. After an UnavailableError, some may be closed.
        """

    def named_jobs(self, tag: str, cursor: int) -> NamedJobs:
        """Return one page of limited size, whatever the node wrote. Begin with 0, then pass its cursor."""

    def drop_named(self, tag: str, entries: Sequence[bytes]) -> None:
        """Remove these entries from the node's registry of started jobs."""

    def show_tickets(self, tickets: Iterable[Ticket]) -> None:
        """Make the pool queues show exactly these tickets, in this order."""

    def send_controls(self, tag: str, messages: Sequence[tuple[int, str]]) -> None:
        """Append each (number, envelope) to the node's capped control stream in this order; notify the node
        once. Sending again is harmless. After an UnavailableError, some messages may be in the stream."""

    def drop_controls(self, tag: str) -> None:
        """Remove everything from the node's control stream."""

    def set_heartbeats(self, envelopes: Mapping[str, str]) -> None:
        """Replace the coordinator's heartbeat for each of these nodes, by tag, in one round trip. After an
        UnavailableError some of the heartbeats may be replaced."""

    def heartbeats(self, tags: Sequence[str]) -> dict[str, bytes]:
        """Return the newest heartbeat envelope of each node that has one, by tag; signatures unchecked."""

    def read_profile(self, tag: str) -> bytes:
        """Return the facts that the node stored beside its heartbeat, unchecked; empty: there are none."""

    def read_up(self, tags: Sequence[str], limit: int, wait_ms: int) -> list[UpMessage]:
        """Return the oldest messages of these nodes that were not dropped; if there are none, wait at most
        `wait_ms`.

        Each node's messages are in order, and no more than its share of a pass (`core.quota.is_full`).
        """

    def drop_up(self, messages: Sequence[UpMessage]) -> None:
        """Remove processed messages. Call this only after the effect of the messages is durable."""

    def admit_node(self, tag: str, password: str) -> None:
        """Create or update the node's own Redis user, which may use only its own keys."""

    def expel_node(self, tag: str) -> None:
        """Remove the node's Redis user (which cuts its connections) and its keys."""

    def used(self) -> int:
        """Return the bytes that the whole Redis server uses now, with one cheap request."""

    def weigh(self) -> dict[str, RedisUsage]:
        """Return the size of each node's keys, by tag. Slow: reads every key; works on a full server."""

    def queues(self) -> list[QueueView]:
        """Return the current state of all RQ queues of the fleet."""


@dataclass(frozen=True, slots=True)
class QueueView:
    """The current state of one RQ queue: the ids of its jobs in order, and of the jobs that were started."""

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
    tree: str = ""
    """The git tree of the snapshot. Equal ids mean equal files; empty: unknown."""


@dataclass(frozen=True, slots=True)
class Preview:
    """What a snapshot of the user's working tree would contain. `head`: the commit that is checked out."""

    head: str | None
    branch: str | None
    changed: tuple[str, ...]
    untracked: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ResultPlace:
    """A result in the depot. `base`: the user's commit on which the work began, or None. `since`: the commit
    after which the work's own commits are counted."""

    repo: str
    commit: str
    base: str | None
    since: str


Progress = Callable[[int, int], None]
"""A function called with the number of files that a snapshot has so far, and the number of all files."""


def ignore_progress(done: int, of: int) -> None:
    """Ignore the progress."""


@dataclass(frozen=True, slots=True)
class SnapshotRequest:
    """The files of a run to snapshot. `folder`: where the run begins, relative to the project's top.
    `allowed`: patterns of untracked files that are sent although such names usually mean secrets."""

    project: str
    run: str
    folder: str = ""
    allowed: tuple[str, ...] = ()
    progress: Progress = ignore_progress


@dataclass(frozen=True, slots=True)
class EarlierResult:
    """The result of an earlier step: its commit, and the steps from whose results that step began."""

    commit: str
    began_from: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Composition:
    """What the start of a step is made of: the results of the steps that it needs, and further files.

    `origin`: the snapshot at which the first step began. `folder`: where the files are put; files of earlier
    steps there are removed. `without`: files that are missing when the step begins; `origin` keeps them.
    """

    repo: str
    run: str
    base: str | None
    origin: str
    results: Mapping[str, str]
    """The commit of each needed step's result, by step."""
    files: Mapping[str, bytes]
    folder: str
    without: tuple[str, ...] = ()
    history: Mapping[str, EarlierResult] = field(default_factory=dict)
    """The results of earlier steps, each after those from which it began, as far as known. Two results are
    merged from their common start."""
    origins: Mapping[str, str] = field(default_factory=dict)
    """The snapshot from which a step's change is computed, by step, if it may differ from `origin`."""
    marked: bool = False
    """Whether conflicting results are merged with conflict markers, because the run resolves the conflict."""


@dataclass(frozen=True, slots=True)
class Composed:
    """The start of a step. `snapshot`: the commit where its run begins; `origin`: where the change begins."""

    snapshot: str
    origin: str


class MergeConflictError(WorkspaceError):
    """The error that the results of several steps conflict."""


class DepotPort(Protocol):
    """Port to the coordinator's own git objects and logs."""

    def snapshot(self, wanted: SnapshotRequest) -> SnapshotTaken:
        """Take a snapshot and report progress meanwhile; the user's repository is not modified.
        WorkspaceError with paths and a fix, also if the snapshot does not contain the `folder` of `wanted`.
        """

    def preview(self, project: str, folder: str, allowed: tuple[str, ...]) -> Preview:
        """Return what a snapshot would contain. Raises as `snapshot`."""

    def tree_now(self, project: str, allowed: tuple[str, ...]) -> str:
        """Return the id of the tree that a snapshot of the project would have now; the repository is not
        modified. Raises WorkspaceError."""

    def begin_at(self, run: str, snapshot: SnapshotTaken) -> None:
        """Make a commit of the depot the run's snapshot. WorkspaceError if it is missing. Idempotent."""

    def compose(self, wanted: Composition) -> Composed:
        """Make the commit at which a step begins. Raises MergeConflictError, WorkspaceError. Idempotent."""

    def read_file(self, repo: str, commit: str, path: str, most: int) -> bytes | None:
        """Return the bytes of a file in a result; None if it is missing or larger than `most` bytes."""

    def has_commit(self, repo: str, commit: str) -> bool:
        """Whether the depot has the repository and the commit."""

    def file_names(self, repo: str, commit: str) -> list[str]:
        """Return the names of all files of a result."""

    def lines_changed(self, repo: str, old: str, new: str) -> int:
        """Return the number of lines added plus lines removed."""

    def ahead_and_behind(self, project: str, result: ResultPlace) -> tuple[int | None, int | None]:
        """Return how many commits the result has since `result.since`, and the checkout since the result's
        base. Each number is at most 10,000, or None if unknown. Nothing is changed."""

    def diff(self, repo: str, old: str, new: str, stat: bool) -> bytes:
        """Return the change between two commits as a patch that git can apply; `stat`: only counts."""

    def shown_change(self, repo: str, old: str, new: str, most: int, hides: Callable[[str], bool]) -> bytes:
        """Return the change between two commits as a patch, empty if nothing changed. `hides`: whether a file
        must be hidden from the reader. A patch over `most` bytes is cut; its last line then says so."""

    def shown_history(
        self, project: str, taken: SnapshotTaken, commits: str, most: int, hides: Callable[[str], bool]
    ) -> bytes:
        """Return the commits of a range and their change, like `shown_change`. `commits`: A..B, or A for all
        since A with uncommitted work. Raises WorkspaceError for commits that are not in `taken`."""

    def whole_answer(self, identity: AttemptId, printed: bool) -> bytes | None:
        """Return the whole text of an attempt's long answer; None if it did not arrive. `printed`: the answer
        is the output, as for a script."""

    def commit_arrived(self, repo: str, identity: AttemptId, commit: str, snapshot: str | None) -> bool:
        """Whether the lease's ref is this commit, and it is complete and based on the given snapshot."""

    def blob_arrived(self, identity: AttemptId, name: str, size: int, sha256: str) -> bool:
        """Whether this log is stored completely, which its size and digest show."""

    def blob_part(self, identity: AttemptId, name: str, offset: int, limit: int) -> bytes:
        """Return up to `limit` bytes of a stored log; empty if there are none. A negative `offset` counts
        from the end of the stored bytes."""


class Epochs(Protocol):
    """The store of the newest epoch that was begun; a restored backup of the ledger does not set it back."""

    def last(self) -> int | None:
        """Return the newest epoch; None if unknown: never stored, lost, or copied from another disk."""

    def keep(self, epoch: int) -> None:
        """Store the epoch; durable on return. UnavailableError on a full disk: the epoch must not begin."""


class ReceiptArchive(Protocol):
    """The archive of countersigned receipts, as files in a folder next to the ledger."""

    def store(self, receipts: Sequence[tuple[AttemptId, str]]) -> None:
        """Store all these receipts; durable on return. Storing the same bytes again is not an error."""

    def has_room(self) -> bool:
        """Whether the archive's disk has more free space than must stay free."""
