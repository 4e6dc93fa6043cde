"""The plan of a dispatch, which is resolved, judged by the gates and completed by a snapshot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from node_agent.wire.job import Reasoning
from node_agent.wire.policy import NO_RULES, Mode, NetworkAccess, Rules, Safety, find_narrowest
from node_agent.wire.skill import JobSkill
from pancode.agents import agents
from pancode.agents.endpoints import EndpointNeed
from pancode.agents.model_profiles import ModelPlace
from pancode.agents.models import ModelRef
from pancode.agents.runtimes import RuntimeKind, model_for
from pancode.agents.tiers import Tiered
from pancode.budget.books import Amount
from pancode.budget.track_record_rules import Exploration
from pancode.kernel.declared import to_json
from pancode.kernel.errors import with_fix
from pancode.kernel.ports import SnapshotTaken
from pancode.kernel.records import NextAttempt, Run, TurnTaking
from pancode.kernel.rows import Facet, dump_facets
from pancode.kernel.states import LandRule
from pancode.kernel.visitors import token_behind
from pancode.runs.admission import request_rules
from pancode.runs.facts import (
    Approvals,
    Caller,
    FleetLead,
    GateTerms,
    LandingTerms,
    Lineage,
    Messages,
    ModelChoice,
    Provision,
    SessionTurn,
)
from pancode.runs.life.inbox import ItemKind
from pancode.runs.placement.candidates import Candidate, NodeRequirements
from pancode.runs.request import Defaults, DispatchRequest, Project


@dataclass(frozen=True, slots=True)
class RunLimits:
    """The limits of a run; None: no limit of that kind."""

    wall_ms: int
    idle_ms: int
    output_bytes: int
    tokens: int | None = None
    usd: Decimal | None = None
    requests: int | None = None
    wrap_up: bool = False
    memory_bytes: int | None = None
    processes: int | None = None
    disk_bytes: int | None = None
    turns: int | None = None


@dataclass(frozen=True, slots=True)
class GateVerdict:
    """One gate's verdict. `warning`: the gate lets the run pass, but `words` names something to check."""

    gate: str
    passed: bool
    words: str
    fix: str = ""
    warning: bool = False
    code: str = ""
    """A specific code of the refusal, for interfaces that can act on it; empty: the code of its gate."""
    lifts: str = ""
    """The kind of inbox item (`ItemKind`) with which a user may lift this refusal; empty: not possible."""
    until_ms: int | None = None
    """The time at which the refusal ends by itself; None: it does not end by itself."""


def make_pass(gate: str, words: str) -> GateVerdict:
    return GateVerdict(gate, True, words)


def make_warning(gate: str, words: str, fix: str = "") -> GateVerdict:
    return GateVerdict(gate, True, words, fix, warning=True)


def make_refusal(gate: str, words: str, fix: str, code: str = "", lifts: str = "") -> GateVerdict:
    return GateVerdict(gate, False, words, fix, code=code, lifts=lifts)


def asks_for(verdicts: Sequence[GateVerdict]) -> str:
    """Return the kind of inbox item for these verdicts: a budget or policy exception, else a dispatch."""
    lifted = {verdict.lifts for verdict in verdicts if not verdict.passed}
    found = (kind for kind in (ItemKind.BUDGET, ItemKind.POLICY) if kind.value in lifted)
    return next(found, ItemKind.DISPATCH).value


def list_objections(verdicts: Sequence[GateVerdict]) -> tuple[str, ...]:
    """Return the objections of the gates, as text, that a user may lift."""
    return tuple(f"{one.gate}: {one.words}" for one in verdicts if not one.passed)


LEFT_OUT = "left out"


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """A timeline entry for a run that does not exist yet, as the arguments of `Work.tell`."""

    kind: str
    what: str
    verdict: str
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LaidInput:
    """Files that are added to a run's checkout and are part of no result. `origin`: the commit without them;
    `text`: the sentence about them in the agent's prompt."""

    snapshot: SnapshotTaken
    origin: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class ToldPrompt:
    """The prompt of a run; all fields are empty for a user's own command."""

    text: str = ""
    tokens: Mapping[str, int] = field(default_factory=dict)
    """Estimated tokens of the known parts of the first model call: system, tools, task and context."""
    left_out: tuple[str, ...] = ()
    """Notes on parts that the prompt omits because the model's context window is small."""
    notes: tuple[str, ...] = ()
    """The earlier runs whose notes are in the prompt."""


