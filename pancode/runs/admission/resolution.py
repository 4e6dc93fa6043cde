"""Resolves a request into the plan of a run: agent, runtime, limits, gates, nodes and estimate."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TypeVar

from node_agent.wire.job import Reasoning
from node_agent.wire.policy import Mode, NetworkAccess, Rules, Safety, find_narrowest
from pancode.agents import agents
from pancode.agents.endpoints import EndpointNeed, context_of, costs_nothing, endpoint_of
from pancode.agents.model_profiles import Needs
from pancode.agents.models import ModelRef
from pancode.agents.prompts import Situation, fit_prompt, tokens_of, window_of
from pancode.agents.runtimes import OUR_OWN, RUNTIMES, RuntimeKind, model_for, resolve_alias
from pancode.agents.tiers import Tiered, tier_of
from pancode.budget.books import Amount
from pancode.kernel.declared import to_json
from pancode.kernel.errors import PancodeError
from pancode.kernel.formatting import format_usd
from pancode.runs.admission import request_rules
from pancode.runs.admission.model_choice import (
    is_worker_named,
    model_from,
    pin_node,
    reasoning_for,
    runtime_and_model,
    warn_unlisted,
)
from pancode.runs.admission.plan import LEFT_OUT, Plan, RunLimits, TimelineEntry, ToldPrompt, requires_sandbox
from pancode.runs.placement.candidates import (
    Candidate,
    NodeRequirements,
    list_candidates,
    need_of,
    tier_at,
    trusted_at,
)
from pancode.runs.request import NO_PARTS, Catalogue, Defaults, DispatchRequest, GivenNote, PromptParts


def estimate_cost(
    request: DispatchRequest,
    catalogue: Catalogue,
    worker: tuple[str, RuntimeKind, str | None],
    limits: RunLimits,
) -> Amount:
    """Estimate the cost in each currency, at most the run's limit; an interactive run reserves its whole
    limit. A user's own command uses no model."""
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


def is_free(wanted: EndpointNeed | None, catalogue: Catalogue) -> bool:
    """Whether the run uses a free endpoint of the fleet; placement checks the endpoint's node again."""
    return wanted is not None and costs_nothing(catalogue.nodes, wanted.endpoint, wanted.model)


def _own_cost(request: DispatchRequest, cap: Decimal | None) -> Decimal:
    """Return the USD that a user's own command reserves: nothing unless the user sets a budget."""
    return min(request.budget, cap or request.budget) if request.budget is not None else Decimal(0)


def narrow_network(rules: Rules, *networks: NetworkAccess | None) -> Rules:
    """Return the rules, restricted to the most restrictive of these networks."""
    every = [one for one in networks if one is not None]
    return rules.model_copy(update={"network": find_narrowest(*every)}) if every else rules


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Unresolved:
    """All problems of a request that cannot be resolved, in order: usage errors, then unknown names."""

    problems: tuple[PancodeError, ...]

    @property
    def error(self) -> PancodeError:
        """Return the first problem."""
        return self.problems[0]


def resolve(request: DispatchRequest, catalogue: Catalogue) -> Plan | Unresolved:
    """Resolve everything that needs no verdict; options override agent, project and fleet, in this order."""
    problems: list[PancodeError] = []
    choice = _try(problems, lambda: _choose_agent(request, catalogue))
    agent = None if choice is None else choice.agent
    if agent is not None and agent.node is not None and request.node is None:
        request = replace(request, node=agent.node)
    if request.node is None:  # A named node replaces a project's labels.
        request = replace(request, require={**catalogue.defaults.require, **request.require})
    request = request_rules.with_gpus(request, agent, catalogue.defaults)
    _try(problems, lambda: request_rules.check_node(request, catalogue))
    _try(problems, lambda: request_rules.check_options(request))
    workspace = _try(problems, lambda: request_rules.choose_workspace(request))
    if agent is not None:
        _try(problems, lambda: request_rules.check_lead(request, agent))
    if agent is not None and workspace is not None:
        _try(problems, lambda: request_rules.check_worktree(agent, workspace))
    gates = _try(problems, lambda: request_rules.choose_gates(request, catalogue, workspace))
    _try(problems, lambda: request_rules.choose_score(request))
    _try(problems, lambda: request_rules.choose_reports(request, catalogue, gates))
    found = None if agent is None else _try(problems, lambda: runtime_and_model(request, agent, catalogue))
    if gates is not None:
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
    parts = agent and runtime and _try(problems, lambda: _collect_parts(agent, runtime, catalogue))
    if agent is not None:
        named_by = model_from(request, agent, catalogue)
        request = _try(problems, lambda: pin_node(request, ref, named_by)) or request
    if problems or choice is None or runtime is None or workspace is None or gates is None:
        return Unresolved(tuple(problems))
    what = (runtime, ref, *(thinks or (None, None)))
    request = request_rules.wall_command(request, catalogue, choice.agent, runtime, workspace)
    return _put_together(request, catalogue, choice, what, (workspace, gates, parts or NO_PARTS))


