"""The ports of the job procedure, as protocols. Every call is synchronous.

A node may die between any two calls, and during one: each is atomic, or may simply be made again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from node_agent.attempt.ceiling import Ceiling
from node_agent.attempt.gateways import GatewayAccess
from node_agent.attempt.records import JournalRecord, JournalState, Note, PutBack
from node_agent.policy.judging import NO_BOUNDS, NOTHING_BROKEN, Bounds, FileChange, Offences
from node_agent.runtimes.base import ExitInfo, FleetCalled, ProcessSpec, TurnEnded
from node_agent.runtimes.limits import LimitReset
from node_agent.shim.spool import Look, PhasePlan
from node_agent.wire.failure import FailureKind
from node_agent.wire.identity import AttemptId
from node_agent.wire.node import NodeFacts
from node_agent.wire.order import Order, Workspace
from node_agent.wire.policy import NO_RULES, CallAsked, Isolation, Rules
from node_agent.wire.receipt import Blob, Enforced, RestReason, Served, TurnWords, Usage


class LinkDown(Exception):
    """Redis or the depot cannot be reached now; try again later, nothing is lost."""


class DiskFull(Exception):
    """There is no room for what must be durable; try again later."""


class StepFailed(Exception):
    """A step cannot be done, now or later; `kind` says what the attempt ends with."""

    def __init__(self, kind: FailureKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Spoken:
    """One of our events as it is kept: its number and its text, which is signed when it is sent."""

    seq: int
    text: str


class JournalPort(Protocol):
    """The node's durable memory: one entry per attempt, and the node's own state.

    What a writing call wrote is on disk when it returns, and wholly absent when it did not get so far.
    Every writing call may raise DiskFull, but not for marks and receipts: `accept` reserved their space.
    Calls from several threads are safe; one attempt's marks come from one thread at a time.
    """

    def accept(self, order: Order, digest: str, envelope: str, note: Note) -> JournalRecord:
        """Open an entry with its first mark: held, accepted or refused. JournalError when there is one."""

    def get(self, identity: AttemptId) -> JournalRecord | None:
        """The entry as it is now. From memory."""

    def entries(self) -> list[JournalRecord]:
        """All entries, oldest first. From memory."""

    def live(self) -> list[JournalRecord]:
        """Entries that still need something of this node, oldest first. From memory."""

    def top_fence(self, run: str) -> int:
        """The highest fence of a run that is or was in the journal since this start; 0 for none."""

    def order(self, identity: AttemptId) -> Order:
        """The accepted order, its signature checked. KeyError for an unknown attempt, ValueError for none."""

    def write(self, identity: AttemptId, note: Note) -> JournalRecord:
        """Add to the entry. JournalError for a mark that does not go forward. What is lazy is durable with
        the next record that is not, by `settle`, or before an event is told."""

    def settle(self, identity: AttemptId | None = None) -> None:
        """Make all that was written of this attempt, or of every one, outlive a power cut."""

    def seal(self, identity: AttemptId, envelope: str, digest: str, previous: str | None) -> bool:
        """Keep and mark the receipt, the next of this node's chain; False if `previous` is not the last."""

    def last_receipt(self) -> str | None:
        """Digest of the newest receipt of this node."""

    def receipt(self, identity: AttemptId) -> str | None:
        """The sealed envelope."""

    def events(self, identity: AttemptId, above: int) -> list[Spoken]:
        """Its events with a number above, in order."""

    def folder(self, identity: AttemptId) -> Path:
        """The folder of the attempt's plans, records and outputs; exists while the entry does."""

    def drop(self, identity: AttemptId, files: tuple[str, ...]) -> None:
        """Outputs in its folder that nobody will ask for again hold nothing any more. Absent: no effect."""

    def node(self) -> JournalState:
        """The node's own state. From memory."""

    def set_node(self, state: JournalState) -> None:
        """Replace it, whole or not at all. Which control messages were seen may be forgotten by a crash."""

    def kept_node(self) -> JournalState:
        """The node's own state as it lies on disk, and so outlives a crash: all of it, if there is room."""

    def forget(self, identity: AttemptId) -> None:
        """Remove an entry with all its files. Unknown: no effect."""

    def lost(self) -> tuple[str, ...]:
        """Attempts (as spelled) whose entry cannot be read: whatever still runs of them must be swept."""

    def troubles(self) -> tuple[str, ...]:
        """Damaged records, in words for a person."""


