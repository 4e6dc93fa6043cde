"""The ports of the control plane to the world, as protocols. Every call is synchronous."""

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
    """A query of grouped rows, with the figures of each group.

    `by`: fields that are equal within a group. `sums`: fields of whole numbers or amounts. `distinct`: count
    the different values of this field, not the rows. `among`: a field has one of these values. `prefix`: a
    field starts with this text. `least`: a number field is at least this, `below`: less than this.
    """

    by: tuple[str, ...]
    sums: tuple[str, ...] = ()
    distinct: str | None = None
    among: Mapping[str, tuple[str | int | None, ...]] = field(default_factory=dict)
    prefix: tuple[str, str] | None = None
    least: tuple[str, int] | None = None
    below: tuple[str, int] | None = None
    largest: tuple[str, int] | None = None
    """Where each row is a group: only so many rows, those with the most of this amount."""


@dataclass(frozen=True, slots=True)
class Grouped:
    """One group: the values of `by`, the number of rows, and the exact sums in their order."""

    key: tuple[Any, ...]
    count: int
    sums: tuple[Decimal | int, ...] = ()


class Transaction(Protocol):
    """One atomic read and change: all reads see one moment, and nobody sees a change before the end."""

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
        """The rows whose fields equal `where` (key or index fields only), by key or by `order`.

        `after`: only rows after this place, which is the value of `order` and the key; not for an `order`
        that may be null.
        """

    def starting(self, kind: type[Record], prefix: str, limit: int) -> list[Key]:
        """The first keys, in order, whose first field (a text) starts with `prefix`; read from the index."""

    def tally(self, kind: type[Record], grouping: Grouping) -> list[Grouped]:
        """The groups, in no job, counted and summed by the database over many rows. Null sums as 0."""

    def insert(self, record: Record) -> None:
        """Add a new row. ConflictError when the key is taken: at once, or at the latest at the block's end.

        Then nothing of the block is written.
        """

    def put(self, record: Record) -> None:
        """Write a new row, or the new value of the row with that key."""

    def delete(self, kind: type[Record], *key: str | int) -> None:
        """Remove the row; nothing happens when there is none."""


class Ledger(Protocol):
    """The coordinator's durable records; they survive a kill at any moment."""

    def transaction(self) -> AbstractContextManager[Transaction]:
        """A block that commits on leaving, durably (fsync), and rolls back on an exception."""

    def close(self) -> None:
        """Close the ledger. Idempotent."""


@dataclass(frozen=True, slots=True)
class UpMessage:
    """A message that a node wrote; it is not believed before its signature is checked."""

    tag: str
    entry: str
    """The id in the stream, for `drop_up`."""
    data: bytes


@dataclass(frozen=True, slots=True)
class Ticket:
    """Admitted work as shown in a pool queue: a projection, never a job."""

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
    """A job to take out of its node's queue."""

    tag: str
    identity: AttemptId
    ok: bool
    reason: str
    entry: bytes = b""
    """The stream id of the job's start, as its node wrote it; empty: only the job's own record has one."""


@dataclass(frozen=True, slots=True)
class NamedJobs:
    """One page of the jobs that a node's queue and its registry of started jobs name."""

    waiting: tuple[str, ...]
    """The job ids in the queue, in order; the coordinator writes this queue."""
    started: tuple[bytes, ...]
    """The entries of the registry of started jobs. The node writes it, so they are not believed."""
    total: int
    """How many entries the whole registry has."""
    cursor: int
    """Where the next page begins; 0: at the first entry."""


