"""The ports of the job procedure, as protocols. Every call is synchronous.

A node may die between any two calls, and during one: each is atomic, or may simply be made again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from node_agent.attempt.accept import Ceiling
from node_agent.attempt.gateways import GatewayAccess
from node_agent.attempt.records import JournalRecord, JournalState, Note, PutBack
from node_agent.policy.judging import NO_BOUNDS, NOTHING_BROKEN, Bounds, FileChange, Offences
from node_agent.runtimes.base import ExitInfo, FleetCalled, ProcessSpec, TurnEnded
from node_agent.runtimes.logins import LimitReset
from node_agent.shim.spool import Look, PhasePlan
from node_agent.wire.failure import FailureKind
from node_agent.wire.identity import AttemptId
from node_agent.wire.job import Job, Workspace
from node_agent.wire.node import GpuLoad, NodeFacts
from node_agent.wire.policy import NO_RULES, CallAsked, Isolation, Rules
from node_agent.wire.receipt import Blob, Enforced, Served, SuspendReason, TurnMessage, Usage


class LinkDown(Exception):
    """Redis or the depot cannot be reached now. The call can be made again later; nothing is lost."""


class DiskFull(Exception):
    """The disk has no room for a durable record. The call can be made again later."""


class StepFailed(Exception):
    """A step cannot be done, now or later; `kind` is how the attempt ends."""

    def __init__(self, kind: FailureKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Spoken:
    """One event of this node as the journal keeps it: its number and its text, which is signed when sent."""

    seq: int
    text: str


class JournalPort(Protocol):
    """The node's durable memory: one entry per attempt, and the node's own state.

    When a writing call returns, what it wrote is on disk; when it is cut off, none of it is. A writing call
    may raise DiskFull, but not for marks and receipts: `accept` reserved their space. Calls from several
    threads are safe; one attempt's marks come from one thread at a time.
    """

    def accept(self, job: Job, digest: str, envelope: str, note: Note) -> JournalRecord:
        """Open an entry with its first mark: held, accepted or refused. JournalError if the entry exists."""

    def get(self, identity: AttemptId) -> JournalRecord | None:
        """The entry as it is now. From memory."""

    def entries(self) -> list[JournalRecord]:
        """All entries, oldest first. From memory."""

    def live(self) -> list[JournalRecord]:
        """Entries that still need something of this node, oldest first. From memory."""

    def top_lease(self, run: str) -> int:
        """The highest lease of a run that is or was in the journal since this start; 0 for none."""

    def job(self, identity: AttemptId) -> Job:
        """The accepted job, its signature checked. KeyError: unknown attempt; ValueError: no job."""

    def write(self, identity: AttemptId, note: Note) -> JournalRecord:
        """Add to the entry. JournalError for a mark that does not go forward. A lazy note is durable with the
        next one that is not lazy, after `settle`, or before one of its events is sent.
        """

    def settle(self, identity: AttemptId | None = None) -> None:
        """Make all notes of this attempt, or of every attempt, survive a power cut."""

    def seal(self, identity: AttemptId, envelope: str, digest: str, previous: str | None) -> bool:
        """Keep and mark the receipt, the next of this node's chain; False if `previous` is not the last."""

    def last_receipt(self) -> str | None:
        """Return the digest of this node's newest receipt."""

    def receipt(self, identity: AttemptId) -> str | None:
        """Return the sealed envelope of the attempt's receipt."""

    def events(self, identity: AttemptId, above: int) -> list[Spoken]:
        """Return the attempt's events with a number above this one, in order."""

    def folder(self, identity: AttemptId) -> Path:
        """Return the folder of the attempt's plans, records and outputs; it exists as long as the entry."""

    def drop(self, identity: AttemptId, files: tuple[str, ...]) -> None:
        """Remove these outputs from the attempt's folder: nobody will ask for them. Absent: no effect."""

    def node(self) -> JournalState:
        """The node's own state. From memory."""

    def set_node(self, state: JournalState) -> None:
        """Replace the node's state, whole or not at all. A crash may forget which messages were seen."""

    def kept_node(self) -> JournalState:
        """The node's own state as it lies on disk, where it survives a crash: all, if there is room."""

    def forget(self, identity: AttemptId) -> None:
        """Remove an entry with all its files. Unknown: no effect."""

    def lost(self) -> tuple[str, ...]:
        """Return the attempts (as text) whose entry cannot be read; what still runs of them must be swept."""

    def troubles(self) -> tuple[str, ...]:
        """Damaged records, in words for a user."""