@dataclass(frozen=True, slots=True)
class Activity:
    """What a phase at work has done so far. Times are those of the wall clock; 0: not known.

    `cpu_ms`: the CPU time of its processes; `wrote_ms`, `changed_ms`: when an output and a file of the folder
    where it works were changed last.
    """

    cpu_ms: int = 0
    wrote_ms: int = 0
    changed_ms: int = 0


class RunnerPort(Protocol):
    """Shims: one per folder, started at most once whatever is called how often. Raises RunnerError."""

    def prepare(self, folder: Path, plan: PhasePlan, stdin: bytes = b"") -> None:
        """Write the plan, and `stdin` where its steps read; reserve the space of its records."""

    def planned(self, folder: Path) -> PhasePlan | None:
        """The plan that `prepare` wrote; None when there is none."""

    def discard(self, folder: Path) -> None:
        """Removes the prepared plan and an old stop; RunnerError where anything was started."""

    def forget(self, folder: Path) -> None:
        """Take the values of the plan's environment off the disk; nothing starts from it again."""

    def amend(self, folder: Path, plan: PhasePlan) -> None:
        """Another plan in the place of a prepared one, before its start. Idempotent."""

    def start(self, folder: Path, plan: PhasePlan) -> None:
        """Returns once a shim has taken the folder, now or earlier."""

    def look(self, folder: Path) -> Look:
        """The state of the phase."""

    def wait(self, folder: Path, timeout_s: float) -> Look:
        """Like `look`, once it is over or the time is."""

    def stop(self, folder: Path, reason: str) -> None:
        """Ask for its end; before the start: nothing will be executed. The first reason stands."""

    def sweep(self, marker: str) -> int:
        """Kill what is left of an attempt whose shim is gone; how many."""

    def lived(self, folder: Path, outputs: tuple[Path, ...], seen_wall_ms: int) -> int:
        """Milliseconds by wall clocks to its last sign of life: a write to one of these, or when seen."""

    def activity(self, folder: Path, outputs: tuple[Path, ...]) -> Activity:
        """What can be seen now of the phase at work."""

    def tail(self, path: Path, offset: int, limit: int) -> bytes:
        """Up to `limit` bytes of an output from `offset`, if negative from its end; empty: there is none."""

    def keep(self, path: Path, data: bytes) -> None:
        """Write an output of our own, whole. Idempotent."""


@dataclass(frozen=True, slots=True)
class CommitStamp:
    """Message and date (milliseconds of Unix time) of a result commit: same files and stamp, same id."""

    message: str
    date_ms: int


