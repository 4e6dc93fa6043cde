"""What a node reports about itself: facts, heartbeat, the inventory of its journal, and its request to the
git depot."""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from node_agent.wire import model
from node_agent.wire.endpoint import AskFact, EndpointFact
from node_agent.wire.identity import AttemptId, Mark
from node_agent.wire.policy import SAFETY_RANK, Isolation, Safety
from node_agent.wire.signing import Message


class Flag(StrEnum):
    """The abilities of a runtime. If a runtime lacks one, the node may provide it."""

    STREAM = "stream"
    USAGE = "usage"
    COST = "cost"
    RESUME = "resume"
    READ_ONLY = "read-only"
    TOOLS = "tools"
    TURNS = "turns"
    BUDGET = "budget"


class LoggedIn(StrEnum):
    """How a runtime logs in to its model server on a node, which decides how its calls are paid for."""

    KEY = "key"
    SUBSCRIPTION = "subscription"
    OTHER = "other"


MOST_PROBLEMS, MOST_ASKS = 100, 200
MOST_HEARTBEAT_BYTES = 256 * 1024
HOME_LAYOUT = 5
"""The layout version of a node agent's home; `node_agent/machine/home.py` describes each earlier layout."""


TOOL_FOLDERS = (
    *(".local/bin", "bin", ".npm-global/bin", ".opencode/bin", ".bun/bin", ".volta/bin", ".local/share/pnpm"),
    *(".nvm/versions/node/*/bin", ".local/share/fnm/node-versions/*/installation/bin"),
    *(
        ".local/share/mise/installs/*/*/bin",
        ".local/share/mise/shims",
        ".asdf/installs/*/*/bin",
        ".asdf/shims",
    ),
)
"""Folders below a user's home where installers put programs, and which the PATH of a service lacks."""


class RuntimeFact(model.WireModel):
    """A runtime found on the node. `can`: its abilities. State `looking`: the check has not finished yet.

    `login`: a key or server behind the model gateway, which meters it; a vendor's subscription, which is not
    metered; or another kind.
    """

    name: model.Name
    version: model.Name | None = None
    state: Literal["ok", "missing", "not_logged_in", "unknown_version", "too_old", "looking"]
    fix: model.Line = ""
    no_turns: model.Line = ""
    """What the runtime needs on the node before it can take turns, with the command that installs it."""
    can: Annotated[tuple[Flag, ...], model.Few(16)] = ()
    login: LoggedIn = LoggedIn.OTHER
    brought: Literal["", "newest", "chosen"] = ""
    """The version that `node install` installed: newest or owner's choice; empty: installed otherwise."""


class ProblemCode(StrEnum):
    """The kind of a problem to which PanCode reacts; OTHER: the problem is only shown."""

    OTHER = "other"
    NO_SANDBOX = "no_sandbox"
    FORGED_JOB = "forged_order"
    FORGED_CONTROL = "forged_control"
    FORGED_HEARTBEAT = "forged_beat"


FORGED = frozenset({ProblemCode.FORGED_JOB, ProblemCode.FORGED_CONTROL, ProblemCode.FORGED_HEARTBEAT})
"""The codes for a message in the coordinator's name that the coordinator did not sign."""


class NodeProblem(model.WireModel):
    """A problem of the node, with the command that fixes it."""

    what: model.Line
    fix: model.Line = ""
    code: ProblemCode = ProblemCode.OTHER


def no_sandbox(why: str, fix: str = "") -> NodeProblem:
    """Return the problem of a node that has no sandbox; `why` is the reason."""
    return NodeProblem(what=f"no sandbox: {why}", fix=fix, code=ProblemCode.NO_SANDBOX)


class Allowed(model.WireModel):
    """Limits that the node's owner sets. None: no such limit. `closed`: why the node allows no runs."""

    safety: Safety = Safety.FULL_AUTO
    repositories: Annotated[tuple[model.RepoId, ...], model.Few(1_000)] | None = None
    runtimes: Annotated[tuple[model.Name, ...], model.Few(64)] | None = None
    closed: model.Line = ""

    def beyond(self, safety: Safety, runtime: str, repo: str | None) -> str:
        """Return, as text, the owner's limit that a run exceeds; empty if no known limit is exceeded."""
        if self.closed:
            return self.closed
        if SAFETY_RANK[safety] > SAFETY_RANK[self.safety]:
            return f"safety level {safety} is above this node's ceiling {self.safety}"
        if self.runtimes is not None and runtime not in self.runtimes:
            return f"this node's owner does not allow runtime {runtime}"
        if self.repositories is not None and repo is not None and repo not in self.repositories:
            return f"this node's owner does not allow repository {repo}"
        return ""


