"""API shapes of agents, models, model servers and agent programs."""

from typing import Any, NotRequired

from typing_extensions import TypedDict

from pancode.kernel.route import Route


class GradeShape(TypedDict):
    """One check of a model's test: passed, failed or unknown."""

    check: str
    grade: str
    words: str
    fix: str
    says: str
    """Advice from the node itself, in the form `NODE says: ...`."""


class PassportShape(TypedDict):
    """The result of a model's test; `passed` None: the model in its present state was not tested. `ctx`:
    context window of a call, in tokens."""

    passed: bool | None
    checks: list[GradeShape]
    ctx: int | None
    taken_at: str | None


class ModelTestFact(TypedDict):
    """A model's test as reported by its node."""

    taken_ms: int
    took_ms: int
    checks: list[GradeShape]
    ctx: int | None


class ModelFacts(TypedDict):
    """What a node reports about a model."""

    id: str
    family: str | None
    parameters: int | None
    quantisation: str | None
    ctx_usable: int | None
    ctx_max: int | None
    residence: str | None
    size: int | None
    vram: int | None
    slots: int | None
    tools: bool | None
    vision: bool | None
    embedding: bool
    remote: bool
    digest: str | None


class EndpointModel(ModelFacts):
    """A model as its server reports it, with its test."""

    passport: ModelTestFact | None


class ModelShape(ModelFacts):
    """A model of an endpoint. `tier`: its capability, null if unknown; `tier_why`: the reason."""

    node: str
    endpoint: str
    ref: str
    tier: str | None
    tier_why: str
    passport: PassportShape


class EndpointShape(TypedDict):
    """A model server that a node reaches. `more`: how many models its heartbeat omits. `waiting`: calls in
    the server's queue; null: not reported. `says`: advice from the node itself."""

    name: str
    dialect: str
    at: str
    version: str | None
    health: str
    words: str
    fix: str
    says: str
    slots: int | None
    slots_free: int | None
    waiting: int | None
    wires: list[str]
    free: bool
    age_ms: int
    models: list[EndpointModel]
    more: int


class NodeEndpoint(EndpointShape):
    """A model server, and the node that reaches it."""

    node: str


class EndpointsAnswer(TypedDict):
    endpoints: list[NodeEndpoint]


class ModelsAnswer(TypedDict):
    models: list[ModelShape]


class ModelTestAsked(TypedDict):
    """A requested test of a model, as its node reports it."""

    ask: str
    endpoint: str
    model: str
    state: str
    words: str
    fix: str
    says: str


class RuntimeTold(TypedDict):
    """A program that runs agents, as its node reports it. `can`: the features that the program supports.
    `login`: how it is paid for. `says`: advice from the node itself."""

    name: str
    version: str | None
    state: str
    fix: str
    says: str
    no_turns: str
    can: list[str]
    login: str
    brought: str


class RuntimeFacts(RuntimeTold):
    """An agent program on a node. `endpoints`: the node's model servers that it can use; `served`: with them
    it needs no login. `old`: a node with a newer version, and the update command; empty: up to date."""

    endpoints: list[str]
    served: bool
    old: str


class NodeRuntime(RuntimeFacts):
    node: str


class RuntimeShape(TypedDict):
    """A program that runs agents, and the nodes that report it."""

    name: str
    nodes: list[NodeRuntime]
    reasoning: list[str]
    takes_turns: bool
    installable: bool


class IsolationShape(TypedDict):
    """What isolates the runs of a node."""

    node: str
    isolation: str | None
    holds: str


class RuntimesAnswer(TypedDict):
    runtimes: list[RuntimeShape]
    isolations: list[IsolationShape]


class ModeShape(TypedDict):
    name: str
    dispatches: bool
    writes: bool
    tools: list[str]
    """The fleet tools of Panos in this mode."""
    default: bool


class ModesAnswer(TypedDict):
    modes: list[ModeShape]


class LevelShape(TypedDict):
    name: str
    allows: list[str]
    default: bool


class HeldShape(TypedDict):
    """How a rule is enforced on a runtime, with a sandbox and without."""

    runtime: str
    rule: str
    with_sandbox: str
    without: str


class SafetyAnswer(TypedDict):
    safety: list[LevelShape]
    matrix: list[HeldShape]


class EvidenceShape(HeldShape):
    """How many forbidden acts were tried, and those that were not prevented, with a sandbox and without."""

    version: str | None
    tried: int
    happened_with: list[str]
    happened_without: list[str]


class EvidenceAnswer(TypedDict):
    """`acts`: for one runtime, each act with what prevented it, by rule."""

    matrix: list[EvidenceShape]
    measured: str
    acts: NotRequired[list[dict[str, str]]]


class RunPromptAnswer(TypedDict):
    """The prompt as dispatched. The receipt's digest also covers what the node adds (AGENTS.md)."""

    run: str
    agent: str
    digest: str
    text: str


class AgentShape(TypedDict):
    """An agent's definition; field names as in panagents.yaml where the code's differ. `own`: by a user."""

    name: str
    description: str
    prompt: str
    tools: list[str]
    read_only: bool
    tier: str
    speed: str
    runtime: str | None
    node: str | None
    model: str | None
    reasoning: str | None
    limits: dict[str, Any]
    max_attempts: int | None
    gpus: str | None
    gpu_memory: int | None
    env: list[str]
    secrets: list[str]
    skills: list[str]
    tags: list[str]
    sampling: dict[str, Any] | None
    network: str | None
    enabled: bool
    autonomy: str
    origin: str
    own: bool
    role: str
    isolation: str


class PromptPiece(TypedDict):
    """A part of a prompt, and its category."""

    category: str
    text: str


class AgentsAnswer(TypedDict):
    """Agent definitions. `talks`: the agent that a user talks with by default; null: a user disabled it."""

    agents: list[AgentShape]
    talks: str | None


class PromptAnswer(TypedDict):
    agent: str
    mode: str
    safety: str
    runtime: str
    digest: str
    window: int | None
    """Context window of the named model in tokens; null: unknown, so nothing is omitted."""
    tokens: dict[str, int]
    left_out: list[str]
    pieces: list[PromptPiece]


ENDPOINTS = Route[EndpointsAnswer]("GET /v1/endpoints")
MODELS = Route[ModelsAnswer]("GET /v1/models")
RUNTIMES = Route[RuntimesAnswer]("GET /v1/runtimes")
MODES = Route[ModesAnswer]("GET /v1/modes")
SAFETY = Route[SafetyAnswer]("GET /v1/safety")
EVIDENCE = Route[EvidenceAnswer]("GET /v1/safety/evidence")
AGENTS = Route[AgentsAnswer]("GET /v1/agents")
PROMPT = Route[PromptAnswer]("GET /v1/agents/{agent}/prompt")
RUN_PROMPT = Route[RunPromptAnswer]("GET /v1/runs/{run}/prompt")
