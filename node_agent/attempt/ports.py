"""The ports of the job procedure, as protocols. Every call is synchronous. A node may crash between or during
calls, so each call is atomic or can be repeated."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from node_agent.attempt.accept import Ceiling
from node_agent.attempt.gateways import GatewayAccess
from node_agent.attempt.records import PutBack
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
    """Redis or the depot cannot be reached now. The call can be repeated later; nothing is lost."""


class DiskFull(Exception):
    """The disk has no space for a durable record. The call can be repeated later."""


class StepFailed(Exception):
    """A step cannot be done, now or later; `kind` is the failure kind with which the attempt ends."""

    def __init__(self, kind: FailureKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Spoken:
    """An event of this node as stored in the journal: its number and its text, which is signed when sent."""

    seq: int
    text: str


@dataclass(frozen=True, slots=True)
class Activity:
    """The activity of a running phase so far. Times are wall clock milliseconds; 0: not known.

    `cpu_ms`: CPU time of its processes; `wrote_ms`, `changed_ms`: time of the last change of an output, and
    of a file in its folder.
    """

    cpu_ms: int = 0
    wrote_ms: int = 0
    changed_ms: int = 0


class RunnerPort(Protocol):
    """The shims: one per folder, started at most once, even if `start` is repeated. Raises RunnerError."""

    def prepare(self, folder: Path, plan: PhasePlan, stdin: bytes = b"") -> None:
        """Write the plan, and `stdin` for its steps to read; reserve the space for the phase's records."""

    def planned(self, folder: Path) -> PhasePlan | None:
        """Return the plan that `prepare` wrote to the folder; None if there is none."""

    def discard(self, folder: Path) -> None:
        """Remove the prepared plan and an old stop request; RunnerError if the phase was started."""

    def forget(self, folder: Path) -> None:
        """Remove the phase's plan and records from the disk. The phase cannot be started again."""

    def amend(self, folder: Path, plan: PhasePlan) -> None:
        """Replace a prepared plan before its start. Idempotent."""

    def start(self, folder: Path, plan: PhasePlan) -> None:
        """Start the phase; return when a shim owns the folder, whether from this call or an earlier one."""

    def look(self, folder: Path) -> Look:
        """Return the state of the phase."""

    def wait(self, folder: Path, timeout_s: float, wake: int | None = None) -> Look:
        """Return the state of the phase when the phase is over, after the timeout, or when the descriptor
        `wake` is readable."""

    def stop(self, folder: Path, reason: str) -> None:
        """Request that the phase end; if it has not started, nothing runs. The first reason is kept."""

    def sweep(self, marker: str) -> int:
        """Kill the remaining processes of an attempt whose shim has ended; return their number."""

    def end_leftovers(self, markers: Collection[str]) -> dict[str, int]:
        """Kill the running processes of these attempts, which have ended; return the number for each."""

    def lived(self, folder: Path, outputs: tuple[Path, ...], seen_wall_ms: int) -> int:
        """Return how many ms the phase ran by the wall clock, until its last output or `seen_wall_ms`."""

    def activity(self, folder: Path, outputs: tuple[Path, ...]) -> Activity:
        """Return the present activity of the running phase."""

    def tail(self, path: Path, offset: int, limit: int) -> bytes:
        """Return up to `limit` bytes of an output from `offset` (negative: from the end); b'' if none."""

    def keep(self, path: Path, data: bytes) -> None:
        """Write a complete output that the node agent itself made. Idempotent."""


@dataclass(frozen=True, slots=True)
class CommitStamp:
    """Message and date (Unix time in ms) of a result commit: the same files and stamp give the same id."""

    message: str
    date_ms: int


@dataclass(frozen=True, slots=True)
class AttemptResult:
    """The result of an attempt. `commit`: None for kinds `none` and `empty`. `changes`: of all its commits.
    `missing`: descriptions of the agent's files that the result lacks although git does not ignore them."""

    kind: Literal["change", "no_change", "empty", "none"]
    commit: str | None = None
    files_changed: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    changes: tuple[FileChange, ...] = ()
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Guide:
    """The repository's instructions to agents, and findings if they were truncated or unreadable."""

    text: str
    findings: tuple[str, ...] = ()


