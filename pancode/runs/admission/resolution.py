"""Resolves a request into the run that would be queued: agent, runtime, limits, gates, nodes, estimate."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, TypeVar

from node_agent.wire.order import Reasoning
from node_agent.wire.policy import NO_RULES, Mode, NetworkAccess, Rules, Safety, narrowest
from pancode.agents import agents
from pancode.agents.endpoints import EndpointNeed, context_of, costs_nothing, endpoint_of
from pancode.agents.model_profiles import Needs
from pancode.agents.models import ModelRef
from pancode.agents.prompt_fit import fitted, window_of
from pancode.agents.prompts import Situation, tokens_of
from pancode.agents.runtimes import OUR_OWN, RUNTIMES, RuntimeKind, canonical, model_for
from pancode.agents.tiers import Tiered, tier_of
from pancode.budget.books import Amount
from pancode.budget.track_record_rules import EXPLORE, Exploration
from pancode.kernel.errors import PancodeError
from pancode.kernel.facets import Facet, NextAttempt, TurnTaking, written
from pancode.kernel.records import Run
from pancode.kernel.states import LandRule
from pancode.kernel.visitors import token_behind
from pancode.runs.admission import request_rules
from pancode.runs.admission.limits import RunLimits, run_limits
from pancode.runs.admission.model_choice import (
    is_worker_named,
    model_from,
    pinned,
    reasoning_for,
    runtime_and_model,
    unlisted,
)
from pancode.runs.facets import Approvals, GateTerms, LandingTerms, Lineage, ModelChoice, Provision, Words
from pancode.runs.life.turns import Caller, FleetLead, SessionTurn
from pancode.runs.placement.candidates import Candidate, NodeRequirements, candidates, tier_at, trusted_at
from pancode.runs.placement.gpus import need_of
from pancode.runs.request import (
    NO_SKILLS,
    Catalogue,
    Defaults,
    DispatchRequest,
    GivenNote,
    GivenSkills,
)


def estimate(
    request: DispatchRequest,
    catalogue: Catalogue,
    worker: tuple[str, RuntimeKind, str | None],
    limits: RunLimits,
) -> Amount:
    """Estimate the cost in each currency, at most the run's own limit; a sitting holds that limit whole. A
    user's own program asks no model.
    """
    (agent, runtime, model), defaults = worker, catalogue.defaults
    if runtime.own:
        return Amount(_own_cost(request, limits.usd), 0, min(defaults.estimate_ms, limits.wall_ms))
    found = catalogue.expect and catalogue.expect(agent, runtime.name, model, request.task)
    usd = defaults.estimate_usd if found is None or found.usd is None else found.usd
    unknown = Amount(ms=defaults.estimate_ms, tokens=defaults.estimate_tokens)
    usual = unknown if found is None or not found.amount.tokens else found.amount
    tokens = usual.tokens if limits.tokens is None else min(usual.tokens, limits.tokens)
    if limits.usd is not None:
        usd = limits.usd if request.turns else min(usd, limits.usd)
    return Amount(usd, tokens, min(usual.ms, limits.wall_ms))


def evidence(
    request: DispatchRequest, catalogue: Catalogue, worker: tuple[str, RuntimeKind, str | None]
) -> str:
    """Return the earlier runs behind the estimate, in words; empty: the estimate is a setting."""
    agent, runtime, model = worker
    if runtime.own or request.turns or catalogue.expect is None:
        return ""
    found = catalogue.expect(agent, runtime.name, model, request.task)
    return "" if found is None else found.words


def _known(
    request: DispatchRequest, catalogue: Catalogue, worker: tuple[str, RuntimeKind, str | None]
) -> dict[str, Any]:
    """Return what earlier runs say of the run's cost and of its worker, in words."""
    agent, runtime, model = worker
    figure = None if runtime.own or request.turns else catalogue.figure
    record = "" if figure is None else figure(agent, runtime.name, model, request.task)
    return {"expected": evidence(request, catalogue, worker), "record": record}


def is_free(wanted: EndpointNeed | None, catalogue: Catalogue) -> bool:
    """Whether the run uses the fleet's own endpoint and costs nothing; placement checks its node again."""
    return wanted is not None and costs_nothing(catalogue.nodes, wanted.endpoint, wanted.model)


def _own_cost(request: DispatchRequest, cap: Decimal | None) -> Decimal:
    """Return what a user's own program costs: nothing unless the user says what it may cost."""
    return min(request.budget, cap or request.budget) if request.budget is not None else Decimal(0)