@dataclass(frozen=True, slots=True)
class AttemptResult:
    """The result of an attempt. `commit`: None for `none` and `empty`. `changes`: all commits on the way."""

    kind: Literal["change", "no_change", "empty", "none"]
    commit: str | None = None
    files_changed: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    changes: tuple[FileChange, ...] = ()


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
        """The folder for the agent: the snapshot checked out, or empty. Repeatable before it starts."""

    def home(self, identity: AttemptId, files: Mapping[str, bytes], keep: bool = False) -> Path:
        """A home of its own, outside the checkout, with these files (relative names). `keep`: for `renew`,
        and a sandbox shows them read-only."""

    def renew(self, identity: AttemptId) -> None:
        """After set-up: restore the kept files of `home`, and remove everything else in their folders. Lent
        files are restored, too. Only while no process of the attempt lives. Idempotent."""

    def lend(self, identity: AttemptId, files: Mapping[str, bytes], later: bool) -> None:
        """Files of the home for the agent alone, now or, if `later`, with `renew`. Before anything ran."""

    def take_back(self, identity: AttemptId) -> None:
        """Remove what was lent, and its topmost folders. Only while no process lives. Idempotent."""

    def guide(self, identity: AttemptId, workspace: Workspace) -> Guide | None:
        """The repository's instructions to agents, read before anything of the run ran; None without any."""

    def put_back(self, order: Order, log: Path, env: Mapping[str, str]) -> PutBack:
        """Copy what an earlier set-up left, log it; or leave nothing. Before anything ran; repeatable."""

    def absent(self, order: Order, path: str) -> tuple[str, ...]:
        """Programs of gates that are nowhere: not along `path` (PATH), nor in what set-up made."""

    def keep(self, order: Order, key: str) -> tuple[str, ...]:
        """Keep copies of set-up's folders for later attempts; () when kept, else why not, for a person.
        After a set-up that ended well, while no process of the attempt lives. Raises nothing."""

    def trim(self, now_ms: int) -> None:
        """Let go of what was kept and not used for long, and of what crashes left. `now_ms`: wall clock."""

    def repository(self, identity: AttemptId, workspace: Workspace) -> tuple[Path, ...]:
        """Paths of the checkout that nothing inside a sandbox may write; () without a repository."""

    def hand_over(self, identity: AttemptId, workspace: Workspace, owner: int) -> None:
        """Make that user the owner of all that the agent works with. Only before anything of it ran."""

    def tell(self, identity: AttemptId, name: str, text: str) -> None:
        """Lay a sealed file of what people say where a program of ours looks. The same again: no effect."""

    def lay_board(self, identity: AttemptId, files: Mapping[str, bytes]) -> None:
        """The board of its workflow as files, before anything of the attempt runs. Idempotent."""

    def take_tools(self, identity: AttemptId, workspace: Workspace) -> Mapping[str, dict[str, bytes] | str]:
        """The tools that it proposes, by name: their files, or why they cannot be had. Idempotent: they are
        moved away once."""

    def take_board(self, identity: AttemptId, workspace: Workspace) -> dict[str, bytes]:
        """`NAMESPACE/KEY` and bytes, taken out of the files. As `question`."""

    def question(self, identity: AttemptId, workspace: Workspace) -> bytes | None:
        """The agent's question to a person, taken out of the files. Before `commit`, no process alive."""

    def clear_reports(self, identity: AttemptId, files: tuple[str, ...]) -> None:
        """Remove what lies where gates are to write reports. While no process lives. Idempotent."""

    def read_reports(self, identity: AttemptId, files: tuple[str, ...]) -> tuple[str, dict[str, bytes]]:
        """The checkout, and each plain file by name, a little more of it than may be read."""

    def baseline(self, identity: AttemptId, workspace: Workspace) -> str:
        """Take down how set-up left the files, and name that. Only while no process of the attempt lives."""

    def commit(
        self, identity: AttemptId, workspace: Workspace, stamp: CommitStamp, baseline: str | None = None
    ) -> AttemptResult:
        """The result, rebuilt from the files. Only while no process of the attempt lives.
        With a baseline, a file that is as set-up left it counts as it is in the snapshot."""

    def exposed(
        self,
        identity: AttemptId,
        workspace: Workspace,
        commit: str,
        hidden: Mapping[str, str],
        on_the_way: bool = False,
    ) -> tuple[tuple[str, str], ...]:
        """(name, file) of values by name that the result has and the snapshot's own file has not.

        `on_the_way`: that a commit between them has, and the file before that commit has not.
        """

    def changed_since(self, identity: AttemptId, commit: str, baseline: str | None = None) -> tuple[str, ...]:
        """Files that differ from that commit, but for those that are as set-up left them."""

    def push(self, identity: AttemptId, workspace: Workspace, commit: str) -> None:
        """Deliver the commit to the attempt's own ref."""

    def salvage(
        self, identity: AttemptId, workspace: Workspace, stamp: CommitStamp, baseline: str | None = None
    ) -> tuple[str, ...]:
        """Keep what lies there, without delivering it; says where, for a person."""

    def remove(self, identity: AttemptId, workspace: Workspace) -> None:
        """Take checkout and home away. Idempotent."""

    def forget(self, identity: AttemptId, workspace: Workspace) -> None:
        """Let go of what `salvage` kept. Idempotent."""

    def list(self) -> tuple[AttemptId, ...]:
        """Attempts that still have files."""