class WorkspacesPort(Protocol):
    """The files of attempts; all calls are repeatable. LinkDown, StepFailed (WORKSPACE, DISK_FULL, DEPOT)."""

    def fetch(self, identity: AttemptId, workspace: Workspace) -> None:
        """Fetch the snapshot to this node, so that `prepare` needs no link. Idempotent; thread-safe."""

    def prepare(self, identity: AttemptId, workspace: Workspace) -> Path:
        """Create the agent's folder: empty, or the snapshot's checkout. Repeatable until the agent starts."""

    def home(self, identity: AttemptId, files: Mapping[str, bytes], keep: bool = False) -> Path:
        """Create the attempt's home, outside the checkout, with these files (relative names). `keep`: `renew`
        restores these files, and they are read-only in a sandbox."""

    def reserve_ports(
        self, identity: AttemptId, count: int, list_live: Callable[[], Collection[str]]
    ) -> tuple[int, ...]:
        """Return free TCP ports, which no other attempt of this node gets while `list_live` names this one.
        Idempotent. StepFailed if fewer are free."""

    def renew(self, identity: AttemptId) -> None:
        """After set-up, restore the `home` files with `keep` and the lent files, and remove all else in their
        folders. Only while no process of the attempt runs. Idempotent."""

    def lend(self, identity: AttemptId, files: Mapping[str, bytes], later: bool) -> None:
        """Put files for the agent alone into the home: now or, if `later`, in `renew`. Before any process."""

    def take_back(self, identity: AttemptId) -> None:
        """Remove the lent files and their topmost folders. Only while no process runs. Idempotent."""

    def guide(self, identity: AttemptId, workspace: Workspace) -> Guide | None:
        """Return the repository's instructions to agents; None without any. Call before the first process."""

    def put_back(self, job: Job, log: Path, env: Mapping[str, str]) -> PutBack:
        """Restore and log an earlier set-up's folders, or create none. Before any process; repeatable."""

    def absent(self, job: Job, path: str) -> tuple[str, ...]:
        """Return the programs of gates and score command that do not exist. `path`: the run's PATH."""

    def keep(self, job: Job, key: str) -> tuple[str, ...]:
        """Store copies of set-up's folders for later attempts; return reasons, for a user, why some were not
        stored. After a successful set-up, while no process of the attempt runs. Raises nothing."""

    def trim(self, now_ms: int) -> None:
        """Delete stored folders that were long unused, and leftovers of crashes. `now_ms`: wall clock."""

    def repository(self, identity: AttemptId, workspace: Workspace) -> tuple[Path, ...]:
        """Return the checkout's paths that no sandboxed process may write; () without a repository."""

    def hand_over(self, identity: AttemptId, workspace: Workspace, owner: int) -> None:
        """Make `owner` (a user id) own all files that the agent works with. Before any process has run."""

    def tell(self, identity: AttemptId, name: str, text: str) -> None:
        """Write a sealed file with users' messages where the attempt's program reads it. Idempotent."""

    def lay_copied(
        self, identity: AttemptId, workspace: Workspace, files: Mapping[str, bytes]
    ) -> tuple[str, ...]:
        """Write copies of the owner's ignored files into the checkout, before any process of the attempt; no
        result has them. Return findings about files that git tracks, which are not written. StepFailed if a
        link is in a file's path. Idempotent."""

    def take_tools(self, identity: AttemptId, workspace: Workspace) -> Mapping[str, dict[str, bytes] | str]:
        """Return the proposed tools by name: their files, or the reason why they cannot be read. Moves the
        files out of the checkout. Idempotent."""

    def question(self, identity: AttemptId, workspace: Workspace) -> bytes | None:
        """Return the agent's question to a user and remove its file; None: no file. Call before `commit`."""

    def set_apart(
        self, job: Job, commit: str, copied: Mapping[str, bytes], log: Path, env: Mapping[str, str]
    ) -> PutBack:
        """Keep the agent's files aside; make at their path what a run that begins at `commit`, the result,
        finds: checkout, home, copied files, and set-up's stored folders for that commit, as `put_back`. Only
        while no process of the attempt runs. Repeatable until the gates start."""

    def bring_back(self, identity: AttemptId) -> None:
        """Undo `set_apart`; what the gates left is removed. Only while no process runs. Idempotent."""

    def beside(self, identity: AttemptId, commit: str) -> tuple[str, ...]:
        """Return what the agent left outside of the result `commit`, in its checkout and as `~/...` in its
        home, and the place of `set_apart` lacks; only the topmost names. Only after `set_apart`."""

    def clear_reports(self, identity: AttemptId, files: tuple[str, ...]) -> None:
        """Remove existing files where gates write their reports. Only while no process runs. Idempotent."""

    def read_reports(self, identity: AttemptId, files: tuple[str, ...]) -> tuple[str, dict[str, bytes]]:
        """Return the checkout's path, and regular files' content by name, cut one byte over the limit."""

    def baseline(self, identity: AttemptId, workspace: Workspace) -> str:
        """Record the files as set-up left them; return the name of the record. Only while no process runs."""

    def commit(
        self, identity: AttemptId, workspace: Workspace, stamp: CommitStamp, baseline: str | None = None
    ) -> AttemptResult:
        """Create the result commit from the files. Only while no process of the attempt runs. With a
        baseline, a file that is still as set-up left it counts as unchanged from the snapshot."""

    def exposed(
        self,
        identity: AttemptId,
        workspace: Workspace,
        commit: str,
        hidden: Mapping[str, str],
        on_the_way: bool = False,
    ) -> tuple[tuple[str, str], ...]:
        """Return (name, file) for each `hidden` value in a file of the result that the snapshot's file lacks.
        `on_the_way`: search intermediate commits instead, comparing each with the commit before it."""

    def changed_since(self, identity: AttemptId, commit: str, baseline: str | None = None) -> tuple[str, ...]:
        """Return the files that differ from this commit, except those that are as set-up left them."""

    def push(self, identity: AttemptId, workspace: Workspace, commit: str) -> None:
        """Push the commit to the attempt's own ref."""

    def salvage(
        self, identity: AttemptId, workspace: Workspace, stamp: CommitStamp, baseline: str | None = None
    ) -> tuple[str, ...]:
        """Store the attempt's files on this node without delivering them; return their paths, for a user."""

    def remove(self, identity: AttemptId, workspace: Workspace) -> None:
        """Remove the attempt's checkout and home. Idempotent."""

    def keep_result(self, identity: AttemptId) -> None:
        """Keep the attempt's commit after `remove`, so that `push` can send it again. Idempotent."""

    def has_result(self, identity: AttemptId) -> bool:
        """Whether `keep_result` was called for the attempt, and `drop_result` was not."""

    def list_results(self, before_ms: int) -> tuple[AttemptId, ...]:
        """Return the attempts whose results were kept before this time, by the wall clock."""

    def drop_result(self, identity: AttemptId) -> None:
        """Delete what `keep_result` kept. Idempotent."""

    def put_aside(self, identity: AttemptId) -> None:
        """Move the attempt's whole folder to `place_aside`, until `forget`. Idempotent."""

    def place_aside(self, identity: AttemptId) -> str:
        """Return the folder in which `put_aside` stores the attempt's files."""

    def forget(self, identity: AttemptId, workspace: Workspace) -> None:
        """Delete the files that `salvage` stored. Idempotent."""

    def list(self) -> tuple[AttemptId, ...]:
        """Return the attempts that still have files."""

    def taken_places(self) -> frozenset[str]:
        """Return the earlier attempts whose folders attempts use now, since they continue their sessions."""