def is_walled_by(request: DispatchRequest, agent: agents.Agent, rules: Rules, runtime: RuntimeKind) -> bool:
    """Whether the run works only in a sandbox: it asks for one, or only a sandbox can hold its network."""
    closed = narrowest(rules.network) is not NetworkAccess.MACHINE
    return request.walled or runtime.chosen or agent.walls is agents.Walls.CONTAINER or closed


def narrowed(rules: Rules, *networks: NetworkAccess | None) -> Rules:
    """The rules with the narrowest of these networks."""
    every = [one for one in networks if one is not None]
    return rules.model_copy(update={"network": narrowest(*every)}) if every else rules


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Resolution:
    """Everything that is decided about a run before its admission."""

    request: DispatchRequest
    agent: agents.Agent
    runtime: RuntimeKind
    ref: ModelRef | None
    """The model, with its provider and node if the request names them; None: the runtime's own."""
    reasoning: Reasoning | None
    wanted: EndpointNeed | None
    """What the run needs of an endpoint; None: its model is not on one."""
    unasked: Reasoning | None
    """The level of reasoning in the settings that the runtime does not know."""
    unlisted: str
    """The warning that the vendor's list lacks the model; empty: none."""
    mode: Mode
    safety: Safety
    prompt: str
    limits: RunLimits
    setup: tuple[tuple[str, ...], ...]
    cache: tuple[str, ...]
    gates: tuple[tuple[str, ...], ...]
    reports: tuple[str, ...]
    """The files in which the gates report."""
    workspace: str
    candidates: tuple[Candidate, ...]
    due: Amount
    """What the first attempt holds."""
    env: tuple[str, ...]
    secrets: tuple[str, ...]
    on_lost: str
    max_attempts: int | None
    verify_retries: int
    verify_on: str | None = None
    """The node that runs the gates again; None: no node."""
    cache_key: tuple[str, ...] = ()
    """Patterns of the files that decide whether what set-up makes is put back; empty: all files."""
    land: LandRule = LandRule.ASK
    lands: bool = False
    """Whether the settings land the run's result, without a request."""
    rules: Rules = NO_RULES
    raised: str = ""
    """Says that a preset alone has raised the run's safety; empty: none has."""
    chosen: str = ""
    """Why this agent was chosen, where nobody named one."""
    tiered: Tiered | None = None
    """The tier of the run's model; None: the runtime's own model, about which nothing is known."""
    strict_tiers: bool = False
    allowed_files: tuple[str, ...] = ()
    """Patterns of untracked files that travel although their names usually mean secrets."""
    expected: str = ""
    """The earlier runs behind the estimate, in words; empty: the estimate is a setting."""
    explore: float = EXPLORE
    more_usd: str = ""
    """The USD that a person is asked for where a sitting's cap cuts a turn; empty: nobody is asked."""
    free: bool = False
    """Whether the run's endpoint costs nothing, as far as is known: no money is held."""
    trusted: tuple[str, ...] = ()
    """The nodes on which the run's model has passed its test."""
    model_from: str = ""
    """Says who chose the run's model; empty for the runtime's own."""
    other: Mapping[str, object] = field(default_factory=dict)
    """The fields of the run at another provider, to which a rate limit may move it; empty: it stays."""
    asks: str = ""
    """The kind of inbox item under which the run waits for a person before it begins; empty: it begins."""
    objections: tuple[str, ...] = ()
    """The gates' objections that a person may lift."""
    record: str = ""
    """How well the worker did such tasks before, in words; empty for a user's own program and a sitting."""
    tokens: Mapping[str, int] = field(default_factory=dict)
    """The estimated tokens of the known parts of the first call: system, tools, task, context."""
    notes: tuple[str, ...] = ()
    """The earlier runs whose notes are in the prompt."""
    left_out: tuple[str, ...] = ()
    """The parts that the prompt leaves out because the model's window is small, in words."""
    project_says: str = ""
    """The project to which the repository belongs, and what that project sets, in words."""
    skills: GivenSkills = NO_SKILLS

    @property
    def walled(self) -> bool:
        """Whether the run works only in a sandbox."""
        return is_walled_by(self.request, self.agent, self.rules, self.runtime)

    @property
    def talks(self) -> bool:
        """Whether the run is a person's own conversation: mode and level only narrow what its agent may do.

        So it begins in every mode and at every level; whatever it dispatches is judged as a run's child.
        """
        return bool(self.request.turns) and self.request.parent is None

    @property
    def model(self) -> str | None:
        """The model's name as the runtime takes it."""
        return None if self.ref is None else model_for(self.ref, self.runtime)

    @property
    def project(self) -> str | None:
        return self.request.project if self.workspace == "git" else None

    def run(self, run: str, created_ms: int, trace: str, workspace: dict[str, object]) -> Run:
        """Return the run to queue. `workspace`: in wire form, after the snapshot was taken."""
        asked = self.request
        return Run(
            id=run,
            created_ms=created_ms,
            created_by=asked.created_by,
            task=asked.task,
            argv=asked.argv,
            agent=self.agent.name,
            prompt=self.prompt,
            tools=self.agent.tools,
            read_only=self.agent.read_only,
            runtime=self.runtime.name,
            model=self.model,
            asked_model=None if self.ref is None else self.ref.text,
            reasoning=self.reasoning,
            mode=self.mode,
            safety=self.safety,
            told_only=asked.told_only,
            untested=asked.untested and self.wanted is not None,
            node=asked.node,
            require=dict(asked.require),
            gpus=asked.gpus,
            gpu_memory=asked.gpu_memory,
            priority=asked.priority,
            project=self.project,
            workspace=workspace,
            setup=self.setup,
            cache=self.cache,
            gates=tuple({"name": " ".join(argv), "argv": list(argv)} for argv in self.gates),
            limits=self.limits.plain(),
            env=self.env,
            secrets=self.secrets,
            depth=asked.depth,
            estimate_usd=self.due.usd,
            estimate_tokens=self.due.tokens,
            estimate_ms=self.due.ms,
            on_lost=self.on_lost,
            max_attempts=self.max_attempts,
            trace=trace,
            retry_of=asked.retry_of,
            parent=asked.parent,
            land=asked.land or self.lands,
            endpoint=None if self.wanted is None else self.wanted.endpoint,
            context=None if self.wanted is None else self.wanted.context,
            rules=self.rules.model_dump(mode="json"),
            terms=written(self._facets()),
            session=asked.session or (run if asked.turns else ""),
        )

    def _facets(self) -> Iterator[Facet]:
        """Yield what no other field of a run holds: facts about its agent, and its endpoint at that time."""
        asked, begins = self.request, self.request.begins
        sampling = None if self.runtime.own else self.agent.sampling
        payer = "" if asked.turns else asked.charged_to
        named = f"{asked.budget:f}" if payer and asked.budget is not None else ""
        yield Caller(payer, named, asked.preset, asked.caller_settings)
        yield Lineage(
            continues=asked.continues or None,
            begins="" if begins is None else begins.run,
            carries=begins is not None and begins.carries,
            origin=str(asked.resolves.get("origin", "")),
            resolves=asked.resolves,
            recovers=asked.recovers,
            in_step=asked.in_step,
            in_workspace=asked.in_workspace,
        )
        yield NextAttempt(asked.resume)
        yield Provision(
            walled=self.walled,
            sampling={} if sampling is None else sampling.model_dump(mode="json"),
            cache_key=self.cache_key,
            allowed_files=self.allowed_files,
            notes=self.notes,
            skills=tuple(one.model_dump(mode="json") for one in self.skills.ordered),
            scouts=asked.scouts,
        )
        trusted = None if self.wanted is None else self.trusted
        yield ModelChoice(self.free, trusted, self.model_from, other=self.other)
        yield Exploration(self.explore)
        score = tuple(request_rules.score(asked))
        yield GateTerms(self.reports or None, score, self.verify_retries, self.verify_on or None)
        verified = self.land is LandRule.WHEN_VERIFIED and bool(self.verify_on)
        yield LandingTerms(self.lands, verified, _autonomy(self.agent))
        yield Approvals(self.asks, objections=self.objections)
        yield Words(answers=asked.answers or "", program=asked.program)
        yield TurnTaking(asked.turns)
        yield SessionTurn(
            story=asked.story,
            rounds=asked.rounds,
            more_usd=self.more_usd,
            by_itself=asked.by_itself,
            past_cap=asked.past_cap,
        )
        tools = agents.fleet_tools_of(self.agent, self.mode, self.runtime.name, bool(asked.turns))
        yield FleetLead(tuple(tools))