class Bus(Protocol):
    """Redis as the coordinator sees it. It is not trusted, and may forget everything at any moment.

    Every method raises UnavailableError while Redis cannot be used; every write is idempotent.
    """

    def push_jobs(self, jobs: Sequence[Offer]) -> None:
        """Put each offer, in this order, into its node's queue, unless its job is queued or claimed there.

        After an UnavailableError some of the offers may be there.
        """

    def close_jobs(self, jobs: Sequence[JobToClose]) -> dict[str, str]:
        """Mark each RQ job as finished (ok) or failed with the reason, and take it out of the queue.

        An unknown job has no effect. The answer, by tag, says in words what a node has written there that no
        node agent writes; its jobs are closed all the same. After an UnavailableError some may be closed.
        """

    def named_jobs(self, tag: str, cursor: int) -> NamedJobs:
        """One bounded page, however much the node has written. Begin with 0, then use the page's cursor."""

    def drop_named(self, tag: str, entries: Sequence[bytes]) -> None:
        """Remove these entries from the node's registry of started jobs."""

    def show_tickets(self, tickets: Iterable[Ticket]) -> None:
        """Make the pool queues show exactly these tickets, in this order."""

    def send_controls(self, tag: str, messages: Sequence[tuple[int, str]]) -> None:
        """Append (number, envelope) to the node's control stream (capped) in this order, and hint once.

        Sending again is harmless. After an UnavailableError some of the messages may be there.
        """

    def drop_controls(self, tag: str) -> None:
        """Remove everything from the node's control stream."""

    def set_heartbeats(self, envelopes: Mapping[str, str]) -> None:
        """Replace the coordinator's heartbeat for each of these nodes, by tag, in one round trip.

        After an UnavailableError some of the heartbeats may be replaced.
        """

    def heartbeats(self, tags: Sequence[str]) -> dict[str, bytes]:
        """The newest heartbeat envelope of each of these nodes that has one, unchecked."""

    def read_up(self, tags: Sequence[str], limit: int, wait_ms: int) -> list[UpMessage]:
        """The oldest messages of these nodes that were not dropped; waits at most `wait_ms` when there are
        none.

        Each node's messages are in its order, and no more than its share of a pass (`core.quota.is_full`).
        """

    def drop_up(self, messages: Sequence[UpMessage]) -> None:
        """Remove messages that were dealt with; call it only when their effect is durable."""

    def admit_node(self, tag: str, password: str) -> None:
        """Create or renew the node's own Redis user, which may use only its own keys."""

    def expel_node(self, tag: str) -> None:
        """Remove the node's user (its connections are cut) and its keys."""

    def used(self) -> int:
        """The bytes that the whole Redis server holds now; one cheap question."""

    def weigh(self) -> dict[str, RedisUsage]:
        """The size of each node's keys, by tag. Slow, as it reads every key; also works on a full server."""

    def queues(self) -> list[QueueView]:
        """All RQ queues of the fleet in their present state."""


@dataclass(frozen=True, slots=True)
class QueueView:
    """One RQ queue in its present state: the job ids in order, and the started ones."""

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
    """The git tree of the snapshot: equal names mean equal files. Empty: not known."""


MOST_COMMITS = 10_000
"""How many commits of a line of work are counted at most."""


@dataclass(frozen=True, slots=True)
class ResultPlace:
    """A result in the depot.

    `base`: the user's commit where its line of work began; None: there was none. `since`: the commit of that
    line after which its own commits count.
    """

    repo: str
    commit: str
    base: str | None
    since: str


Progress = Callable[[int, int], None]
"""Called with the number of files that a snapshot has so far, and with the number of all its files."""


def ignore_progress(done: int, of: int) -> None:
    """A progress callback for a caller that does not follow the progress."""


@dataclass(frozen=True, slots=True)
class SnapshotRequest:
    """The files of a run to snapshot. `folder`: where the run begins, below the project's top.

    `allowed`: patterns of untracked files that travel although their names usually mean secrets.
    """

    project: str
    run: str
    folder: str = ""
    allowed: tuple[str, ...] = ()
    progress: Progress = ignore_progress


@dataclass(frozen=True, slots=True)
class EarlierResult:
    """The result of a step: its commit, and the steps from whose results it began."""

    commit: str
    began_from: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Composition:
    """The start of a step: the results of the steps that it needs, with files for it.

    `origin`: the snapshot at which the first step began. `folder`: where the files are put; those of earlier
    steps leave it. `without`: files that are missing when the step begins; `origin` keeps its own.
    """

    repo: str
    run: str
    base: str | None
    origin: str
    results: Mapping[str, str]
    """The commit of each step's result."""
    files: Mapping[str, bytes]
    folder: str
    without: tuple[str, ...] = ()
    history: Mapping[str, EarlierResult] = field(default_factory=dict)
    """The results by step, each after those from which it began, as far as this is known.

    Two results are merged from the beginning that they share.
    """
    origins: Mapping[str, str] = field(default_factory=dict)
    """The snapshot from which a step's change is counted, by step, if it may differ from `origin`."""
    marked: bool = False
    """Whether conflicting results are merged with conflict markers, because the run settles the conflict."""