class DepotLink(Protocol):
    """Sends the data that is not in git: logs. Raises LinkDown or StepFailed(DEPOT)."""

    def upload(self, identity: AttemptId, name: str, path: Path) -> Blob:
        """Send the bytes of the file that the depot lacks; return size and digest when it has all of them."""

    def follow(self, identity: AttemptId, name: str, path: Path, stays: bool = False) -> None:
        """Send the new bytes of a growing file. `stays`: more follows soon, so keep the connection open."""

    def close_others(self, live: Collection[AttemptId]) -> None:
        """Close the connections that are open for attempts other than these. Raises nothing."""


@dataclass(frozen=True, slots=True)
class Launch(ProcessSpec):
    """The command that starts the agent, with facts for the receipt. `prompt`: the agent's instructions."""

    enforced: tuple[Enforced, ...] = ()
    version: str | None = None
    served: Served | None = None
    prompt: str = ""
    isolation: Isolation = Isolation.NONE
    owner: int | None = None
    """The user who must own the attempt's files inside a sandbox; None: the owner stays as it is."""
    unset: tuple[str, ...] = ()
    """Variables that the job allows but that have no value on the node."""

    @property
    def inside(self) -> bool:
        """Whether every phase of the attempt runs in a sandbox, through `enclose`."""
        return self.isolation is not Isolation.NONE