@dataclass(frozen=True, slots=True)
class Unresolved:
    """All problems of the request, the first one first: usage errors (exit 2) and unknown names (exit 4)."""

    problems: tuple[PancodeError, ...]

    @property
    def error(self) -> PancodeError:
        """The first problem."""
        return self.problems[0]


def resolve(request: DispatchRequest, catalogue: Catalogue) -> Resolution | Unresolved:
    """Decide everything that needs no judgement; flags rank above agent, project and fleet, in order."""
    problems: list[PancodeError] = []
    choice = _try(problems, lambda: _agent(request, catalogue))
    agent = None if choice is None else choice.agent
    if agent is not None and agent.node is not None and request.node is None:
        request = replace(request, node=agent.node)
    if request.node is None:  # a machine that is named takes the place of a project's labels
        request = replace(request, require={**catalogue.defaults.require, **request.require})
    request = request_rules.with_gpus(request, agent, catalogue.defaults)
    _try(problems, lambda: request_rules.check_node(request, catalogue))
    _try(problems, lambda: request_rules.check_options(request))
    workspace = _try(problems, lambda: request_rules.workspace(request))
    if agent is not None:
        _try(problems, lambda: request_rules.check_lead(request, agent))
    if agent is not None and workspace is not None:
        _try(problems, lambda: request_rules.check_worktree(agent, workspace))
    gates = _try(problems, lambda: request_rules.gates(request, catalogue, workspace))
    _try(problems, lambda: request_rules.score(request))
    _try(problems, lambda: request_rules.reports(request, catalogue, gates))
    found = None if agent is None else _try(problems, lambda: runtime_and_model(request, agent, catalogue))
    if gates is not None:
        _try(problems, lambda: request_rules.verify_on(request, catalogue, gates, workspace))
        _try(problems, lambda: request_rules.check_rounds(request, gates))
    runtime, ref = found if found is not None else (None, None)
    if runtime is not None and runtime.name != "shell" and request.argv is not None:
        request = request_rules.as_task(request)
    if runtime is not None:
        _try(problems, lambda: request_rules.check_argv(request, runtime))
        _try(problems, lambda: request_rules.check_network(request, agent, catalogue, runtime))
        _try(problems, lambda: request_rules.check_calls(request, runtime))
        _try(problems, lambda: request_rules.check_turns(request, runtime))
    thinks = agent and runtime and _try(problems, lambda: reasoning_for(request, agent, runtime, catalogue))
    skills = agent and runtime and _try(problems, lambda: _skills(agent, runtime, workspace, catalogue))
    if agent is not None:
        named_by = model_from(request, agent, catalogue)
        request = _try(problems, lambda: pinned(request, ref, named_by)) or request
    if problems or choice is None or runtime is None or workspace is None or gates is None:
        return Unresolved(tuple(problems))
    what = (runtime, ref, *(thinks or (None, None)))
    made = _put_together(request, catalogue, choice, what, (workspace, gates))
    return replace(made, skills=skills or NO_SKILLS)