def names_worker(request: DispatchRequest, catalogue: Catalogue) -> bool:
    """Whether the request, agent or settings name a runtime or a model; also true for an unknown agent."""
    try:
        return is_worker_named(request, _choose_agent(request, catalogue).agent, catalogue)
    except PancodeError:
        return True


def _collect_parts(agent: agents.Agent, runtime: RuntimeKind, catalogue: Catalogue) -> PromptParts:
    """Return the features' additions to the prompt, with skills even if the runtime supports none, as the run
    may move to one that does."""
    if runtime.own:
        return NO_PARTS
    parts = catalogue.parts(agent.skills)
    if runtime.skills:
        return parts
    words = f"runtime {runtime.name} does not support skills: {', '.join(agent.skills)} of agent {agent.name}"
    left_out = (words,) if agent.skills else ()
    return replace(parts, skills=replace(parts.skills, left_out=left_out))


def _choose_agent(request: DispatchRequest, catalogue: Catalogue) -> agents.Choice:
    """Return the agent named by request or settings, else chosen by the task's words (not for scripts)."""
    name = request.agent or catalogue.defaults.agent
    kind = RUNTIMES.get(resolve_alias(request.runtime or catalogue.defaults.runtime or OUR_OWN))
    script = kind is not None and kind.own and (request.runtime is not None or request.model is None)
    if name is None and not script:
        mode = request.mode or catalogue.defaults.mode
        task, is_gated = request_rules.as_task(request).task, bool(request.verify)
        return agents.choose(catalogue.agents, task, mode, catalogue.pick, is_gated=is_gated)
    return agents.Choice(agents.find_agent(catalogue.agents, name or agents.DEFAULT_AGENT))


def _put_together(
    request: DispatchRequest,
    catalogue: Catalogue,
    choice: agents.Choice,
    what: tuple[RuntimeKind, ModelRef | None, Reasoning | None, Reasoning | None],
    rest: tuple[str, tuple[tuple[str, ...], ...], PromptParts],
) -> Plan:
    agent, (runtime, ref, reasoning, unasked), (workspace, gates, parts) = choice.agent, what, rest
    if agent.read_only:  # such an agent needs no secrets
        catalogue = replace(catalogue, project=replace(catalogue.project, copied=""))
    defaults, project, nodes = catalogue.defaults, catalogue.project, catalogue.nodes
    mode, safety = request.mode or defaults.mode, request.safety or defaults.safety
    limits = run_limits(request, agent, defaults, runtime)
    prompt = _build_prompt(request, catalogue, agent, (mode, safety, runtime), ref, parts)
    wanted = _find_endpoint_need(request, ref, runtime, prompt.text, catalogue)
    needs = Needs(wanted.endpoint, wanted.model) if wanted is not None else None
    free, need = is_free(wanted, catalogue), need_of(request.gpus, request.gpu_memory)
    worker = (agent.name, runtime, model_for(ref, runtime) if ref else None)
    due = estimate_cost(request, catalogue, worker, limits)
    due = replace(due, usd=Decimal(0)) if free else due
    rules = narrow_network(catalogue.rules, *request_rules.requested_networks(request, agent, catalogue))
    env = tuple(dict.fromkeys((*project.env, *agent.env)))
    walled = requires_sandbox(request, agent, rules, runtime)
    wish = NodeRequirements(request.node, request.require, runtime.name, safety, request.repo, wanted, walled)
    wish = replace(wish, turns=bool(request.turns), env=env, gpus=need, confined=request.confined)
    attempts = request.attempts or agent.max_attempts or defaults.max_attempts
    able = list_candidates(nodes, wish)
    return Plan(
        request=request,
        defaults=defaults,
        own=project,
        agent=agent,
        runtime=runtime,
        ref=ref,
        reasoning=reasoning,
        unasked=unasked,
        unlisted=warn_unlisted(ref, runtime, catalogue.vendors),
        mode=mode,
        safety=safety,
        wanted=wanted,
        limits=limits,
        gates=gates,
        reports=request_rules.choose_reports(request, catalogue, gates),
        workspace=workspace,
        needs=wish,
        candidates=able,
        due=due,
        free=free,
        trusted=trusted_at(nodes, needs),
        max_attempts=attempts,
        verify_retries=request_rules.verify_retries(request, agent, runtime, attempts),
        rules=rules,
        chosen=choice.why,
        tiered=_find_tier(ref, able, catalogue, needs),
        model_from=model_from(request, agent, catalogue) if ref is not None else "",
        prompt=prompt,
        skills=parts.skills.ordered,
        timeline=tuple(_make_timeline(request, catalogue, worker, due, prompt, parts)),
    )