LaidMessageOf = Callable[[int], TurnMessage | None]
"""Returns a user's message by number, as this node has written it; 0: the task of an interactive run."""
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
    """The runtime's usage so far, its calls by action class, and forbidden calls that it allowed."""

    usage: Usage = Usage()
    tool_calls: Mapping[str, int] = field(default_factory=dict)
    broken: Offences = NOTHING_BROKEN
    heard: tuple[int, ...] = ()
    """The numbers of the users' messages that the agent was given."""
    turns: tuple[ReportedTurn, ...] = ()
    """The turns of an interactive run, in order; only the last one can be without an end."""
    rests: SuspendReason | None = None
    fleet: tuple[FleetCalled, ...] = ()
    """The calls of fleet tools that wait for an answer."""

    @property
    def calls(self) -> int:
        return sum(self.tool_calls.values())


@dataclass(frozen=True, slots=True)
class ReportedEnd:
    """The end that a runtime reports in its output. `failure` None: the agent did the work."""

    failure: FailureKind | None
    reason: str
    answer: str = ""
    session: str | None = None
    model: str | None = None
    spent: ReportedUsage = ReportedUsage()
    findings: tuple[str, ...] = ()
    resets: LimitReset | None = None
    """When the exhausted usage limit of the login resets; None: the runtime did not report it."""


class OutputReader(Protocol):
    """Reads a runtime's output from the first byte, in chunks of any size. Pure."""

    def feed(self, chunk: bytes) -> None:
        """Read the next bytes."""

    def spent(self) -> ReportedUsage:
        """Return the usage so far."""

    def finish(self, end: ExitInfo) -> ReportedEnd:
        """Return the end as the runtime reports it, after the last byte of output."""


class Runtimes(Protocol):
    """The programs that run agents. Pure; StepFailed(RUNTIME_MISSING) for a program that is not found."""

    def launch(
        self, job: Job, work: Path, home: Path, guide: str = "", entry: GatewayAccess | None = None
    ) -> Launch:
        """Return how to start the agent. `guide`: the repository's instructions; `entry`: the gateway's."""

    def reader(
        self, job: Job, bounds: Bounds = NO_BOUNDS, laid: LaidMessageOf = NOTHING_LAID
    ) -> OutputReader:
        """Return a new reader of the runtime's output. `laid`: the users' messages that it may report."""

    def open_copied(self, job: Job) -> Mapping[str, bytes]:
        """Return the job's copies of ignored files by path. StepFailed if this node cannot open them."""

    def hidden(self, job: Job) -> Mapping[str, str]:
        """Return the secret values, by name, that must not leave the node in any text of this attempt."""

    def enclose(
        self,
        job: Job,
        plan: PhasePlan,
        shown: tuple[Path, ...],
        entry: GatewayAccess | None,
        rules: Rules = NO_RULES,
    ) -> PhasePlan:
        """Put the phase, even a sandboxed one, into a new sandbox. StepFailed(SANDBOX) if there is none.
        `shown`: paths readable inside. `rules`: the node owner's, applied to the files that exist now."""


class MachineFacts(Protocol):
    """The facts of this node's computer. Never raises; a fact that cannot be determined becomes a problem."""

    def boot_id(self) -> str:
        """Return the boot's id, which changes at each start of the computer."""

    def look(self) -> NodeFacts:
        """Return the present facts of the node and its runtimes; a runtime not checked yet is `looking`."""

    def news(self) -> bool:
        """Whether the facts of a runtime became known since the last `look`."""

    def gpu_loads(self) -> tuple[GpuLoad, ...]:
        """Return the changing figures of the node's GPUs, without the processes that use them. Quick."""

    def disk_ok(self) -> bool:
        """Whether the free disk space exceeds the reserve."""

    def ceiling(self) -> Ceiling:
        """Return the current limits of the node's owner, read from the file at each call."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A job as read from the queue; its signature is not checked yet."""

    rq_job: str
    """RQ job id."""
    envelope: bytes