@dataclass(frozen=True, slots=True)
class Activity:
    """What a phase at work has done so far. Times are those of the wall clock; 0: not known.

    `cpu_ms`: the CPU time of its processes; `wrote_ms`, `changed_ms`: the last change of an output, and of a
    file in its folder.
    """

    cpu_ms: int = 0
    wrote_ms: int = 0
    changed_ms: int = 0


class RunnerPort(Protocol):
    """Shims: one per folder, started at most once, however often it is called. Raises RunnerError."""

    def prepare(self, folder: Path, plan: PhasePlan, stdin: bytes = b"") -> None:
        """Write the plan, and `stdin` for its steps to read; reserve the space of the phase's records."""

    def planned(self, folder: Path) -> PhasePlan | None:
        """The plan that `prepare` wrote; None when there is none."""

    def discard(self, folder: Path) -> None:
        """Removes the prepared plan and an old stop; RunnerError where anything was started."""

    def forget(self, folder: Path) -> None:
        """Remove the values of the plan's environment from the disk; the plan cannot be started again."""

    def amend(self, folder: Path, plan: PhasePlan) -> None:
        """Replace a prepared plan before its start. Idempotent."""

    def start(self, folder: Path, plan: PhasePlan) -> None:
        """Start the phase; return once a shim has taken the folder, now or earlier."""

    def look(self, folder: Path) -> Look:
        """The state of the phase."""

    def wait(self, folder: Path, timeout_s: float) -> Look:
        """Return the state of the phase once the phase is over, or after the timeout."""

    def stop(self, folder: Path, reason: str) -> None:
        """Ask the phase to end. If it has not started, nothing will be executed. The first reason stands."""

    def sweep(self, marker: str) -> int:
        """Kill the processes left of an attempt whose shim is gone; return how many there were."""

    def end_leftovers(self, markers: Collection[str]) -> dict[str, int]:
        """Kill what is alive of these attempts, which are over; return how many processes of which there
        were.
        """

    def lived(self, folder: Path, outputs: tuple[Path, ...], seen_wall_ms: int) -> int:
        """Milliseconds by wall clocks until the last sign of life: a write, or when it was last seen."""

    def activity(self, folder: Path, outputs: tuple[Path, ...]) -> Activity:
        """What can be seen now of the phase at work."""

    def tail(self, path: Path, offset: int, limit: int) -> bytes:
        """Up to `limit` bytes of an output from `offset` (negative: from its end); empty: no output."""

    def keep(self, path: Path, data: bytes) -> None:
        """Write an output of the node agent's own, whole. Idempotent."""


@dataclass(frozen=True, slots=True)
class CommitStamp:
    """Message and date (milliseconds of Unix time) of a result commit: same files and stamp, same id."""

    message: str
    date_ms: int


@dataclass(frozen=True, slots=True)
class AttemptResult:
    """The result of an attempt. `commit`: None for `none` and `empty`. `changes`: of all its commits.

    `missing`: in words, the files of the agent that the result does not hold and git does not ignore.
    """

    kind: Literal["change", "no_change", "empty", "none"]
    commit: str | None = None
    files_changed: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    changes: tuple[FileChange, ...] = ()
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Guide:
    """The repository's instructions to agents; a finding says when they were clipped or not readable."""

    text: str
    findings: tuple[str, ...] = ()