def _build_prompt(
    request: DispatchRequest,
    catalogue: Catalogue,
    agent: agents.Agent,
    how: tuple[Mode, Safety, RuntimeKind],
    ref: ModelRef | None,
    parts: PromptParts,
) -> ToldPrompt:
    """Return the agent's prompt; after a recovery, the first run's also says how the previous run ended."""
    mode, safety, runtime = how
    if runtime.own:
        return ToldPrompt()
    notes = (*([GivenNote(**request.before)] if request.before else ()), *parts.notes)
    texts, talks = tuple(note.text for note in notes), bool(request.turns)
    situation = Situation(mode, safety, runtime.name, catalogue.rules, talks, texts, prd=parts.prd)
    window = window_of(ref, endpoint_of(ref, catalogue.nodes), catalogue.nodes)
    made = fit_prompt(agent, situation, request.task, window)
    guide = 0 if request.repository is None else catalogue.project.guide_chars
    tokens = tokens_of(made.prompt, request.task, guide)
    return ToldPrompt(made.prompt.text, tokens, made.left_out, tuple(n.run for n in notes[: made.notes]))


def _make_timeline(
    request: DispatchRequest,
    catalogue: Catalogue,
    worker: tuple[str, RuntimeKind, str | None],
    due: Amount,
    prompt: ToldPrompt,
    parts: PromptParts,
) -> Iterator[TimelineEntry]:
    """Yield timeline entries on how the run's agent, model and other options were chosen."""
    agent, runtime, model = worker
    is_known = not runtime.own and not request.turns
    figure, expect = (catalogue.figure, catalogue.expect) if is_known else (None, None)
    if record := figure(agent, runtime.name, model, request.task) if figure is not None else "":
        yield TimelineEntry("records", agent, "looked up", (record,))
    if prompt.notes:
        yield TimelineEntry("prompt", "history", "given", (f"notes of {', '.join(prompt.notes)}",))
    if parts.skills.ordered:
        yield TimelineEntry("skills", agent, "given", (", ".join(one.name for one in parts.skills.ordered),))
    for words in parts.skills.left_out:
        yield TimelineEntry("skills", agent, LEFT_OUT, (words,))
    if catalogue.defaults.project_says and request.retry_of is None:
        yield TimelineEntry("settings", "project", "applied", (catalogue.defaults.project_says,))
    if catalogue.project.copied:
        yield TimelineEntry("copies", "ignored files", "given", (", ".join(catalogue.project.copies),))
    if prompt.left_out:
        yield TimelineEntry("prompt", "fitted", "left out", prompt.left_out)
    expected = None if expect is None else expect(agent, runtime.name, model, request.task)
    if expected is not None and expected.words:
        yield TimelineEntry("estimate", format_usd(due.usd), "expected", (expected.words,))


def _find_tier(
    ref: ModelRef | None, able: tuple[Candidate, ...], catalogue: Catalogue, needs: Needs | None
) -> Tiered | None:
    """Return the model's tier: from the model server for a model of the fleet, else from the model's name."""
    if ref is None:
        return None
    if needs is None:
        return tier_of(ref, overrides=dict(catalogue.defaults.tiers))
    return tier_at(ref, able, catalogue.nodes, needs, catalogue.defaults.tiers)


def _try(problems: list[PancodeError], part: Callable[[], T]) -> T | None:
    """Return the part's result; on an error store it and return None, so that all problems are reported."""
    try:
        return part()
    except PancodeError as problem:
        problems.append(problem)
        return None


