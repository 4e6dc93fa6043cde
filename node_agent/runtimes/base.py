"""The interface of every runtime: it makes a launch, and reads the output to determine a verdict.

`command.py` of a runtime turns a LaunchRequest and a Place into a Launch; `parse.py` reads the output as it
grows and reports at the end whether the agent succeeded. Neither does any IO.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Protocol

from node_agent.runtimes.logins import LimitReset
from node_agent.wire.endpoint import Sampling
from node_agent.wire.failure import FAILURES, FailureKind, Outcome
from node_agent.wire.fleet import FleetTerms
from node_agent.wire.identity import ApprovalChannel, LaidMessage
from node_agent.wire.job import Limits, Reasoning, TurnTerms
from node_agent.wire.node import Flag, RuntimeFact
from node_agent.wire.policy import MODE_WRITES, ActionClass, Enforcement, Isolation, Mode, Policy, Safety
from node_agent.wire.receipt import SuspendReason, TurnStop, Usage
from node_agent.wire.skill import JobSkill

Said = tuple[int | None, str]
"""The result of a probe: exit status (None: the command could not be run) and standard output."""


def _format_command(argv: tuple[str, ...]) -> str:
    """Return the command as a user types it, quoted if a shell would expand `*`, but with an unquoted `~`."""
    return " ".join(f"'{word}'" if "*" in word else word for word in argv)


@dataclass(frozen=True, slots=True)
class Program:
    """An agent program: an npm package, or a package in a Python environment to which a link on PATH leads.

    `version`: the pattern of the output of `--version`, with the number as group 1; it also matches the
    number alone. `known`: the prefix of the versions with which the parser was measured. `login`: the advice
    without a login. `lowest`: the first version that supports all used flags (measured). `node`: the Node.js
    version that the package requires.
    """

    name: str
    package: str
    version: str
    known: str
    login: str
    lowest: str = ""
    node: int = 0
    adapts: str = ""
    """The installed program that this adapter starts, so that its package need not include one. The adapter
    starts only measured versions, because it has its own way to forward settings."""
    needs_scripts: bool = False
    """Whether the package works only after npm has run its install scripts (measured)."""
    environment: bool = False
    """Whether it is a pip package in its own environment; the link to that Python has the runtime's name."""

    @property
    def install(self) -> str:
        """Return the command that installs the program, for a user."""
        return self._by_hand("")

    def _by_hand(self, version: str) -> str:
        needs = f" (its package requires Node.js {self.node})" if self.node else ""
        return " && ".join(map(_format_command, self.installs("~", version))) + needs

    def installs(self, home: str, version: str = "") -> tuple[tuple[str, ...], ...]:
        """Return the commands that install the program in a user's home. `version`: empty for the newest
        suitable one."""
        if not self.environment:
            wanted = version or (f"{self.known}x" if self.adapts else "latest")
            alone = ("--omit=optional",) if self.adapts else ()
            quiet = () if self.needs_scripts else ("--ignore-scripts",)
            place = ("--prefix", f"{home}/.local")
            return (("npm", "install", "-g", *quiet, *alone, *place, f"{self.package}@{wanted}"),)
        at = self.environment_in(home)
        return (
            ("python3", "-m", "venv", at),
            (f"{at}/bin/pip", "install", f"{self.package}=={version or f'{self.known}*'}"),
            ("ln", "-sf", f"{at}/bin/python", f"{home}/.local/bin/{self.name}"),
        )

    def environment_in(self, home: str) -> str:
        """Return the folder of the program's Python environment, or an empty string."""
        return f"{home}/.local/share/pancode/{self.name}"

    @property
    def asks_version(self) -> tuple[str, ...]:
        """Return the argument list that makes the program print its version."""
        return self.name, "--version"

    def fact(self, output: Said, logged_in: bool) -> RuntimeFact:
        """Return the runtime's fact from the output of `--version` and the login. An unmeasured version is
        accepted with a warning."""
        status, text = output
        if status != 0:
            return RuntimeFact(name=self.name, state="missing", fix=self.install)
        found = re.match(self.version, text.strip())
        if not found:
            return RuntimeFact(name=self.name, state="unknown_version", fix=self.install)
        if bool(self.lowest) and _parse_version(found[1]) < _parse_version(self.lowest):
            words = f"{found[1]} lacks flags that exist since {self.lowest}: {self.install}"
            return RuntimeFact(name=self.name, version=found[1], state="too_old", fix=words)
        if not logged_in:
            return RuntimeFact(name=self.name, version=found[1], state="not_logged_in", fix=self.login)
        return RuntimeFact(name=self.name, version=found[1], state="ok", fix=self._format_warning(found[1]))

    def lack(self, output: Said) -> str:
        """Return what is wrong with the adapter, with the command that fixes it; empty if nothing is."""
        fact = self.fact(output, True)
        if fact.state == "ok" and not fact.fix:
            return ""
        found = f"is {fact.version}, but PanCode supports {self.known}x" if fact.version else "is missing"
        return f"{self.name} {found}: {self.install}"

    def _format_warning(self, version: str) -> str:
        if version.startswith(self.known):
            return ""
        other = self._by_hand("" if self.environment else f"{self.known}x")
        return f"PanCode was tested with {self.known}x; if runs end as infra: {other}"