class RoomFact(model.WireModel):
    """The disk space in bytes that one folder of the node agent's home takes."""

    what: model.Name
    bytes: model.Count


MOST_GPUS = 32


class GpuFact(model.WireModel):
    """A GPU of the node. `memory`: its total memory in bytes. Only NVIDIA's GPUs can be assigned to runs."""

    index: model.Count
    """The GPU's number, as the driver counts."""
    uuid: model.Name
    name: model.Name
    memory: model.Count
    driver: model.Name = ""
    vendor: Literal["nvidia", "amd"] = "nvidia"


class GpuLoad(model.WireModel):
    """The present load of a GPU. None: unknown."""

    uuid: model.Name
    memory_free: model.Count | None = None
    busy: Annotated[int, model.WholeNumber(100)] | None = None
    """The use of the GPU in percent during the last second."""
    unknown_since_ms: model.WallMillis | None = None
    """The time since when the GPU's driver has not responded; None: the driver responds."""
    holder: AttemptId | None = None
    """The attempt that has reserved the GPU."""


MOST_VARIABLES, MOST_VARIABLE_CHARS = 300, 8_000


class NodeProfile(model.WireModel):
    """The facts that seldom change. The node stores them beside its heartbeat, which names their digest."""

    runtimes: Annotated[tuple[RuntimeFact, ...], model.Few(64)]
    endpoints: Annotated[tuple[EndpointFact, ...], model.Few(32)] = ()
    allows: Allowed = Allowed()
    repositories: Annotated[tuple[model.Name, ...], model.Few(64)] = ()
    """The repositories of which the node has a copy, the most recently used first."""
    set_ups: Annotated[tuple[model.Name, ...], model.Few(64)] = ()
    """Repositories for which it has stored folders that set-up made, at some commit."""
    gpus: Annotated[tuple[GpuFact, ...], model.Few(MOST_GPUS)] = ()
    room: Annotated[tuple[RoomFact, ...], model.Few(16)] = ()
    """Folders that fill the disk, the largest first, then `work/ID` of attempts; empty: not measured yet."""
    variables: Annotated[tuple[model.Name, ...], model.Few(MOST_VARIABLES)] | None = None
    """The names, never the values, of the node's variables and secrets that have a value now. None: not
    reported, because the node agent is older or there are too many."""

    def digest(self) -> str:
        """Return the SHA-256 of the canonical encoding, which is what the node stores."""
        return hashlib.sha256(self.canonical()).hexdigest()