class DepotLink(Protocol):
    """Bulk that is not git: logs. Raises LinkDown or StepFailed(DEPOT)."""

    def upload(self, identity: AttemptId, name: str, path: Path) -> Blob:
        """Everything of that file that is not there yet; its size and digest when all of it is."""

    def follow(self, identity: AttemptId, name: str, path: Path, stays: bool = False) -> None:
        """The new bytes of a file that still grows. `stays`: more comes soon, the way there stays open."""

    def close_others(self, live: Collection[AttemptId]) -> None:
        """Close the ways that stayed open for attempts that are not among these. It raises nothing."""


@dataclass(frozen=True, slots=True)
class Launch(ProcessSpec):
    """The process of the agent's program, and what a receipt says of it. `prompt`: its instructions."""

    enforced: tuple[Enforced, ...] = ()
    version: str | None = None
    served: Served | None = None
    prompt: str = ""
    isolation: Isolation = Isolation.NONE
    owner: int | None = None
    """The user whom the files of the attempt must belong to inside; None: as they are."""
    unset: tuple[str, ...] = ()
    """Variables that the order allows and that have no value on the node."""

    @property
    def inside(self) -> bool:
        """Every phase of the attempt goes behind a wall, by `enclosed`."""
        return self.isolation is not Isolation.NONE


LaidWordsOf = Callable[[int], TurnWords | None]
"""A person's words by their number, as this node has laid them; 0: the task of a sitting."""
NOTHING_LAID: LaidWordsOf = dict[int, TurnWords]().get


@dataclass(frozen=True, slots=True)
class ReportedTurn:
    """A turn of a sitting as the runtime reports it. `end` None: it is at work."""

    number: int
    words: tuple[TurnWords, ...]
    began_wall_ms: int
    end: TurnEnded | None = None


@dataclass(frozen=True, slots=True)
class ReportedUsage:
    """The runtime's usage so far, calls by action class; and forbidden calls that it let through."""

    usage: Usage = Usage()
    tool_calls: Mapping[str, int] = field(default_factory=dict)
    broken: Offences = NOTHING_BROKEN
    heard: tuple[int, ...] = ()
    """The numbers of a person's words that its agent was given."""
    turns: tuple[ReportedTurn, ...] = ()
    """The turns of a sitting, in order: only the last one can be at work."""
    rests: RestReason | None = None
    fleet: tuple[FleetCalled, ...] = ()
    """The calls of tools of the fleet that wait for an answer."""

    @property
    def calls(self) -> int:
        return sum(self.tool_calls.values())


@dataclass(frozen=True, slots=True)
class ReportedEnd:
    """The end that a runtime's own output reports; `failure` None: it did the work."""

    failure: FailureKind | None
    reason: str
    answer: str = ""
    session: str | None = None
    model: str | None = None
    spent: ReportedUsage = ReportedUsage()
    findings: tuple[str, ...] = ()
    resets: LimitReset | None = None
    """When the limit ends that its login has met; None: it did not say."""


class OutputReader(Protocol):
    """Reads a runtime's output, from its first byte, in pieces of any size. Pure."""

    def feed(self, chunk: bytes) -> None:
        """The next bytes."""

    def spent(self) -> ReportedUsage:
        """The usage so far."""

    def finish(self, end: ExitInfo) -> ReportedEnd:
        """The end as the runtime reports it, after the last byte of output."""


class Runtimes(Protocol):
    """The programs that run agents. Pure; StepFailed(RUNTIME_MISSING) for one that is not there."""

    def launch(
        self, order: Order, work: Path, home: Path, guide: str = "", door: GatewayAccess | None = None
    ) -> Launch:
        """The command to start it. `guide`: the repository's instructions; `door`: of its model gateway."""

    def reader(
        self, order: Order, bounds: Bounds = NO_BOUNDS, laid: LaidWordsOf = NOTHING_LAID
    ) -> OutputReader:
        """A fresh reader of its output. `laid`: what it may tell of people's words."""

    def hidden(self, order: Order) -> Mapping[str, str]:
        """The values, by name, that must not leave the node in any text of this attempt."""

    def enclosed(
        self,
        order: Order,
        plan: PhasePlan,
        shown: tuple[Path, ...],
        door: GatewayAccess | None,
        rules: Rules = NO_RULES,
    ) -> PhasePlan:
        """The phase inside the sandbox; one inside already gets another. StepFailed(SANDBOX) without one.
        `shown` is there to read. `rules`: of the node's owner; what they cover is looked for now."""


