"""The job: the signed statement that tells a node what to do, and checks for the folders that it names."""

from __future__ import annotations

import re
from enum import StrEnum
from itertools import combinations
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, SerializerFunctionWrapHandler, model_serializer

from node_agent.wire.endpoint import Sampling
from node_agent.wire.fleet import FleetTerms
from node_agent.wire.identity import AttemptId
from node_agent.wire.identity import TurnTerms as TurnTerms
from node_agent.wire.model import (
    CommitId,
    Count,
    FleetId,
    FleetTime,
    NodeTag,
    Number,
    RepoId,
    RunId,
    SecretName,
    Text,
    Usd,
    WallMillis,
    WholeNumber,
    WireModel,
)
from node_agent.wire.node import MOST_GPUS
from node_agent.wire.policy import Mode, Policy, Safety
from node_agent.wire.sealing import MOST_SEALED
from node_agent.wire.signing import Message
from node_agent.wire.skill import MOST_SKILLS, JobSkill

MAX_FOLDERS, MAX_LENGTH = 16, 200
MOST_PORTS = 16
MAX_REPORTS = 8
MAX_PLACE = 4000
"""The most characters of a place: a path in the user's repository, with any character valid in paths."""


def checked_folder(text: str) -> str:
    """Return `text` if it names a folder below the checkout's top; else raise ValueError with the reason."""
    if not text.isprintable() or not 0 < len(text) <= MAX_LENGTH:
        raise ValueError(f"a folder's name must have 1 to {MAX_LENGTH} printable characters")
    parts = text.split("/")
    if parts[0] == "" or parts[0] == "~":
        raise ValueError(f"{text!r} must be a path relative to the repository's top, such as `node_modules`")
    if not {"", ".", ".."}.isdisjoint(parts):
        raise ValueError(f"{text!r} is not a normalized path: remove `.`, `..`, and double or final slashes")
    if ".git" in (part.lower() for part in parts):
        raise ValueError(f"{text!r} is reserved for git")
    return text


def checked_place(text: str) -> str:
    """Return `text` if it is a run's folder below the checkout, or empty (the top); else raise ValueError."""
    if len(text) > MAX_PLACE or "\0" in text:
        raise ValueError(f"the folder of a run must have at most {MAX_PLACE} characters, and no NUL")
    parts = text.split("/")
    if text and not {"", ".", ".."}.isdisjoint(parts):
        raise ValueError(
            f"{text!r} is not a normalized path below the top: remove `.`, `..`, and extra slashes"
        )
    if ".git" in (part.lower() for part in parts):
        raise ValueError(f"{text!r} is reserved for git")
    return text


def checked_report(text: str) -> str:
    """Return `text` if it can name a file that a gate writes below the checkout; else raise ValueError."""
    if not 0 < len(text) <= MAX_LENGTH or not text.isprintable():
        raise ValueError(f"the name of a report must have 1 to {MAX_LENGTH} printable characters")
    return checked_place(text)


def checked_reports(files: tuple[str, ...]) -> tuple[str, ...]:
    """Return these names; raises ValueError for an invalid name, too many names, or a duplicate."""
    if len(files) > MAX_REPORTS:
        raise ValueError(f"a run may have at most {MAX_REPORTS} reports")
    if len(set(files)) < len(files):
        raise ValueError("a report is listed twice")
    return tuple(map(checked_report, files))


def _check_apart(folders: tuple[str, ...]) -> tuple[str, ...]:
    for one, other in combinations(sorted(folders), 2):
        if one == other or other.startswith(one + "/"):
            raise ValueError(f"{other!r} is already covered by {one!r}: list only one of them")
    return folders


Folder = Annotated[str, AfterValidator(checked_folder)]
Place = Annotated[str, AfterValidator(checked_place)]
Folders = Annotated[tuple[Folder, ...], Field(max_length=MAX_FOLDERS), AfterValidator(_check_apart)]
"""Folders, none of which is inside another."""
ReportFiles = Annotated[tuple[str, ...], AfterValidator(checked_reports)]
"""The result files that the gates write."""