def _parse_version(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)))


def any_given(names: Sequence[str]) -> tuple[str, ...]:
    """Return a command that exits with 0 if one of these variables is set, without printing any value."""
    return ("sh", "-c", f'test -n "{"".join(f"${{{name}}}" for name in names)}"')


NO_MESSAGE = LaidMessage(text="")
READ_TOOLS = ("read", "grep", "find", "ls")
TOOLS = (*READ_TOOLS, "edit", "write", "bash")
"""The tools of an agent, by PanCode's names; each program has its own names for them."""
ANSWER_CHARS = 4000
MOST_ANSWER_CHARS = 8_000_000  # the maximum size of a whole answer, which is transferred as a file
REASON_CHARS = 500
NOTHING = Usage(cost_usd=Decimal(0), cost_source="local")
"""The usage of a program that calls no model, or whose model server accepted no request."""


@dataclass(frozen=True, slots=True)
class Resume:
    """A session to continue, and the usage of all its runs before this attempt."""

    session: str
    before: Usage


@dataclass(frozen=True, slots=True)
class LaunchRequest:
    """What a job requires of a runtime. Paths are absolute paths on the node.

    `home` is an empty folder of this attempt outside the workspace; `argv` is for the runtime `shell` only.
    `folder`: where below the workspace the run begins; the run may use the whole workspace. `tools`: the
    agent's, by PanCode's names. `policy`, `sampling`: for PanCode's workers. `context`: the model's tokens,
    if known. `channel`: the folder with which users are asked.
    """

    task: str
    prompt: str
    mode: Mode
    safety: Safety
    read_only: bool
    workspace: str
    home: str
    limits: Limits
    model: str | None = None
    reasoning: Reasoning | None = None
    argv: tuple[str, ...] | None = None
    resume: Resume | None = None
    folder: str = ""
    tools: tuple[str, ...] = TOOLS
    sampling: Sampling | None = None
    policy: Policy | None = None
    context: int | None = None
    channel: ApprovalChannel | None = None
    answer: str | None = None
    """A user's answer to the previous run, for a user's own program."""
    interactive_run: TurnTerms | None = None
    fleet: FleetTerms | None = None
    """The fleet tools that the agent may call."""
    skills: tuple[JobSkill, ...] = ()
    """The run's skills, for a program that reads skills."""

    @property
    def besides(self) -> tuple[str, ...]:
        """Return the workspace, for a program that would otherwise use only the folder in which it starts."""
        return (self.workspace,) if self.folder else ()

    def has(self, *tools: str) -> bool:
        """Whether the agent may use one of these tools; whether its level allows them is checked
        elsewhere."""
        return any(tool in self.tools for tool in tools)

    def without(self, stands_for: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
        """Return the program's tools that the agent may not use, because it has none of the PanCode tools to
        which they correspond."""
        return tuple(tool for tool, ours in stands_for.items() if not self.has(*ours))

    @property
    def may_write(self) -> bool:
        """Whether this run may change files, as its mode, level and agent all must allow."""
        return may_write(self.mode, self.safety, self.read_only)


@dataclass(frozen=True, slots=True)
class Place:
    """The facts of the node on which a command line depends.

    `env`: values of the allowed variables and secrets, and nothing else of the node's environment. `package`,
    `libraries`: the node agent's code and its libraries, for PanCode's workers.
    """

    path: str
    python: str
    is_root: bool
    isolation: Isolation
    env: Mapping[str, str] = field(default_factory=dict)
    package: str = ""
    libraries: str = ""


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """A process to start. `files`: bytes by path relative to the run's home, written before the start.
    `login`: further files, which exist only while the agent runs, not during set-up or gates."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    stdin: bytes = b""
    files: Mapping[str, bytes] = field(default_factory=dict)
    login: Mapping[str, bytes] = field(default_factory=dict)


class EndedBy(StrEnum):
    """The reason why the agent's process ended: by itself, or by a limit or stop of PanCode."""

    NONE = "none"
    WALL = "wall"
    IDLE = "idle"
    OUTPUT = "output"
    MEMORY = "memory"
    PROCESSES = "processes"
    DISK = "disk"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class ExitInfo:
    """The end of the process: an exit status or a signal, or neither if unknown.

    `not_started`: the error's name (`ENOENT`, `EACCES`, ...) if no process ever started. `complaints`: the
    end of its stderr, where some programs report why their login was refused.
    """

    status: int | None = None
    signal: int | None = None
    ended_by: EndedBy = EndedBy.NONE
    not_started: str = ""
    complaints: bytes = b""


@dataclass(frozen=True, slots=True)
class SessionStarted:
    """The start of the agent; the fields are what its program reports about itself."""

    session: str | None
    model: str | None


@dataclass(frozen=True, slots=True)
class TextPiece:
    """A piece of text for a user who watches the run."""

    text: str


@dataclass(frozen=True, slots=True)
class Thought:
    """What the model has thought, for a user who watches the run."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool call by the agent; `detail` is the path or command, truncated, for users. `command`, `paths`:
    the whole command and the paths of the call, which are checked against the policy. `diff`: the removed and
    added lines of an edit, each with its sign, for users."""

    tool: str
    action: ActionClass
    detail: str = ""
    command: str = ""
    paths: tuple[str, ...] = ()
    diff: str = ""


@dataclass(frozen=True, slots=True)
class Ran:
    """The end of a call that the runtime allowed. `ok`: whether the tool succeeded; a command succeeds if it
    ran.

    `answer`: the beginning and the end of the tool's output, for users; empty if the program does not report
    it. `exit`: the exit status of a command; None if the program does not report it.
    """

    call: ToolCall
    ok: bool = True
    answer: str = ""
    exit: int | None = None


@dataclass(frozen=True, slots=True)
class Denial:
    """A tool call that the runtime denied; `detail`: as for `ToolCall`."""

    tool: str
    action: ActionClass
    why: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class MessageTaken:
    """A user's message that the agent received while it worked."""

    number: int
    said: LaidMessage = NO_MESSAGE


@dataclass(frozen=True, slots=True)
class TurnBegan:
    """The start of a turn of an interactive run, with a user's message. `message`: its number; 0: the job's
    task."""

    number: int
    message: int
    said: LaidMessage
    wall_ms: int


@dataclass(frozen=True, slots=True)
class TurnEnded:
    """The end of a turn. `end_at`: the length of the stream up to this end; `used`: the totals of the attempt
    so far, as the program counts them."""

    stop: TurnStop
    why: str
    wall_ms: int
    end_at: int
    used: Usage


@dataclass(frozen=True, slots=True)
class Suspended:
    """The end of an interactive run that was not ended from outside."""

    why: SuspendReason


@dataclass(frozen=True, slots=True)
class FleetCalled:
    """An orchestrator's call of a fleet tool, which waits for the answer. `arguments`: JSON."""

    number: int
    tool: str
    arguments: str


@dataclass(frozen=True, slots=True)
class FleetOver:
    """The end of an orchestrator's wait for a call: the answer was read, or the call was abandoned."""

    number: int


@dataclass(frozen=True, slots=True)
class UsageGrew:
    """The usage totals of this attempt so far."""

    usage: Usage


@dataclass(frozen=True, slots=True)
class Retrying:
    """A repeated model call. `status`: the HTTP status of the failure, if there was one."""

    status: int | None
    why: str


OfTurns = TurnBegan | MessageTaken | TurnEnded | Suspended
OfFleet = FleetCalled | FleetOver
Activity = (
    SessionStarted | TextPiece | Thought | ToolCall | Ran | Denial | UsageGrew | Retrying | OfTurns | OfFleet
)


@dataclass(frozen=True, slots=True)
class RuntimeVerdict:
    """The runtime's verdict from output and exit. `failure` None: the work is done, as far as the runtime can
    determine."""

    failure: FailureKind | None
    reason: str
    answer: str
    usage: Usage
    session: str | None = None
    model: str | None = None
    version: str | None = None
    tool_calls: Mapping[ActionClass, int] = field(default_factory=dict)
    denials: tuple[Denial, ...] = ()
    resets: LimitReset | None = None
    """When the usage limit that the login has reached resets; None: the program did not report it."""

    @property
    def outcome(self) -> Outcome:
        return Outcome.DONE if self.failure is None else FAILURES[self.failure].outcome


class Parser(Protocol):
    """Reads one attempt's standard output from byte 0 on; memory stays bounded for any input."""

    @property
    def usage(self) -> Usage:
        """Return the usage so far; exact only after `finish`. The caller sets `agent_ms`."""

    def feed(self, chunk: bytes) -> list[Activity]:
        """Process the next bytes, split anywhere, and return their events. Never raises."""

    def finish(self, end: ExitInfo) -> RuntimeVerdict:
        """Return the verdict after the process has ended and all its output was fed. Call it only once."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """The abilities of a runtime. `hears`: takes a user's message during its work; `asks_users`: lets a call
    wait for a user's approval."""

    stream: bool = False
    usage: bool = False
    cost: bool = False
    resume: bool = False
    read_only_enforced: bool = False
    tool_list: bool = False
    """The runtime's tools are listed by name; an unlisted tool is not available."""
    narrows: bool = False
    """The runtime's flags enforce an agent's own, shorter list of tools."""
    turn_limit: bool = False
    tells_turns: bool = False
    """The runtime's stream reports each answer of the model as it comes."""
    budget_limit: bool = False
    own: bool = False
    """The runtime runs the user's message as a program, and needs no model."""
    tells_ran: bool = False
    """The runtime's parser reports by `Ran` which calls were executed; for other runtimes all requested calls
    count."""
    asks_first: bool = False
    """The policy is checked before each command, by a hook of the program or by the program itself."""
    hears: bool = False
    asks_users: bool = False
    takes_turns: bool = False
    """The runtime waits for a message after an answer, if the job requires that."""
    prompted: bool = False
    """The runtime accepts instructions in addition to the task, and so the repository's instructions for
    agents."""
    reasoning: frozenset[Reasoning] = frozenset()
    """The reasoning efforts that the runtime accepts."""

    def asks(self, interactive_run: bool) -> bool:
        """Whether a call waits for a user. In an interactive run it does even if the hook cannot wait long,
        because the program itself waits for an answer."""
        return self.asks_users or (interactive_run and self.takes_turns)

    @property
    def flags(self) -> tuple[Flag, ...]:
        """Return the abilities as the flags of a node's facts."""
        does = {
            Flag.STREAM: self.stream,
            Flag.USAGE: self.usage,
            Flag.COST: self.cost,
            Flag.RESUME: self.resume,
            Flag.READ_ONLY: self.read_only_enforced,
            Flag.TOOLS: self.tool_list,
            Flag.TURNS: self.turn_limit,
            Flag.BUDGET: self.budget_limit,
        }
        return tuple(flag for flag, done in does.items() if done)


AGENT_PROGRAM = Capabilities(
    stream=True,
    tells_ran=True,
    usage=True,
    resume=True,
    read_only_enforced=True,
    prompted=True,
    asks_first=True,
    takes_turns=True,
)
"""The abilities of every agent program that PanCode starts, whether a vendor's or PanCode's."""


@dataclass(frozen=True, slots=True)
class Probe:
    """How a runtime is found: run each argument list, `read` all results (exit status or None, stdout)."""

    argvs: tuple[tuple[str, ...], ...]
    read: Callable[[Sequence[tuple[int | None, str]]], RuntimeFact]
    patience_s: float = 0
    """The time limit in seconds of each argument list that needs more than the default."""


def may_write(mode: Mode, safety: Safety, read_only: bool) -> bool:
    """Whether mode, level and agent together let a run change files."""
    return mode in MODE_WRITES and safety is not Safety.SUGGEST and not read_only


_BARE_BY_NAME = {
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "safe.bareRepository",
    "GIT_CONFIG_VALUE_0": "explicit",
}
"""Makes git use a folder of ordinary files as a repository, and run what its config names, only on
request."""


def base_env(request: LaunchRequest, place: Place) -> dict[str, str]:
    """Return the agent's whole environment: a few fixed variables and those that the job allows. An allowed
    variable never replaces the run's own HOME, TMPDIR or PATH."""
    answered = {} if request.answer is None else _make_answer_env(request)
    return {
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        "NO_COLOR": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_AUTHOR_NAME": "PanCode agent",
        "GIT_AUTHOR_EMAIL": "agent@pancode.invalid",
        "GIT_COMMITTER_NAME": "PanCode agent",
        "GIT_COMMITTER_EMAIL": "agent@pancode.invalid",
        **_BARE_BY_NAME,
        **place.env,
        "PATH": place.path,
        "HOME": request.home,
        "TMPDIR": f"{request.home}/tmp",
        **answered,
    }


def _make_answer_env(request: LaunchRequest) -> dict[str, str]:
    return {ANSWER: request.answer or "", f"{ANSWER}_FILE": f"{request.home}/{ANSWER_FILE}"}


def own_files(request: LaunchRequest) -> dict[str, bytes]:
    """Return the files in the home of a user's own program, including a user's answer."""
    answer = request.answer
    return {**BASE_FILES, **({} if answer is None else {ANSWER_FILE: answer.encode("utf-8", "replace")})}


BASE_FILES: Mapping[str, bytes] = {"tmp/": b""}  # the folder must exist, because TMPDIR names it
ANSWER, ANSWER_FILE = "PANCODE_ANSWER", "answer.txt"
"""The variable, and the file in the run's home, with a user's answer to the previous run."""


def limit_answer(text: str) -> str:
    """Return the whole answer, or only its end if the answer exceeds the memory limit."""
    return keep_end(text, MOST_ANSWER_CHARS)


def keep_end(text: str, size: int = ANSWER_CHARS) -> str:
    """Return at most the last `size` characters: the end of a final text is its most important part."""
    return text if len(text) <= size else "…" + text[1 - size :]


_ENDED = {
    EndedBy.WALL: (FailureKind.WALL_LIMIT, "the time limit was reached"),
    EndedBy.IDLE: (FailureKind.IDLE_LIMIT, "no output within the idle limit"),
    EndedBy.OUTPUT: (FailureKind.OUTPUT_LIMIT, "the output limit was exceeded"),
    EndedBy.MEMORY: (FailureKind.MEMORY_LIMIT, "the memory limit was exceeded"),
    EndedBy.PROCESSES: (FailureKind.PROCESS_LIMIT, "the limit of processes and threads was exceeded"),
    EndedBy.DISK: (FailureKind.DISK_LIMIT, "the disk limit was exceeded"),
    EndedBy.STOP: (FailureKind.STOPPED, "stopped on request"),
}


def ended_for_us(end: ExitInfo) -> tuple[FailureKind, str] | None:
    """Return the outcome that overrides all output: never started, or ended by PanCode. None: neither."""
    if end.not_started:
        return FailureKind.RUNTIME_MISSING, f"the program could not be started: {end.not_started}"
    return _ENDED.get(end.ended_by)


def how_it_ended(end: ExitInfo) -> str:
    """Return `exit 3`, `signal 9` or `end unknown`, as part of a reason."""
    if end.signal is not None:
        return f"signal {end.signal}"
    return "end unknown" if end.status is None else f"exit {end.status}"


Launcher = Callable[[LaunchRequest, Place], ProcessSpec]
ParserFactory = Callable[[LaunchRequest], Parser]
Enforcer = Callable[[Mode, Safety, bool, Isolation], Enforcement]


@dataclass(frozen=True, slots=True)
class Brought:
    """Files of a repository that a program uses without being asked to. `naming`: only if the file contains
    this string."""

    pattern: str
    naming: str = ""


@dataclass(frozen=True, slots=True)
class Runtime:
    """One runtime. `credentials`: the node's variables that log it in, for the agent's process only.

    `program`: the vendor's, if it starts one. `brought`: repository files that no flag, but only a sandbox,
    prevents it from using. `sessions`: files and folders of its home with its memory, without settings and
    logins.
    """

    name: str
    capabilities: Capabilities
    launch: Launcher
    parser: ParserFactory
    enforcement: Enforcer
    probe: Probe
    credentials: tuple[str, ...] = ()
    program: Program | None = None
    brought: tuple[Brought, ...] = ()
    sessions: tuple[str, ...] = ()
    adapter: Program | None = None
    """The adapter that the program needs for interactive runs; None if it needs none."""
    chosen: bool = False
    """Whether the node's owner chose the program: it works only in chats and in a sandbox, and reaches its
    model only through the gateway."""
    loose_turns: str = ""
    """What the program does in an interactive run despite its flags, so that only a sandbox prevents it: the
    end of a sentence."""