class NodeFacts(NodeProfile):
    """The facts about a node. Sizes are in bytes."""

    hostname: model.Name
    os: model.Name
    arch: model.Name
    python: model.Name
    cpus: model.Count
    memory: model.Count
    memory_free: model.Count | None = None
    """The memory that a program can get without swapping out other programs; None: unknown."""
    disk_free: model.Count
    load_1m: model.Real
    heat: model.Real | None = None
    """The temperature of the node's hottest sensor, in degrees Celsius; None: no sensor is readable."""
    isolation: Isolation
    asks: Annotated[tuple[AskFact, ...], model.Few(MOST_ASKS)] = ()
    """The requested tests of models."""
    problems: Annotated[tuple[NodeProblem, ...], model.Few(MOST_PROBLEMS)] = ()
    shut: NodeProblem | None = None
    """The reason why the node can take no work now, such as a full disk; the node then requests no jobs."""
    wall_ms: model.WallMillis

    def make_profile(self) -> NodeProfile:
        return NodeProfile(**{name: getattr(self, name) for name in NodeProfile.model_fields})

    def without_profile(self) -> NodeFacts:
        return self.with_profile(NodeProfile(runtimes=()))

    def with_profile(self, profile: NodeProfile) -> NodeFacts:
        return self.model_copy(update={name: getattr(profile, name) for name in NodeProfile.model_fields})

    @model_serializer(mode="wrap")
    def _written(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Return the JSON form without an empty `gpus`, which an older coordinator does not know."""
        values: dict[str, Any] = write(self)
        return {name: value for name, value in values.items() if value or name != "gpus"}


MOST_SLOTS = 256
MOST_HELD = 256
"""The most jobs that a node holds in addition to the running ones."""


class Ask(model.WireModel):
    """The node's free capacity. The statement is valid for 15 s of the coordinator's clock."""

    seq: model.Number
    slots: Annotated[int, model.WholeNumber(MOST_SLOTS)]
    why: model.Line = ""
    """The reason why the node has fewer slots than its owner allows."""
    open: Annotated[tuple[AttemptId, ...], model.Few(1_000)]
    """The leases that occupy a slot on the node."""
    ahead: Annotated[int, model.WholeNumber(MOST_HELD)] = 0
    """The most jobs that the node holds until a slot is free; 0: none, as for an older node agent."""
    asks_budget: bool = False
    """Whether the node's model gateways ask before they spend more than is reserved; an older node agent does
    not."""
    reports: bool = False
    """Whether the node answers `ReportAttempts`; an older node agent does not."""

    @model_serializer(mode="wrap")
    def _written(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Return the JSON form without unset new fields, as an older node agent writes it."""
        values: dict[str, Any] = write(self)
        new = ("ahead", "asks_budget", "reports")
        return {name: one for name, one in values.items() if one or name not in new}


class Signs(model.WireModel):
    """Signs of life of a running agent: milliseconds since each sign, without sleep; None: no sign yet."""

    identity: AttemptId
    output_ms: model.Lasted
    """The time since the agent's program last wrote output."""
    cpu_ms: model.Lasted | None = None
    """The time since the agent's processes last used a tenth of a core between two checks."""
    files_ms: model.Lasted | None = None
    """The time since a file in the agent's workspace last changed."""
    model_ms: model.Lasted | None = None
    """The time since a model was last seen active: a call was open, or bytes were moving."""
    pause_ms: model.Lasted = 0
    """The remaining time for which the model server has requested that no call be sent."""


class Heartbeat(Message):
    """The node's heartbeat, every 5 s. `echo`: the newest coordinator heartbeat that the node has received;
    its age shows whether the node is alive."""

    fleet: model.FleetId
    node: model.NodeTag
    session: model.Name
    """The session id, new at each start of the node agent."""
    boot_id: model.Name
    seq: model.Number
    boot_ms: model.Millis
    nonce: model.Name
    """A random value, new at each start and each reconnection, which the coordinator's heartbeat returns."""
    echo: model.FleetTime | None = None
    epoch_seen: model.Count
    """The highest epoch of the messages that the node has ever accepted."""
    control_seen: model.Count
    ask: Ask
    draining: bool = False
    version: model.Name
    obeys: Annotated[tuple[model.Digest, ...], model.Few(4)]
    """The ids of the coordinator's keys that the node accepts."""
    facts: NodeFacts
    profile: model.Digest | None = None
    """The digest of the profile, which `facts` then lacks; None: `facts` has it (an older node agent)."""
    signs: Annotated[tuple[Signs, ...], model.Few(MOST_SLOTS)] = ()
    """The signs of the agents that were checked; not of interactive runs that wait for a message."""
    gpus: Annotated[tuple[GpuLoad, ...], model.Few(MOST_GPUS)] = ()

    @model_serializer(mode="wrap")
    def _written(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Return the JSON form without an empty `gpus` or `profile`, which older versions do not know."""
        values: dict[str, Any] = write(self)
        return {name: value for name, value in values.items() if value or name not in ("gpus", "profile")}


MOST_ENTRIES = 8_000


class JournalEntry(model.WireModel):
    """One attempt in the journal; `last_event` is the number of its newest event."""

    identity: AttemptId
    job: model.Digest = Field(alias="order")
    mark: Mark
    last_event: model.Count


class Inventory(Message):
    """All attempts in the journal that are not final, and those of this epoch that are.

    The inventory accounts for every lease whose job had to begin before `at`: if such a lease is not listed,
    the node has not accepted it and never will.
    """

    fleet: model.FleetId
    node: model.NodeTag
    session: model.Name
    nonce: model.Name
    at: model.FleetTime
    epoch_seen: model.Count
    entries: Annotated[tuple[JournalEntry, ...], model.Few(MOST_ENTRIES)]


MOST_REPORTED = 200


class AttemptReport(model.WireModel):
    """One attempt as the journal has it: the envelopes of its job and of its receipt, as JSON text."""

    mark: Mark
    job: str
    receipt: str | None = None
    kept: bool = False
    """Whether the node still has the commit and the outputs that the receipt names."""


class AttemptsReport(Message):
    """One page of the node's attempts, in the order of their names: those after `after` that changed at
    `since_ms` or later. `next`: the last attempt of the page; None: there are no more."""

    fleet: model.FleetId
    node: model.NodeTag
    since_ms: model.WallMillis
    after: AttemptId | None
    entries: Annotated[tuple[AttemptReport, ...], Field(max_length=MOST_REPORTED)]
    next: AttemptId | None
    complete_since_ms: model.WallMillis
    """Records that are older than this may have been deleted."""


Verb = Literal["fetch", "push", "log"]


class Hello(Message):
    """The opening of a stream, signed with the server's nonce; valid for one stream, one lease, one verb."""

    fleet: model.FleetId
    node: model.NodeTag
    nonce: model.Name
    identity: AttemptId
    verb: Verb