MAX_TASK_BYTES = 1_000_000
MAX_ANSWER = 10_000
"""The most characters of a user's answer to the user's own program, which gets it in a variable."""
Argv = tuple[str, ...]
NO_AGENT: Argv = ("true",)
"""The command of a run that has only set-up and gates."""


class Reasoning(StrEnum):
    """The reasoning effort of a model. The meaning of a level depends on the model."""

    OFF = "off"
    MINIMAL = "minimal"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    XHIGH = "xhigh"


class AgentSpec(WireModel):
    """The agent's definition for this run."""

    name: str
    prompt: str
    tools: tuple[str, ...]
    read_only: bool
    sampling: Sampling | None = None
    """Sampling settings, only for a runtime that can apply them; other runtimes do not get these values."""


class Workspace(WireModel):
    """The files of the run: a git snapshot from the depot, or an empty folder."""

    kind: Literal["git", "none"]
    repo: RepoId | None = None
    base: CommitId | None = None
    """The user's own commit; None for an unborn branch."""
    snapshot: CommitId | None = None
    """The commit that contains the working tree at the time of the dispatch."""
    object_format: Literal["sha1", "sha256"] = "sha1"
    folder: Place = ""
    """The agent's folder below the checkout's top. Set-up and gates begin at the top itself."""


class Gate(WireModel):
    """A verification gate: a command as an argument list. Exit status 0 means that the gate passed."""

    name: str
    argv: Argv = Field(min_length=1)