def _find_endpoint_need(
    request: DispatchRequest, ref: ModelRef | None, runtime: RuntimeKind, prompt: str, catalogue: Catalogue
) -> EndpointNeed | None:
    """Return what the run needs from an endpoint; None if the model is not at an endpoint of the fleet."""
    endpoint = endpoint_of(ref, catalogue.nodes)
    if endpoint is None or ref is None:
        return None
    return EndpointNeed(endpoint, ref.model, runtime.name, context_of(runtime.name, prompt, request.task))


def with_other(resolved: Plan, catalogue: Catalogue, passes: Callable[[Plan], bool]) -> Plan:
    """Return the plan with the first other vendor's runtime that fits a node and passes all gates, if any."""
    # Add none if model, runtime or agent is named, the run calls no vendor, or it continues a session.
    request, agent = resolved.request, resolved.agent
    named = request.model or request.runtime or request.agent or agent.runtime or (agent.own and agent.model)
    bound = request.resume or request.continues or request.parent or resolved.wanted is not None
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
                    "prompt": found.prompt.text,
                    "limits": to_json(found.limits),
                },
            )
    return resolved


def run_limits(
    request: DispatchRequest, agent: agents.Agent, defaults: Defaults, runtime: RuntimeKind
) -> RunLimits:
    """Resolve each limit from the option, else the agent, else the fleet. The model calls of a user's own
    command are not counted."""
    own, (paced_ms, idle_ms) = agent.limits, scale_limits(defaults, agent.speed)
    wall_ms = request.timeout_ms or own.wall_ms or paced_ms
    output = own.output_bytes or defaults.output_bytes
    caps = [usd for usd in (own.usd, defaults.per_run_usd) if usd is not None]
    # The budget of an interactive run is its session's ceiling, which an unattended session may use up.
    if request.turns:
        alone = request.rounds and request.most_usd is not None
        usd = min(caps, default=None) if alone else min((*caps, defaults.sitting_usd))
    else:
        usd = request.budget if request.budget is not None else min(caps, default=None)
    if request.most_usd is not None:
        all_of_it = usd is None or usd >= request.most_usd
        # An orchestrator that would reserve all the remaining budget leaves half to the runs that it starts.
        most = request.most_usd / 2 if all_of_it and agent.leads and request.turns else request.most_usd
        usd = most if usd is None else min(usd, most)
    return RunLimits(
        wall_ms=wall_ms,
        idle_ms=request.idle_timeout_ms or own.idle_ms or idle_ms or wall_ms,
        output_bytes=_of_the_machine(request, request.max_output, output) or output,
        tokens=request.max_tokens or own.tokens or defaults.tokens,
        usd=usd,
        requests=None if runtime.own else request.max_requests or own.requests or defaults.requests,
        wrap_up=not runtime.own and _first_set(request.wrap_up, own.wrap_up, defaults.wrap_up),
        memory_bytes=_of_the_machine(request, request.max_memory, defaults.memory_bytes),
        processes=_of_the_machine(request, request.max_processes, defaults.processes),
        disk_bytes=_of_the_machine(request, request.max_disk, defaults.disk_bytes),
        turns=None if runtime.own else request.max_turns or own.turns,
    )


def _of_the_machine(request: DispatchRequest, count: int | None, fleets: int | None) -> int | None:
    """Resolve a limit that protects a node: a run may lower it for its child, but never raise it."""
    if count is None or fleets is None:
        return count or fleets
    return min(count, fleets) if request.depth else count


def scale_limits(defaults: Defaults, speed: agents.Speed) -> tuple[int, int | None]:
    """Return wall and idle times for an agent that sets neither, in ms. A fast agent gets less of both; a
    thorough one may be silent twice as long, within the same wall time. Idle None: silence never ends it."""
    wall_ms, idle_ms = defaults.wall_ms, defaults.idle_ms
    match speed:
        case agents.Speed.FAST:
            return max(1, wall_ms // 4), None if idle_ms is None else max(1, idle_ms // 2)
        case agents.Speed.THOROUGH:
            return wall_ms, None if idle_ms is None else min(2 * idle_ms, max(wall_ms, idle_ms))
        case agents.Speed.BALANCED:
            return wall_ms, idle_ms


def _first_set(*words: bool | None) -> bool:
    return next((word for word in words if word is not None), False)
