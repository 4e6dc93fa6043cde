"""The nodes of the fleet as the API shows them."""

from typing import Any, NotRequired

from typing_extensions import TypedDict

from pancode.agents.answers import EndpointShape, ModelTestAsked, RuntimeFacts, RuntimeTold
from pancode.kernel.route import Route
from pancode.runs.answers import BreakerShape, HandoverShape


class ProblemShape(TypedDict):
    """A problem that a user should fix. `says`: advice from the node itself; `code`: identifies the problem
    for callers. `weight`: `note` if the node works nevertheless."""

    what: str
    fix: str
    says: NotRequired[str]
    code: NotRequired[str]
    weight: NotRequired[str]


class TroubleShape(TypedDict):
    """A problem of the coordinator or its settings."""

    what: str
    why: str
    fix: str


class SlotsShape(TypedDict):
    """A node's slots. `now`: how many it uses at present; `why`: the reason if that is fewer than all."""

    used: int
    total: int
    now: int
    why: str


class DiskPartShape(TypedDict):
    """A folder of the node's home: its name, and its size on disk in bytes."""

    what: str
    bytes: int


class GpuShape(TypedDict):
    """A GPU of a node. Memory in bytes, `busy` in percent; null: not known. `unknown_since`: when its driver
    stopped responding. `holder`: the run that uses the GPU exclusively."""

    index: int
    uuid: str
    name: str
    short: str
    vendor: str
    driver: str
    memory: int
    memory_free: int | None
    busy: int | None
    unknown_since: str | None
    holder: str | None


class NodeShape(TypedDict):
    """A node as `fleet status` shows it."""

    name: str
    state: str
    since: str | None
    slots: SlotsShape
    runtimes: list[RuntimeFacts]
    endpoints: list[EndpointShape]
    labels: dict[str, str]
    version: str | None
    clock_skew_s: float | None
    disk_free: int | None
    disk_most: DiskPartShape | None
    """The PanCode files that use the most of a disk with less than 1 GiB free; null: more is free, or not
    known."""
    linked: bool
    """Whether the link to the node is up, even if the node agent sends nothing through it."""
    isolation: str | None
    gpus: list[GpuShape]
    gpu_rule: str
    """Which runs get the GPUs: `all`, `asked` (only runs that request them), or `none`."""
    gpu_labels: dict[str, str]
    """The labels that the GPUs give the node, in addition to its own."""
    problems: list[ProblemShape]


class TargetShape(TypedDict, total=False):
    """An SSH server and how to log in there. `hops`: the jump hosts in order; `proxy`: ProxyCommand. What an
    older version did not write is missing."""

    alias: str
    host: str
    port: int
    user: str
    identities: list[str]
    certificates: list[str]
    identities_only: bool
    agent_path: str | None
    hops: "list[TargetShape]"
    proxy: list[str]
    family: str
    bind_address: str | None
    algorithms: list[list[str]]
    warnings: list[str]
    """SSH settings of this alias that are not applied, each with the consequence."""
    key_name: str
    known_hosts: list[str] | None
    revoked: str
    accepts: str
    connect_s: float | None
    refers: bool
    lacks: list[str]


class ReachShape(TypedDict):
    """How a node is reached. `pins`: accepted host keys by address. `local`: it is the coordinator's machine.
    `installed_home`: null before the first bring-up. `is_twin`: it is in the fleet under another name."""

    target: TargetShape
    pins: dict[str, str]
    local: bool
    local_home: str | None
    node_home: str | None
    uid: int | None
    installed_home: str | None
    is_twin: bool
    fleet_key: bool
    halted: bool


class AllowedShape(TypedDict):
    """The limits that the node's owner has set; null: no such limit. `closed`: why nothing is allowed."""

    safety: str
    repositories: list[str] | None
    runtimes: list[str] | None
    closed: str


class GpuFacts(TypedDict):
    """A GPU as its driver names it; `memory` in bytes."""

    index: int
    uuid: str
    name: str
    memory: int
    driver: str
    vendor: str


class MachineFacts(TypedDict):
    """What a node reports about itself. Sizes are in bytes."""

    hostname: str
    os: str
    arch: str
    python: str
    cpus: int
    memory: int
    memory_free: int | None
    disk_free: int
    load_1m: float
    heat: float | None
    isolation: str
    allows: AllowedShape
    repositories: list[str]
    set_ups: list[str]
    room: list[DiskPartShape]
    runtimes: list[RuntimeTold]
    endpoints: list[EndpointShape]
    asks: list[ModelTestAsked]
    problems: list[ProblemShape]
    shut: ProblemShape | None
    wall_ms: int
    gpus: NotRequired[list[GpuFacts]]
    """Omitted if there is none."""
    clock_skew_ms: NotRequired[int]
    """Measured at the bring-up, like the next field."""
    reached: NotRequired[bool]


class NodeDetail(NodeShape):
    """What `node show` displays: how it is reached, and its reported `facts` (null: nothing received)."""

    target: ReachShape
    tag: str | None
    public_key: str | None
    added_at: str
    draining: str | None
    paused: str | None
    quarantined: str | None
    facts: MachineFacts | None
    session: str | None
    """New at each start of the node agent; null: nothing received."""
    heartbeat: int | None
    """The number of the last heartbeat in this session; null: nothing received."""