def names_worker(request: DispatchRequest, catalogue: Catalogue) -> bool:
    """Whether somebody names a runtime or a model; also true for an unknown agent."""
    try:
        return is_worker_named(request, _agent(request, catalogue).agent, catalogue)
    except PancodeError:
        return True


def _skills(
    agent: agents.Agent, runtime: RuntimeKind, workspace: str | None, catalogue: Catalogue
) -> GivenSkills:
    """Return the run's skills, also where its runtime reads none: it may move to one that does."""
    if runtime.own:
        return NO_SKILLS
    found = catalogue.skills(workspace == "git", agent.skills)
    if runtime.skills or not agent.skills:
        return found if runtime.skills else replace(found, left_out=())
    words = f"runtime {runtime.name} reads no skills: {', '.join(agent.skills)} of agent {agent.name}"
    return replace(found, left_out=(words,))


def _agent(request: DispatchRequest, catalogue: Catalogue) -> agents.Choice:
    """Return the agent: named by request or settings, else chosen by the task's words; a script gets none
    so."""
    name = request.agent or catalogue.defaults.agent
    kind = RUNTIMES.get(canonical(request.runtime or catalogue.defaults.runtime or OUR_OWN))
    script = kind is not None and kind.own and (request.runtime is not None or request.model is None)
    if name is None and not script:
        mode = request.mode or catalogue.defaults.mode
        return agents.choose(catalogue.agents, request_rules.as_task(request).task, mode, catalogue.pick)
    return agents.Choice(agents.find_agent(catalogue.agents, name or agents.DEFAULT_AGENT))