class WorkspacesPort(Protocol):
    """The files of an attempt; calls may be repeated. LinkDown, StepFailed (WORKSPACE, DISK_FULL, DEPOT)."""

    def fetch(self, identity: AttemptId, workspace: Workspace) -> None:
        """Bring the snapshot to this node, so that `prepare` needs no link. Idempotent; from any thread."""

    def prepare(self, identity: AttemptId, workspace: Workspace) -> Path:
        """Make the agent's folder: the snapshot checked out, or empty. Repeatable before the agent starts."""

    def home(self, identity: AttemptId, files: Mapping[str, bytes], keep: bool = False) -> Path:
        """Make the attempt's home, outside the checkout, with these files (relative names). `keep`: `renew`
        restores the files, and a sandbox shows them read-only.
        """

    def renew(self, identity: AttemptId) -> None:
        """After set-up: restore the kept files of `home`, and remove everything else in their folders. Lent
        files are restored, too. Only while no process of the attempt lives. Idempotent."""

    def lend(self, identity: AttemptId, files: Mapping[str, bytes], later: bool) -> None:
        """Lay files in the home for the agent alone: now or, if `later`, with `renew`. Before any process."""

    def take_back(self, identity: AttemptId) -> None:
        """Remove the lent files and their topmost folders. Only while no process lives. Idempotent."""

    def guide(self, identity: AttemptId, workspace: Workspace) -> Guide | None:
        """The repository's instructions to agents; None without any. Read before the run's first process."""

    def put_back(self, job: Job, log: Path, env: Mapping[str, str]) -> PutBack:
        """Copy an earlier set-up's folders and log it, or leave none. Before any process; repeatable."""

    def absent(self, job: Job, path: str) -> tuple[str, ...]:
        """Return the gates' programs that are neither along `path` (PATH) nor in the folders of set-up."""

    def keep(self, job: Job, key: str) -> tuple[str, ...]:
        """Keep copies of set-up's folders for later attempts; () when kept, else why not, for a user.
        After a set-up that ended well, while no process of the attempt lives. Raises nothing."""

    def trim(self, now_ms: int) -> None:
        """Delete kept folders unused for long, and leftovers of crashes. `now_ms`: wall clock."""

    def repository(self, identity: AttemptId, workspace: Workspace) -> tuple[Path, ...]:
        """Return the checkout's paths that no process in a sandbox may write; () without a repository."""

    def hand_over(self, identity: AttemptId, workspace: Workspace, owner: int) -> None:
        """Make this user the owner of all files that the agent works with. Only before any process ran."""

    def tell(self, identity: AttemptId, name: str, text: str) -> None:
        """Lay a sealed file with users' messages where our program looks. The same file again: no effect."""

    def lay_board(self, identity: AttemptId, files: Mapping[str, bytes]) -> None:
        """Lay the workflow's board as files, before any process of the attempt. Idempotent."""

    def take_tools(self, identity: AttemptId, workspace: Workspace) -> Mapping[str, dict[str, bytes] | str]:
        """Return the tools that the agent proposes, by name: their files, or why they cannot be read. They
        are moved away once. Idempotent.
        """

    def take_board(self, identity: AttemptId, workspace: Workspace) -> dict[str, bytes]:
        """Return the bytes of the board by `NAMESPACE/KEY`, and take the files away. When as `question`."""

    def question(self, identity: AttemptId, workspace: Workspace) -> bytes | None:
        """The agent's question to a user; takes its file away. Before `commit`, no process alive."""

    def clear_reports(self, identity: AttemptId, files: tuple[str, ...]) -> None:
        """Remove any files that lie where gates are to write reports. While no process lives. Idempotent."""

    def read_reports(self, identity: AttemptId, files: tuple[str, ...]) -> tuple[str, dict[str, bytes]]:
        """The checkout's path, and each plain file's content by name, a little more than may be read."""

    def baseline(self, identity: AttemptId, workspace: Workspace) -> str:
        """Record the files as set-up left them; return the record's name. Only while no process lives."""

    def commit(
        self, identity: AttemptId, workspace: Workspace, stamp: CommitStamp, baseline: str | None = None
    ) -> AttemptResult:
        """Return the result, rebuilt from the files. Only while no process of the attempt lives. With a
        baseline, a file that is still as set-up left it counts as unchanged from the snapshot.
        """

    def exposed(
        self,
        identity: AttemptId,
        workspace: Workspace,
        commit: str,
        hidden: Mapping[str, str],
        on_the_way: bool = False,
    ) -> tuple[tuple[str, str], ...]:
        """Return (name, file) for each of these values in a file of the result but not in the snapshot's
        file.

        `on_the_way`: in a commit between them, and not in the file before that commit.
        """

    def changed_since(self, identity: AttemptId, commit: str, baseline: str | None = None) -> tuple[str, ...]:
        """Return the files that differ from this commit, except those that are as set-up left them."""

    def push(self, identity: AttemptId, workspace: Workspace, commit: str) -> None:
        """Deliver the commit to the attempt's own ref."""

    def salvage(
        self, identity: AttemptId, workspace: Workspace, stamp: CommitStamp, baseline: str | None = None
    ) -> tuple[str, ...]:
        """Keep the attempt's files without delivering them; return where they are, for a user."""

    def remove(self, identity: AttemptId, workspace: Workspace) -> None:
        """Remove checkout and home. Idempotent."""

    def put_aside(self, identity: AttemptId) -> None:
        """Keep the attempt's whole folder at `place_aside`, until `forget`. Idempotent."""

    def place_aside(self, identity: AttemptId) -> str:
        """Return the folder in which `put_aside` keeps the attempt's files."""

    def forget(self, identity: AttemptId, workspace: Workspace) -> None:
        """Delete the files that `salvage` kept. Idempotent."""

    def list(self) -> tuple[AttemptId, ...]:
        """Attempts that still have files."""