class ProcessShape(TypedDict):
    """The coordinator's process. `api`: the address where it listens on TCP; empty: none."""

    pid: int
    version: str
    commit: str
    home: str
    started_at: str
    api: str


class HeldShape(TypedDict):
    """Why the coordinator does not lead its fleet and only answers what reads. `mode`: `held` (the home was
    restored), or `fenced` (another coordinator has replaced this one)."""

    mode: str
    why: str
    fix: str


class RunningShape(ProcessShape):
    """A running coordinator. `trouble`: what stops its passes; `closed`: ports that should be open; `held`:
    null if it leads its fleet."""

    held: HeldShape | None
    after_reboot: str
    trouble: TroubleShape | None
    closed: list[TroubleShape]


class CoordinatorShape(RunningShape):
    """The coordinator. `refused_envelopes`: how many messages failed verification, by reason. `clock`: a note
    that the coordinator's clock is wrong."""

    fleet: str
    epoch: int
    paused: str | None
    draining: str | None
    refused_envelopes: dict[str, int]
    clock: TroubleShape | None


class FleetShape(TypedDict):
    coordinator: CoordinatorShape
    nodes: list[NodeShape]


class DrainAnswer(TypedDict):
    nodes: list[str]
    draining: str | None
    let_in: NotRequired[list[str]]


class CheckLine(ProblemShape):
    """One line of `doctor`."""

    node: str
    ok: bool


class ChecksAnswer(TypedDict):
    checks: list[CheckLine]


class HomeCheck(TypedDict):
    """One line of `doctor`. `level`: ok, warning or error."""

    what: str
    ok: bool
    level: str
    detail: str
    fix: str


class HomeChecksAnswer(TypedDict):
    checks: list[HomeCheck]


class RoomRow(TypedDict):
    """Bytes on a node's disk; `node` null: on the disk of the coordinator's home."""

    node: str | None
    what: str
    bytes: int


class KeptFilesRow(TypedDict):
    """How many old runs have files that are retained, and why they are retained."""

    runs: int
    why: str


class CollectAnswer(TypedDict):
    """The result of a garbage collection. `changes`, `logs`: number of runs whose changes or logs are
    deleted. `young`: runs not old enough yet. `freed`: bytes; space of commits is freed two weeks later."""

    changes: int
    logs: int
    young: int
    kept: list[KeptFilesRow]
    freed: int
    room: list[RoomRow]


class QuestionShape(TypedDict):
    """A question to the user before a node is added. `value`: the text that an approval must repeat."""

    kind: str
    text: str
    value: str


class ProbeAnswer(TypedDict):
    target: dict[str, Any]
    questions: list[QuestionShape]
    warnings: list[str]


class LoginAnswer(TypedDict):
    """`target`: how to reach the node, as the coordinator stores it."""

    node: str
    runtime: str
    target: ReachShape


class ProgramsAnswer(TypedDict):
    """`target`: how to reach the node, as in LoginAnswer."""

    node: str
    runtimes: list[str]
    target: ReachShape


class CleanedAnswer(TypedDict):
    forgotten: bool


class NodeResultShape(TypedDict):
    """The result of a long call for one node."""

    node: str
    ok: bool
    problems: list[ProblemShape]
    changed: list[str]
    seconds: float
    again: bool


class StoppingAnswer(TypedDict):
    stopping: bool
    pid: int | None


class PingAnswer(TypedDict):
    """The version; callers with the right to see them also get the other fields."""

    version: str
    pid: NotRequired[int]
    commit: NotRequired[str]
    home: NotRequired[str]
    started_at: NotRequired[str]
    api: NotRequired[str]


class UpAnswer(FleetShape):
    """The result of a bring-up, and the state of the fleet after it."""

    results: list[NodeResultShape]


class DownAnswer(TypedDict):
    results: list[NodeResultShape]


class BreakersAnswer(TypedDict):
    breakers: list[BreakerShape]


FLEET = Route[FleetShape]("GET /v1/fleet")
DRAIN = Route[DrainAnswer]("POST /v1/fleet/drain")
HANDOVER = Route[HandoverShape]("POST /v1/fleet/handover")
RESUME = Route[DrainAnswer]("POST /v1/fleet/resume")
DOCTOR = Route[ChecksAnswer]("POST /v1/fleet/doctor")
CHECKS = Route[HomeChecksAnswer]("GET /v1/checks")
COLLECT = Route[CollectAnswer]("POST /v1/gc")
NODE = Route[NodeDetail]("GET /v1/nodes/{node}")
PROBE = Route[ProbeAnswer]("POST /v1/nodes/probe")
ADD = Route[NodeDetail]("POST /v1/nodes")
SET = Route[NodeDetail]("POST /v1/nodes/{node}/set")
LOGIN = Route[LoginAnswer]("POST /v1/nodes/{node}/login")
PROGRAMS = Route[ProgramsAnswer]("POST /v1/nodes/{node}/programs")
CLEANED = Route[CleanedAnswer]("POST /v1/nodes/{node}/cleaned")
TRUST = Route[NodeResultShape]("POST /v1/nodes/{node}/trust")
SHUTDOWN = Route[StoppingAnswer]("POST /v1/shutdown")
PING = Route[PingAnswer]("GET /v1/ping")
BREAKERS = Route[BreakersAnswer]("GET /v1/breakers")
RESET_BREAKER = Route[BreakersAnswer]("POST /v1/breakers/reset")