@dataclass(frozen=True, slots=True)
class Sent:
    """A control message as read from the down stream."""

    entry: str
    data: bytes


@dataclass(frozen=True, slots=True)
class News:
    """The coordinator's newest heartbeat, its control messages, and a job if one was requested and waits."""

    heartbeat: bytes | None
    controls: list[Sent]
    claimed: Claimed | None = None


class Uplink(Protocol):
    """Redis as seen by a node, through its own tunnel. Never blocks longer than its socket timeout (10 s).
    Every method raises `ports.LinkDown` while Redis cannot be used; every write is idempotent."""

    def claim(self) -> Claimed | None:
        """Take the next job from this node's queue and mark its RQ job as started, in one step."""

    def settle_job(self, job: str, ok: bool, reason: str) -> None:
        """Move the RQ job to RQ's registry of `finished` or `failed` jobs. Unknown job: no effect."""

    def send(self, *envelopes: str) -> None:
        """Append events, receipts or inventories to the up stream, in this order, and send one hint. After
        LinkDown, the first few of them may have arrived."""

    def set_heartbeat(self, envelope: str, profile: str = "") -> None:
        """Replace this node's heartbeat and its RQ worker registration, which RQ's own tools show, and unless
        it is empty the profile that the heartbeat names."""

    def news(self, after: str, claim: bool = False) -> News:
        """Return the news for this node, in one round trip. Control messages: those after this stream entry
        (`0`: all), oldest first; a later entry than any in the stream counts as `0` on a new connection and
        each half minute, as Redis may have lost its data. `claim`: also take a job, as the method does, after
        everything else."""

    def wait_for_hint(self, wait_ms: int) -> bool:
        """Wait for a hint, at most this long; return whether a hint came. Never raises LinkDown."""


class NotYet(Exception):
    """Another attempt's files still occupy the place that is needed. The call can be repeated later."""


class Sessions(Protocol):
    """The stored sessions of agent programs. Every call may be repeated if it was interrupted by a crash."""

    def keep(self, job: Job, session: str | None, used: Usage) -> str:
        """Store the session of the attempt's program, with the usage of this run alone. Return, as text, why
        it was not stored, or which sessions were deleted to make space.

        Only while no process of the attempt runs. Raises nothing.
        """

    def has(self, job: Job, session: str | None) -> bool:
        """Whether this session of the job's run is stored. Raises nothing."""

    def go_on(self, job: Job) -> None:
        """Give the attempt the folder of the run that the job continues, before the attempt has any file
        there.

        NotYet while that folder is in use. StepFailed(CANNOT_START) if the session is not stored, except for
        an interactive run, whose job contains the timeline.
        """

    def put_back(self, job: Job) -> None:
        """Restore the stored session's files in the attempt's home, before the agent starts. StepFailed."""

    def trim(self, now_ms: int) -> None:
        """Delete the sessions that were long unused. `now_ms`: wall clock. Idempotent."""


class CallsPort(Protocol):
    """The approval questions about calls in the homes of runs, and the answers to these questions."""

    def open(self, identity: AttemptId) -> tuple[CallAsked, ...]:
        """Return unanswered questions; any program of the run may have written them. Raises nothing."""

    def folders(self, identity: AttemptId) -> tuple[Path, ...]:
        """Return the folders in which a name appears when a question is asked."""

    def answers(self, identity: AttemptId) -> tuple[bytes, ...]:
        """Return the answers; any program of the run may have written them. Raises nothing."""

    def answer(self, identity: AttemptId, call: str, data: bytes) -> None:
        """Write the answer. Idempotent. Raises StepFailed, DiskFull."""

    def patience(self, phase: Path, waits: bool) -> None:
        """Pause (`waits`) or resume the phase's idle limit while it waits. Idempotent. Raises nothing."""