def requires_sandbox(
    request: DispatchRequest, agent: agents.Agent, rules: Rules, runtime: RuntimeKind
) -> bool:
    """Whether the run must be sandboxed, as requested or because only that can restrict its network."""
    closed = find_narrowest(rules.network) is not NetworkAccess.MACHINE
    return request.walled or runtime.chosen or agent.isolations is agents.AgentIsolation.CONTAINER or closed


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan of a run: a request that was resolved, then judged by the gates, then given its snapshot."""

    request: DispatchRequest
    defaults: Defaults
    own: Project
    """The settings of the repository's own pancode.yaml."""
    agent: agents.Agent
    runtime: RuntimeKind
    ref: ModelRef | None
    """The model, with its provider and node if known; None: the runtime's default."""
    reasoning: Reasoning | None
    wanted: EndpointNeed | None
    """What the run needs from an endpoint; None: its model is not at an endpoint of the fleet."""
    unasked: Reasoning | None
    """The reasoning level of the settings, if the runtime does not support it."""
    unlisted: str
    """The warning that the vendor's list lacks the model; empty: no warning."""
    mode: Mode
    safety: Safety
    prompt: ToldPrompt
    limits: RunLimits
    gates: tuple[tuple[str, ...], ...]
    reports: tuple[str, ...]
    """Paths of the report files that the gates write."""
    workspace: str
    needs: NodeRequirements
    candidates: tuple[Candidate, ...]
    due: Amount
    """The amount that the first attempt reserves."""
    max_attempts: int | None
    verify_retries: int
    rules: Rules = NO_RULES
    chosen: str = ""
    """Why this agent was chosen; empty: it was named."""
    tiered: Tiered | None = None
    """The tier of the run's model; None: the runtime's default model, whose tier is unknown."""
    free: bool = False
    """Whether the run's endpoint is known to be free of charge, so that no USD are reserved."""
    trusted: tuple[str, ...] = ()
    """The nodes on which the run's model has passed its test."""
    model_from: str = ""
    """Who chose the run's model; empty for the runtime's default model."""
    other: Mapping[str, object] = field(default_factory=dict)
    """The run's fields at another provider, to which a rate limit may move it; empty: it is not moved."""
    approval: str = ""
    """The kind of inbox item with which the run waits for a user before it begins; empty: no wait."""
    objections: tuple[str, ...] = ()
    """The gates' objections that a user may lift."""
    skills: tuple[JobSkill, ...] = ()
    timeline: tuple[TimelineEntry, ...] = ()
    """Further timeline entries of the run, in order; they follow the verdicts."""
    verdicts: tuple[GateVerdict, ...] = ()
    untested: tuple[ModelPlace, ...] = ()
    """The model servers of which at least one must be tested first."""
    costly: bool = False
    """Whether the test of a model server costs money."""
    remarks: tuple[str, ...] = ()
    """Remarks on what is unknown about the run's model."""
    outranked: tuple[str, ...] = ()
    """Warnings about environment variables of this command that a preset overrides."""
    snapshot: SnapshotTaken | None = None
    """The snapshot of files with which the run begins; None: not taken yet, or the run has no project."""
    inputs: tuple[LaidInput, ...] = ()
    """The files that features added to the checkout, each on top of the previous snapshot."""

    @property
    def needs_sandbox(self) -> bool:
        """Whether the run must be sandboxed."""
        return requires_sandbox(self.request, self.agent, self.rules, self.runtime)

    @property
    def preset_warning(self) -> str:
        """Return a warning if only a preset raised the run's safety level; else empty."""
        return "" if self.request.safety is not None else self.defaults.raised

    @property
    def more_usd(self) -> str:
        """Return the USD that a user is asked to add if an interactive run's cap cuts a turn; empty if nobody
        is asked."""
        asks_for_money = self.request.turns and (self.request.on_cap or self.defaults.on_cap) == "ask"
        return f"{self.defaults.sitting_usd:f}" if asks_for_money else ""

    @property
    def setup(self) -> tuple[tuple[str, ...], ...]:
        return self.own.setup if self.workspace == "git" else ()

    @property
    def cache(self) -> tuple[str, ...]:
        return self.own.cache if self.workspace == "git" else ()

    @property
    def secrets(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.own.secrets, *self.agent.secrets)))

    @property
    def on_lost(self) -> str:
        return self.request.on_lost or self.defaults.on_lost

    @property
    def allowed_files(self) -> tuple[str, ...]:
        """Return patterns of untracked files to include although their names usually indicate secrets."""
        return ("*",) if self.request.secret_files else self.defaults.allowed_files

    @property
    def lands(self) -> bool:
        """Whether the settings have the run's result landed. Children and token runs must request it."""
        request, agent = self.request, self.agent
        if self.defaults.land is not LandRule.WHEN_PASSED or self.workspace != "git" or not self.gates:
            return False
        own = request.depth == 0 and request.parent is None and token_behind(request.created_by) is None
        return own and not agent.read_only and agent.autonomy is agents.Autonomy.AUTONOMOUS

    @property
    def only_looks(self) -> bool:
        """Whether the run's agent changes no files; false for a user's own command."""
        return self.agent.read_only and not self.runtime.own

    @property
    def talks(self) -> bool:
        """Whether the run is a user's own conversation. It may begin in every mode and at every safety level,
        as these only restrict what its agent may do; what its agent dispatches is judged as a child run."""
        return bool(self.request.turns) and self.request.parent is None

    @property
    def model(self) -> str | None:
        """Return the model's name in the form that the runtime uses."""
        return None if self.ref is None else model_for(self.ref, self.runtime)

    @property
    def project(self) -> str | None:
        return self.request.project if self.workspace == "git" else None

    @property
    def warnings(self) -> tuple[str, ...]:
        """Return the warnings for the user who dispatched the run."""
        own = self.runtime.own  # Users know that nothing restricts their own command.
        seen = [one for one in self.verdicts if one.warning and not (own and one.gate == "safety")]
        warned = [with_fix(one.words, one.fix) for one in seen]
        taken = self.snapshot.warnings if self.snapshot is not None else ()
        return (
            *self.defaults.misnamed,
            *self.outranked,
            *warned,
            *self.remarks,
            *self.skills_left_out,
            *taken,
        )

    @property
    def skills_left_out(self) -> tuple[str, ...]:
        """Return why skills of the project or of the agent are omitted, one text each."""
        lines = (one for one in self.timeline if (one.kind, one.verdict) == ("skills", LEFT_OUT))
        return tuple(words for one in lines for words in one.words)

    def at(self, snapshot: SnapshotTaken) -> Plan:
        """Return the plan with this snapshot, which also defines a scout's file tree and folder."""
        request = self.request
        looks = {**request.scouts, "tree": snapshot.tree, "folder": request.folder} if request.scouts else {}
        return replace(self, request=replace(request, repo=snapshot.repo, scouts=looks), snapshot=snapshot)

    def within(self, usd: Decimal | None) -> Plan:
        """Return the plan with a USD limit of at most this amount; None: unchanged."""
        if usd is None or self.limits.usd is None or self.limits.usd <= usd:
            return self
        due = replace(self.due, usd=min(self.due.usd, usd))
        return replace(self, limits=replace(self.limits, usd=usd), due=due)

    @property
    def place(self) -> dict[str, object]:
        """Return the run's workspace as it is stored and sent."""
        if self.snapshot is None:
            return {"kind": "none"}
        return {
            "kind": "git",
            "repo": self.snapshot.repo,
            "base": self.snapshot.base,
            "snapshot": self.snapshot.snapshot,
            "object_format": self.snapshot.object_format,
            "folder": self.request.folder,
        }

    def run(self, run: str, created_ms: int, trace: str, workspace: dict[str, object]) -> Run:
        """Return the run to queue. `workspace`: as returned by `place`."""
        request = self.request
        return Run(
            id=run,
            created_ms=created_ms,
            created_by=request.created_by,
            task="".join((request.task, *(one.text for one in self.inputs))),
            argv=request.argv,
            agent=self.agent.name,
            prompt=self.prompt.text,
            tools=self.agent.tools,
            read_only=self.agent.read_only,
            runtime=self.runtime.name,
            model=self.model,
            asked_model=None if self.ref is None else self.ref.text,
            reasoning=self.reasoning,
            mode=self.mode,
            safety=self.safety,
            told_only=request.told_only,
            untested=request.untested and self.wanted is not None,
            node=request.node,
            require=dict(request.require),
            gpus=request.gpus,
            gpu_memory=request.gpu_memory,
            priority=request.priority,
            project=self.project,
            workspace=workspace,
            setup=self.setup,
            cache=self.cache,
            gates=tuple({"name": " ".join(argv), "argv": list(argv)} for argv in self.gates),
            limits=to_json(self.limits),
            env=self.needs.env,
            secrets=self.secrets,
            depth=request.depth,
            estimate_usd=self.due.usd,
            estimate_tokens=self.due.tokens,
            estimate_ms=self.due.ms,
            on_lost=self.on_lost,
            max_attempts=self.max_attempts,
            trace=trace,
            retry_of=request.retry_of,
            parent=request.parent,
            land=request.land or self.lands,
            endpoint=None if self.wanted is None else self.wanted.endpoint,
            context=None if self.wanted is None else self.wanted.context,
            rules=self.rules.model_dump(mode="json"),
            terms=dump_facets(self._make_facets()),
            session=request.session or (run if request.turns else ""),
        )

    def _make_facets(self) -> Iterator[Facet]:
        """Yield the run's facets: facts without a field of their own, such as its caller and endpoint."""
        request, begins = self.request, self.request.begins
        sampling = None if self.runtime.own else self.agent.sampling
        payer = "" if request.turns else request.charged_to
        named = f"{request.budget:f}" if payer and request.budget is not None else ""
        yield Caller(payer, named, request.preset, request.caller_settings)
        yield Lineage(
            continues=request.continues or None,
            begins="" if begins is None else begins.run,
            carries=begins is not None and begins.carries,
            origin=self.inputs[0].origin if self.inputs else str(request.resolves.get("origin", "")),
            resolves=request.resolves,
            recovers=request.recovers,
            in_workspace=request.in_workspace,
        )
        yield NextAttempt(request.resume)
        yield Provision(
            walled=self.needs_sandbox,
            confined=int(request.confined),
            sampling={} if sampling is None else sampling.model_dump(mode="json"),
            cache_key=self.own.cache_key,
            ports=self.own.ports,
            copied=self.own.copied if self.workspace == "git" else "",
            allowed_files=self.allowed_files,
            notes=self.prompt.notes,
            skills=tuple(one.model_dump(mode="json") for one in self.skills),
            scouts=request.scouts,
        )
        trusted = None if self.wanted is None else self.trusted
        yield ModelChoice(self.free, trusted, self.model_from, other=self.other)
        yield Exploration(self.defaults.explore)
        score = tuple(request_rules.choose_score(request))
        first = request.check_gates_first
        reads = self.own.reads if self.gates and request.verify is None else ()
        yield GateTerms(self.reports or None, reads, score, self.verify_retries, first)
        autonomy = "" if self.agent.autonomy is agents.Autonomy.AUTONOMOUS else self.agent.autonomy.value
        yield LandingTerms(self.lands, autonomy)
        yield Approvals(self.approval, objections=self.objections)
        yield Messages(answers=request.answers or "", program=request.program)
        yield TurnTaking(request.turns)
        yield SessionTurn(
            story=request.story,
            rounds=request.rounds,
            more_usd=self.more_usd,
            by_itself=request.by_itself,
            past_cap=request.past_cap,
        )
        tools = agents.fleet_tools_of(self.agent, self.mode, self.runtime.name, bool(request.turns))
        yield FleetLead(tuple(tools))