@dataclass(frozen=True, slots=True)
class Composed:
    """The start of a step. `snapshot`: where its run begins; `origin`: from where the whole change counts."""

    snapshot: str
    origin: str


class MergeConflictError(WorkspaceError):
    """The results of several steps conflict."""


class DepotPort(Protocol):
    """The coordinator's own git objects and logs."""

    def snapshot(self, wanted: SnapshotRequest) -> SnapshotTaken:
        """Take a snapshot; the user's repository stays byte for byte. Progress is reported meanwhile.

        WorkspaceError names paths and fix, also where the snapshot does not have the wanted `folder`.
        """

    def tree_now(self, project: str, allowed: tuple[str, ...]) -> str:
        """The tree that a snapshot of the project would have now; the repository stays as it is.
        WorkspaceError.
        """

    def begin_at(self, run: str, snapshot: SnapshotTaken) -> None:
        """Make a commit of the depot the run's snapshot. WorkspaceError when it is gone. Idempotent."""

    def compose(self, wanted: Composition) -> Composed:
        """Make the commit at which a step begins. MergeConflictError, WorkspaceError. Idempotent."""

    def read_file(self, repo: str, commit: str, path: str, most: int) -> bytes | None:
        """The bytes of a file in a result; None when there is none, or it is larger than `most` bytes."""

    def has_commit(self, repo: str, commit: str) -> bool:
        """Whether the depot has the commit; False also where it does not have the repository."""

    def file_names(self, repo: str, commit: str) -> list[str]:
        """The names of all files of a result."""

    def lines_changed(self, repo: str, old: str, new: str) -> int:
        """How many lines were added and removed, together."""

    def ahead_and_behind(self, project: str, result: ResultPlace) -> tuple[int | None, int | None]:
        """How many commits the line of work has since `result.since`, and the checkout since the line's base.

        Each is at most `MOST_COMMITS`; None where it cannot be told. Nothing is changed.
        """

    def shown_change(self, repo: str, old: str, new: str, most: int, hides: Callable[[str], bool]) -> bytes:
        """The change between two commits as a patch; empty where there is none.

        `hides`: whether its reader may not read a file. Beyond `most` bytes it is cut, and its last line says
        so.
        """

    def shown_history(
        self, project: str, taken: SnapshotTaken, commits: str, most: int, hides: Callable[[str], bool]
    ) -> bytes:
        """The commits of a range, and their change as `shown_change` gives it.

        `commits`: A..B, or A for all since A with uncommitted work. WorkspaceError for commits that are not
        in `taken`.
        """

    def whole_answer(self, identity: AttemptId, printed: bool) -> bytes | None:
        """The whole text of a long answer; None: it did not arrive. `printed`: a script's answer is its
        output.
        """

    def commit_arrived(self, repo: str, identity: AttemptId, commit: str, snapshot: str | None) -> bool:
        """Whether the lease's ref exists, is this commit, is whole, and stands on the attempt's snapshot."""

    def blob_arrived(self, identity: AttemptId, name: str, size: int, sha256: str) -> bool:
        """Whether this log is on disk, complete by its size and digest."""

    def blob_part(self, identity: AttemptId, name: str, offset: int, limit: int) -> bytes:
        """Up to `limit` bytes of that log; empty when there are none. An `offset` below 0 counts from the end
        of what has arrived."""


class Epochs(Protocol):
    """The store of the newest epoch that was begun, where no backup of the ledger can bring back an older
    one.
    """

    def last(self) -> int | None:
        """The newest epoch; None when it is unknown: never kept, lost, or the copy of another disk."""

    def keep(self, epoch: int) -> None:
        """Keep the epoch; durable on return. UnavailableError on a full disk: then the epoch is not begun."""


class ReceiptArchive(Protocol):
    """The folder of countersigned receipts as files, beside the ledger."""

    def store(self, receipts: Sequence[tuple[AttemptId, str]]) -> None:
        """Store all these receipts; durable on return. Storing the same bytes again is not an error."""

    def has_room(self) -> bool:
        """Whether its disk has more space left than must stay free."""