class DepotLink(Protocol):
    """Sends the bulk that is not git: logs. Raises LinkDown or StepFailed(DEPOT)."""

    def upload(self, identity: AttemptId, name: str, path: Path) -> Blob:
        """Send all bytes of the file that the depot lacks; return its size and digest once all are there."""

    def follow(self, identity: AttemptId, name: str, path: Path, stays: bool = False) -> None:
        """Send the new bytes of a growing file. `stays`: more comes soon, so the connection stays open."""

    def close_others(self, live: Collection[AttemptId]) -> None:
        """Close the connections that stayed open for attempts other than these. Raises nothing."""


@dataclass(frozen=True, slots=True)
class Launch(ProcessSpec):
    """The process of the agent's program, and its facts for a receipt. `prompt`: the agent's instructions."""

    enforced: tuple[Enforced, ...] = ()
    version: str | None = None
    served: Served | None = None
    prompt: str = ""
    isolation: Isolation = Isolation.NONE
    owner: int | None = None
    """The user who must own the attempt's files inside a sandbox; None: the owner stays as it is."""
    unset: tuple[str, ...] = ()
    """Variables that the job allows and that have no value on the node."""

    @property
    def inside(self) -> bool:
        """Whether every phase of the attempt goes in a sandbox, by `enclose`."""
        return self.isolation is not Isolation.NONE


LaidMessageOf = Callable[[int], TurnMessage | None]
"""A user's message by their number, as this node has laid them; 0: the task of an interactive run."""
NOTHING_LAID: LaidMessageOf = dict[int, TurnMessage]().get


@dataclass(frozen=True, slots=True)
class ReportedTurn:
    """A turn of an interactive run as the runtime reports it. `end` None: the turn has not ended."""

    number: int
    words: tuple[TurnMessage, ...]
    began_wall_ms: int
    end: TurnEnded | None = None


@dataclass(frozen=True, slots=True)
class ReportedUsage:
    """The runtime's usage so far, calls by action class; and forbidden calls that it let through."""

    usage: Usage = Usage()
    tool_calls: Mapping[str, int] = field(default_factory=dict)
    broken: Offences = NOTHING_BROKEN
    heard: tuple[int, ...] = ()
    """The numbers of the user's message that the agent was given."""
    turns: tuple[ReportedTurn, ...] = ()
    """The turns of an interactive run, in order; only the last one can be without an end."""
    rests: SuspendReason | None = None
    fleet: tuple[FleetCalled, ...] = ()
    """The calls of tools of the fleet that wait for an answer."""

    @property
    def calls(self) -> int:
        return sum(self.tool_calls.values())


@dataclass(frozen=True, slots=True)
class ReportedEnd:
    """The end that a runtime's own output reports. `failure` None: the agent did the work."""

    failure: FailureKind | None
    reason: str
    answer: str = ""
    session: str | None = None
    model: str | None = None
    spent: ReportedUsage = ReportedUsage()
    findings: tuple[str, ...] = ()
    resets: LimitReset | None = None
    """When the usage limit ends that the login has met; None: the runtime did not say."""


class OutputReader(Protocol):
    """Reads a runtime's output, from its first byte, in pieces of any size. Pure."""

    def feed(self, chunk: bytes) -> None:
        """Read the next bytes."""

    def spent(self) -> ReportedUsage:
        """The usage so far."""

    def finish(self, end: ExitInfo) -> ReportedEnd:
        """The end as the runtime reports it, after the last byte of output."""


class Runtimes(Protocol):
    """The programs that run agents. Pure; StepFailed(RUNTIME_MISSING) for a program that is not there."""

    def launch(
        self, job: Job, work: Path, home: Path, guide: str = "", entry: GatewayAccess | None = None
    ) -> Launch:
        """How to start the agent. `guide`: the repository's instructions; `entry`: its model gateway's."""

    def reader(
        self, job: Job, bounds: Bounds = NO_BOUNDS, laid: LaidMessageOf = NOTHING_LAID
    ) -> OutputReader:
        """Return a new reader of the runtime's output. `laid`: the messages of users that it may report."""

    def hidden(self, job: Job) -> Mapping[str, str]:
        """The values, by name, that must not leave the node in any text of this attempt."""

    def enclose(
        self,
        job: Job,
        plan: PhasePlan,
        shown: tuple[Path, ...],
        entry: GatewayAccess | None,
        rules: Rules = NO_RULES,
    ) -> PhasePlan:
        """The phase inside the sandbox; one inside gets another. StepFailed(SANDBOX) without a sandbox.
        `shown` is readable inside. `rules`: the node owner's; the files that they cover are looked up now.
        """