class MachineFacts(Protocol):
    """The machine. Never raises; what cannot be found out is a problem in the answer."""

    def boot_id(self) -> str:
        """Changes at each start of the machine."""

    def look(self) -> NodeFacts:
        """The machine and its runtimes as they are now; what is not known yet of a runtime is `looking`."""

    def news(self) -> bool:
        """Check whether a runtime has been found out about since the last look."""

    def disk_ok(self) -> bool:
        """Check whether there is more free disk than the reserve."""

    def ceiling(self) -> Ceiling:
        """The limits of the node's owner, as the file says now."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """An order as it came out of the queue: not believed before its signature was checked."""

    job: str
    """RQ job id."""
    envelope: bytes


@dataclass(frozen=True, slots=True)
class Sent:
    """A control message as found in the down stream."""

    entry: str
    data: bytes


@dataclass(frozen=True, slots=True)
class News:
    """The coordinator's newest beat, its control messages, and an order if one was asked for and there."""

    beat: bytes | None
    controls: list[Sent]
    claimed: Claimed | None = None


class Uplink(Protocol):
    """Redis as a node sees it, through its own tunnel. Never blocks longer than its socket timeout (10 s).

    Every method raises `ports.LinkDown` while Redis cannot be used; every write is idempotent.
    """

    def claim(self) -> Claimed | None:
        """Take the next order out of this node's queue and mark its job started, in one step."""

    def settle_job(self, job: str, ok: bool, reason: str) -> None:
        """The job is `finished` or `failed` in RQ's own registries. Unknown job: no effect."""

    def send(self, *envelopes: str) -> None:
        """Append events, receipts or inventories to the up stream, in this order, and hint once.

        After a LinkDown some of them may have arrived, never a later one without those before it.
        """

    def set_heartbeat(self, envelope: str) -> None:
        """Replace this node's heartbeat; also RQ's own worker registration, so that its tools show us."""

    def news(self, after: str, claim: bool = False) -> News:
        """The news for this node, in one round trip.

        Control messages: those behind that stream entry (`0` for all that are there), oldest first.
        `claim`: also an order, as `claim` does it, and after all else.
        """

    def hinted(self, wait_ms: int) -> bool:
        """Waits for a hint or the time, whichever is first; True for a hint. Never raises LinkDown."""


class NotYet(Exception):
    """Something lies where the attempt must work; try again later, nothing is lost."""


class Sessions(Protocol):
    """The kept sessions of programs. Every call may be repeated after a crash in it."""

    def keep(self, order: Order, session: str | None, used: Usage) -> str:
        """Keep what the attempt's program remembers, with what this run alone has used; in words why not, or
        what gave way to it.

        Only while no process of the attempt lives. Raises nothing.
        """

    def go_on(self, order: Order) -> None:
        """Give the attempt the place of the run that it goes on with. Before anything of it lies there.

        NotYet while that is taken; StepFailed(CANNOT_START) where the session is not kept, but for a sitting:
        its order has the story.
        """

    def put_back(self, order: Order) -> None:
        """The session's files in the attempt's home. Before the agent was started. StepFailed."""

    def trim(self, now_ms: int) -> None:
        """Let go of what was not asked for in a long time. `now_ms`: wall clock. Idempotent."""


class CallsPort(Protocol):
    """The questions that lie in a run's home, and the answers beside them."""

    def open(self, identity: AttemptId) -> tuple[CallAsked, ...]:
        """Questions without an answer, as any program of the run may have written them. Raises nothing."""

    def answers(self, identity: AttemptId) -> tuple[bytes, ...]:
        """Answers that lie there, as any program of the run may have written them. Raises nothing."""

    def answer(self, identity: AttemptId, call: str, data: bytes) -> None:
        """Lay the answer; the same once more has no effect. StepFailed, DiskFull."""

    def patience(self, phase: Path, waits: bool) -> None:
        """Whether the phase's idle limit waits for a person. Idempotent. Raises nothing."""