class Limits(WireModel):
    """The limits of the run. None: no such limit."""

    wall_ms: int = Field(gt=0)
    idle_ms: int = Field(gt=0)
    output_bytes: int = Field(gt=0)
    tokens: int | None = Field(default=None, gt=0)
    usd: Usd | None = None
    requests: int | None = Field(default=None, gt=0)
    """The most model calls; the node's model gateway enforces this limit."""
    wrap_up: bool = False
    """Whether the gateway allows one last, short call when a limit of tokens, dollars or calls is reached."""
    memory_bytes: int | None = Field(default=None, gt=0)
    """The most memory for all processes together. For memory, processes and disk the node's owner sets an
    upper bound."""
    processes: int | None = Field(default=None, gt=0)
    """The most processes, threads included."""
    disk_bytes: int | None = Field(default=None, gt=0)
    """The bytes of checkout and home together, up to the maximum that the node's owner sets."""
    turns: int | None = Field(default=None, gt=0)
    """The most model answers, counted by the runtime, or else by the gateway."""
    reserved_usd: Usd | None = None
    """The amount that is reserved for the attempt; before it spends more, the gateway asks the coordinator.
    None: it does not ask."""

    @model_serializer(mode="wrap")
    def _written(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Return the JSON form without an unset `reserved_usd`, which an older node agent does not know."""
        values: dict[str, Any] = write(self)
        return {name: one for name, one in values.items() if one is not None or name != "reserved_usd"}


_SESSION = r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,199}$"
SessionName = Annotated[str, Field(pattern=_SESSION)]


def is_session(name: str) -> bool:
    """Whether the text can be a session's name. No leading `-`, which a program would read as an option."""
    return re.fullmatch(_SESSION[1:-1], name) is not None


class Resumed(WireModel):
    """An earlier run's session to continue, as the runtime's program names it, on the node that stores it."""

    run: RunId
    session: SessionName


BoardName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class BoardEntry(WireModel):
    """A value that the workers of a workflow shared. Only jobs and receipts of older versions have it."""

    namespace: BoardName
    key: BoardName
    value: Annotated[str, Text(16_384)]


class Job(Message):
    """The job: it binds one attempt to one node."""

    PAYLOAD = "order"
    fleet: FleetId
    epoch: Number
    identity: AttemptId
    node: NodeTag
    issued_wall_ms: WallMillis
    """The coordinator's wall time, for the dates of commits made for this job."""
    start_by: FleetTime
    agent: AgentSpec
    task: str
    argv: Argv | None = None
    """Only for the runtime `shell`: run exactly this command, instead of the task as a script."""
    runtime: str
    model: str | None = None
    endpoint: str | None = Field(default=None, max_length=200)
    """The node's name for a model server; only the node knows its address and key."""
    untested: bool = False
    """Whether the dispatch requested that the model not be tested; the receipt records it."""
    reasoning: Reasoning | None = None
    """The reasoning effort; None: the runtime's own default."""
    mode: Mode
    safety: Safety
    policy: Policy
    workspace: Workspace
    setup: tuple[Argv, ...] = ()
    cache: Folders = ()
    """Folders below the checkout's top that `setup` creates and the node may store for later attempts."""
    cache_key: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(max_length=MAX_FOLDERS)] = ()
    """Patterns of the files that decide whether stored folders can be restored; empty: every file decides."""
    gates: tuple[Gate, ...] = ()
    score: Argv | None = Field(default=None, min_length=1)
    """A command to run after the gates. The last line of its output must be a number; higher is better."""
    reports: ReportFiles = ()
    """JUnit files that the gates write and whose results go into the receipt."""
    reads: ReportFiles = ()
    """Ignored files or folders of the agent that the gates judge, and get as read-only copies."""
    limits: Limits
    env: tuple[str, ...] = ()
    """The names of the node's variables that the agent may see."""
    secrets: tuple[SecretName, ...] = ()
    skills: Annotated[tuple[JobSkill, ...], Field(max_length=MOST_SKILLS)] = ()
    """Skills to write into the folder where the program looks for them; only if the runtime reads skills."""
    depth: Count = 0
    resume: Resumed | None = None
    """The session to continue; None: start a new one."""
    board: Annotated[tuple[BoardEntry, ...] | None, Field(max_length=200)] = None
    """Only jobs of older versions have values here; the node ignores them."""
    answer: Annotated[str, Text(MAX_ANSWER)] | None = None
    """A user's answer to the question that ended the previous run; only for a user's own program."""
    turns: TurnTerms | None = None
    """The terms of an interactive run; None: a headless run. Only for a runtime that takes turns."""
    fleet_tools: FleetTerms | None = None
    """The fleet tools that the agent, an orchestrator in an interactive run, may call; None: no fleet
    tools."""
    ahead: bool = False
    """Whether the node may hold the job until one of its slots is free, even without contact to the
    coordinator. If so, `start_by` is the time by which the node must have received the job."""
    ports: Annotated[int, WholeNumber(MOST_PORTS)] = 0
    """The number of free TCP ports of the node that only this run gets, as `PANCODE_PORT_1` and so on."""
    copied: Annotated[str, Field(max_length=MOST_SEALED)] = ""
    """Ignored files of the owner's checkout, sealed by `seal_files` for node and attempt; empty: none."""
    gpus: Annotated[tuple[Annotated[str, Text(200)], ...] | None, Field(max_length=MOST_GPUS)] = None
    """The UUIDs of the GPUs reserved for this run; empty: none. None: all GPUs that no other run has
    reserved."""
    trace: str = Field(max_length=64)

    @model_serializer(mode="wrap")
    def _written(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Return the JSON form without unset `ahead`, `copied`, `ports`, `reads`, `skills` and `gpus`, since
        an older node agent refuses a job with unknown fields."""
        values: dict[str, Any] = write(self)
        absent: dict[str, Any] = {
            "gpus": None,
            "ahead": False,
            "copied": "",
            "ports": 0,
            "skills": [],
            "reads": [],
        }
        return {name: value for name, value in values.items() if name not in absent or value != absent[name]}