def _put_together(
    request: DispatchRequest,
    catalogue: Catalogue,
    choice: agents.Choice,
    what: tuple[RuntimeKind, ModelRef | None, Reasoning | None, Reasoning | None],
    rest: tuple[str, tuple[tuple[str, ...], ...]],
) -> Resolution:
    agent, defaults, project = choice.agent, catalogue.defaults, catalogue.project
    (runtime, ref, reasoning, unasked), (workspace, gates) = what, rest
    mode, safety = request.mode or defaults.mode, request.safety or defaults.safety
    limits = run_limits(request, agent, catalogue.defaults, runtime)
    told = _told(request, catalogue, agent, (mode, safety, workspace), (runtime, ref))
    wanted = _wanted(request, ref, runtime, told.text, catalogue)
    needs = Needs(wanted.endpoint, wanted.model, agent.read_only) if wanted is not None else None
    free, need = is_free(wanted, catalogue), need_of(request.gpus, request.gpu_memory)
    worker = (agent.name, runtime, model_for(ref, runtime) if ref else None)
    due = estimate(request, catalogue, worker, limits)
    rules = narrowed(catalogue.rules, *request_rules.requested_networks(request, agent, catalogue))
    asked = (request.node, request.require, runtime.name, safety, request.repo)
    walled = is_walled_by(request, agent, rules, runtime)
    settled = _settled(request, agent, catalogue, gates, workspace)
    wish = NodeRequirements(*asked, wanted, walled, bool(request.turns), settled["env"], need)
    attempts = request.attempts or agent.max_attempts or defaults.max_attempts
    able = candidates(catalogue.nodes, wish)
    return Resolution(
        request=request,
        agent=agent,
        runtime=runtime,
        ref=ref,
        reasoning=reasoning,
        unasked=unasked,
        unlisted=unlisted(ref, runtime, catalogue.vendors),
        mode=mode,
        safety=safety,
        wanted=wanted,
        prompt=told.text,
        limits=limits,
        setup=project.setup if workspace == "git" else (),
        cache=project.cache if workspace == "git" else (),
        gates=gates,
        reports=request_rules.reports(request, catalogue, gates),
        workspace=workspace,
        candidates=able,
        due=replace(due, usd=Decimal(0)) if free else due,
        **_known(request, catalogue, worker),
        **settled,
        free=free,
        trusted=trusted_at(catalogue.nodes, needs),
        on_lost=request.on_lost or defaults.on_lost,
        max_attempts=attempts,
        verify_retries=request_rules.verify_retries(request, agent, runtime, attempts),
        rules=rules,
        chosen=choice.why,
        tiered=_tiered(ref, able, catalogue, needs),
        allowed_files=("*",) if request.secret_files else defaults.allowed_files,
        model_from=model_from(request, agent, catalogue) if ref is not None else "",
        tokens=told.tokens,
        left_out=told.left_out,
        notes=told.notes,
    )


@dataclass(frozen=True, slots=True)
class ToldPrompt:
    """The prompt of a run; all empty for a user's own program. The other fields are as in `Resolution`."""

    text: str = ""
    tokens: Mapping[str, int] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def _told(
    request: DispatchRequest,
    catalogue: Catalogue,
    agent: agents.Agent,
    how: tuple[Mode, Safety, str],
    what: tuple[RuntimeKind, ModelRef | None],
) -> ToldPrompt:
    """Return what the agent is told. A resumed session is not told again of the PRD and of earlier runs, but
    of how the one before it ended.
    """
    (mode, safety, workspace), (runtime, ref) = how, what
    if runtime.own:
        return ToldPrompt()
    before = (GivenNote(**request.before),) if request.before else ()
    notes = (*before, *(() if request.resume else catalogue.notes()))
    texts = tuple(note.text for note in notes)
    prd = catalogue.prd() if workspace == "git" and not request.resume else ""
    situation = Situation(mode, safety, runtime.name, catalogue.rules, bool(request.turns), texts, prd=prd)
    window = window_of(ref, endpoint_of(ref, catalogue.nodes), catalogue.nodes)
    made = fitted(agent, situation, request.task, window)
    tokens = tokens_of(made.prompt, request.task, catalogue.project.guide_chars if workspace == "git" else 0)
    return ToldPrompt(made.prompt.text, tokens, made.left_out, tuple(n.run for n in notes[: made.notes]))