class MachineFacts(Protocol):
    """The facts of the machine. Never raises; a fact that cannot be found out is a problem in the answer."""

    def boot_id(self) -> str:
        """Return the boot's id; it changes at each start of the machine."""

    def look(self) -> NodeFacts:
        """Return machine and runtimes as they are now; a runtime not yet known is `looking`."""

    def news(self) -> bool:
        """Whether the facts of a runtime have become known since the last look."""

    def gpu_loads(self) -> tuple[GpuLoad, ...]:
        """Return the changing figures of the machine's GPUs, without their holders. Quick."""

    def disk_ok(self) -> bool:
        """Whether more disk is free than the reserve."""

    def ceiling(self) -> Ceiling:
        """Return the limits of the node's owner, as the file has them now."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A job as it came out of the queue; its signature is not checked yet."""

    rq_job: str
    """RQ job id."""
    envelope: bytes


@dataclass(frozen=True, slots=True)
class Sent:
    """A control message as it came out of the down stream."""

    entry: str
    data: bytes


@dataclass(frozen=True, slots=True)
class News:
    """The coordinator's newest heartbeat, its control messages, and a job if one was asked for and waits."""

    heartbeat: bytes | None
    controls: list[Sent]
    claimed: Claimed | None = None


class Uplink(Protocol):
    """Redis as a node sees it, through its own tunnel. Never blocks longer than its socket timeout (10 s).

    Every method raises `ports.LinkDown` while Redis cannot be used; every write is idempotent.
    """

    def claim(self) -> Claimed | None:
        """Take the next job out of this node's queue and mark its RQ job started, in one step."""

    def settle_job(self, job: str, ok: bool, reason: str) -> None:
        """Make the job `finished` or `failed` in RQ's own registries. Unknown job: no effect."""

    def send(self, *envelopes: str) -> None:
        """Append events, receipts or inventories to the up stream, in this order, and hint once.

        After a LinkDown some of them may have arrived, but none without those before it.
        """

    def set_heartbeat(self, envelope: str) -> None:
        """Replace this node's heartbeat and RQ's own worker registration, by which RQ's tools show it."""

    def news(self, after: str, claim: bool = False) -> News:
        """Return the news for this node, in one round trip.

        Control messages: those after this stream entry (`0`: all that are there), oldest first. `claim`: also
        a job, taken as by `claim`, after all else.
        """

    def wait_for_hint(self, wait_ms: int) -> bool:
        """Wait for a hint, at most this long. True: a hint came. Never raises LinkDown."""


class NotYet(Exception):
    """Something still lies where the attempt must work. The call can be made again later; nothing is lost."""


class Sessions(Protocol):
    """The kept sessions of programs. Every call may be repeated after a crash in it."""

    def keep(self, job: Job, session: str | None, used: Usage) -> str:
        """Keep what the attempt's program remembers, with the usage of this run alone. Return in words why it
        was not kept, or what was deleted to make room.

        Only while no process of the attempt lives. Raises nothing.
        """

    def go_on(self, job: Job) -> None:
        """Give the attempt the place of the run that it continues with, before any file of the attempt lies
        there.

        NotYet while that place is taken. StepFailed(CANNOT_START) where the session is not kept, except for a
        interactive run: its job has the story.
        """

    def put_back(self, job: Job) -> None:
        """Lay the session's files in the attempt's home, before the agent starts. StepFailed."""

    def trim(self, now_ms: int) -> None:
        """Delete the sessions that nobody has asked for in a long time. `now_ms`: wall clock. Idempotent."""


class CallsPort(Protocol):
    """The questions about calls that lie in a run's home, and the answers beside them."""

    def open(self, identity: AttemptId) -> tuple[CallAsked, ...]:
        """Questions without an answer, as any program of the run may have written them. Raises nothing."""

    def answers(self, identity: AttemptId) -> tuple[bytes, ...]:
        """Answers that lie there, as any program of the run may have written them. Raises nothing."""

    def answer(self, identity: AttemptId, call: str, data: bytes) -> None:
        """Lay the answer; laying the same again has no effect. StepFailed, DiskFull."""

    def patience(self, phase: Path, waits: bool) -> None:
        """Set whether the phase's idle limit is paused for a user. Idempotent. Raises nothing."""