def _settled(
    request: DispatchRequest,
    agent: agents.Agent,
    catalogue: Catalogue,
    gates: tuple[tuple[str, ...], ...],
    workspace: str,
) -> dict[str, Any]:
    """Return what follows from the settings: the share that explores, who verifies, what is landed, and the
    names of variables and secrets.
    """
    defaults, project = catalogue.defaults, catalogue.project
    on = request_rules.verify_on(request, catalogue, gates, workspace)
    asks = request.turns and (request.on_cap or defaults.on_cap) == "ask"
    more = {"more_usd": f"{defaults.sitting_usd:f}" if asks else ""}
    raised = "" if request.safety is not None else defaults.raised
    tries = {"explore": defaults.explore, "strict_tiers": defaults.strict_tiers}
    settings = {**more, **tries, "verify_on": on, "raised": raised}
    lands = _lands(request, agent, defaults, workspace, gates)
    says = defaults.project_says if request.retry_of is None else ""
    names = {
        "env": tuple(dict.fromkeys((*project.env, *agent.env))),
        "secrets": tuple(dict.fromkeys((*project.secrets, *agent.secrets))),
    }
    of_project = {"project_says": says, "cache_key": project.cache_key, **names}
    return {**settings, **of_project, "land": defaults.land, "lands": lands}


def _lands(
    request: DispatchRequest,
    agent: agents.Agent,
    defaults: Defaults,
    workspace: str,
    gates: tuple[object, ...],
) -> bool:
    """Whether the settings land the run's result. A run's child, and a run of a token, have to ask for it."""
    if defaults.land is not LandRule.WHEN_VERIFIED or workspace != "git" or not gates or agent.read_only:
        return False
    own = request.depth == 0 and request.parent is None and token_behind(request.created_by) is None
    return own and agent.autonomy is agents.Autonomy.AUTONOMOUS


def _autonomy(agent: agents.Agent) -> str:
    """Return the autonomy of an agent that lands nothing without a person's yes; empty: it may land."""
    free = agent.autonomy is agents.Autonomy.AUTONOMOUS
    return "" if free else agent.autonomy.value


def _tiered(
    ref: ModelRef | None, able: tuple[Candidate, ...], catalogue: Catalogue, needs: Needs | None
) -> Tiered | None:
    """Return the model's tier: of a model of the fleet by what its server says, of a vendor's by its name."""
    if ref is None:
        return None
    if needs is None:
        return tier_of(ref, overrides=dict(catalogue.defaults.tiers))
    return tier_at(ref, able, catalogue.nodes, needs, catalogue.defaults.tiers)


def _try(problems: list[PancodeError], part: Callable[[], T]) -> T | None:
    """Return the part's answer; None if it fails, with its problem noted, so that all show at once."""
    try:
        return part()
    except PancodeError as problem:
        problems.append(problem)
        return None


def _wanted(
    request: DispatchRequest, ref: ModelRef | None, runtime: RuntimeKind, prompt: str, catalogue: Catalogue
) -> EndpointNeed | None:
    """Return what the run needs of an endpoint; None: the model is not on one."""
    endpoint = endpoint_of(ref, catalogue.nodes)
    if endpoint is None or ref is None:
        return None
    return EndpointNeed(endpoint, ref.model, runtime.name, context_of(runtime.name, prompt, request.task))


def with_other(
    resolved: Resolution, catalogue: Catalogue, passes: Callable[[Resolution], bool]
) -> Resolution:
    """Add the first other vendor's runtime that fits a node and passes all gates, if there is one."""
    # Whether somebody has named its model, runtime or agent, or it calls no vendor, or goes on with a
    # session.
    asked, agent = resolved.request, resolved.agent
    named = asked.model or asked.runtime or asked.agent or agent.runtime or (agent.own and agent.model)
    bound = asked.resume or asked.continues or asked.parent or resolved.wanted is not None
    is_chosen = bool(named or bound or resolved.runtime.provider is None)
    if is_chosen:
        return resolved
    for kind in RUNTIMES.values():
        if kind.own or kind.provider in (None, resolved.runtime.provider):
            continue
        found = resolve(replace(resolved.request, runtime=kind.name), catalogue)
        if isinstance(found, Unresolved) or not any(one.fits for one in found.candidates):
            continue
        if passes(found):
            return replace(
                resolved,
                other={
                    "runtime": found.runtime.name,
                    "model": found.model,
                    "asked_model": None if found.ref is None else found.ref.text,
                    "reasoning": None if found.reasoning is None else found.reasoning.value,
                    "prompt": found.prompt,
                    "limits": found.limits.plain(),
                },
            )
    return resolved
