"""Gate 9: whether the agent's definition may be used, and whether this run keeps to what it says."""

from __future__ import annotations

from node_agent.wire.policy import is_on_the_machine
from pancode.agents.agents import ABLE, SAMPLES, AgentIsolation, Autonomy, Tier, no_sampling
from pancode.agents.runtimes import READ_ONLY, rule_of
from pancode.agents.tiers import RANK, ModelTier
from pancode.kernel.formatting import format_usd
from pancode.kernel.states import LandRule
from pancode.runs.admission.plan import Plan
from pancode.runs.admission.verdict import GateVerdict, make_pass, make_refusal, make_warning
from pancode.runs.request import AdmissionView

NAME = "agent"
NEVER_LANDS = "changes are not landed automatically (dispatch.land: never)"
NEVER_FIX = "omit --land, review the change, then: pancode land RUN"
NEEDS_YES = "needs_yes"
ASK = "; or add --ask, and it waits in the inbox"
"""The code of a refusal that ends when a user says yes."""


def judge(plan: Plan, view: AdmissionView) -> GateVerdict:
    refusal = (
        _switched_off(plan)
        or _unasked(plan, view)
        or _lands_alone(plan)
        or _sampled(plan)
        or _outside(plan)
        or _weak(plan)
        or _without_fleet(plan)
    )
    return refusal or make_pass(NAME, _words(plan))


def _words(plan: Plan) -> str:
    agent = plan.agent
    kind = "read-only" if agent.read_only else "changes files"
    why = f" ({plan.chosen})" if plan.chosen else ""
    return f"agent {agent.name}{why}: {kind}, tools {', '.join(agent.tools) or 'none'}"


def _switched_off(plan: Plan) -> GateVerdict | None:
    agent = plan.agent
    if agent.enabled:
        return None
    words = f"Dispatch blocked: agent {agent.name} is disabled"
    return make_refusal(NAME, words, f"pancode agents set {agent.name} enabled true", lifts="policy")


def _unasked(plan: Plan, view: AdmissionView) -> GateVerdict | None:
    """A confirmatory agent needs a user's approval before each dispatch; a run cannot say yes for them."""
    agent, runtime = plan.agent, plan.runtime.name
    if agent.autonomy is not Autonomy.CONFIRMATORY:
        return None
    if view.parent is not None:
        return make_refusal(
            NAME,
            f"Dispatch blocked: agent {agent.name} asks a user before each dispatch, and run "
            f"{view.parent.run} is not a user",
            "dispatch it yourself",
            lifts="dispatch",
        )
    if plan.request.confirmed:
        return None
    model = f" with {plan.ref.text}" if plan.ref else ""
    return make_refusal(
        NAME,
        f"Dispatch blocked: agent {agent.name} asks before each dispatch (runtime {runtime}{model}, "
        f"estimate {format_usd(f'{plan.due.usd:f}')})",
        f"add --yes, or answer on a terminal{ASK if plan.request.takes_ask else ''}",
        NEEDS_YES,
        "dispatch",
    )


def _lands_alone(plan: Plan) -> GateVerdict | None:
    agent = plan.agent
    if plan.request.land and plan.defaults.land is LandRule.NEVER:
        return make_refusal(NAME, f"Dispatch blocked: {NEVER_LANDS}", NEVER_FIX)
    if not plan.request.land or agent.autonomy is Autonomy.AUTONOMOUS:
        return None
    return make_refusal(
        NAME,
        f"Dispatch blocked: agent {agent.name} is {agent.autonomy}, so its change is not landed "
        "automatically",
        NEVER_FIX,
    )


def _sampled(plan: Plan) -> GateVerdict | None:
    agent, runtime = plan.agent, plan.runtime
    if agent.sampling is None or runtime.own or runtime.name == SAMPLES:
        return None
    what, why, fix = no_sampling(agent, runtime.name)
    where = f" [{agent.origin}]" if agent.origin else ""
    return make_refusal(NAME, f"Dispatch blocked: {what}{where}: {why}", fix)


def _without_fleet(plan: Plan) -> GateVerdict | None:
    """Warn where an orchestrator's agent program cannot ask for the fleet's tools."""
    agent, name = plan.agent, plan.runtime.name
    if not (agent.leads and plan.request.turns) or name in ABLE:
        return None
    words = f"agent {agent.name} has no fleet tools on {name}: it can only read and plan"
    return make_warning(NAME, words, f"use --runtime {', or '.join(sorted(ABLE))}")


def _weak(plan: Plan) -> GateVerdict | None:
    """Warn or refuse where the model is below its agent's tier; strict tiers refuse an unknown tier, too."""
    agent, found, ref = plan.agent, plan.tiered, plan.ref
    if agent.tier is Tier.ANY or ref is None or found is None:
        return None
    if found.tier is None and not plan.defaults.strict_tiers:
        return None
    if found.tier is not None and RANK[found.tier] >= RANK[ModelTier(agent.tier.value)]:
        return None
    what = found.tier or "of an unknown tier"
    words = f"agent {agent.name} needs a {agent.tier} model, but {ref.text} is {what}: {found.why}"
    fix = f"choose a more capable one with --model, or set its tier in models.tiers: {ref.text}"
    if plan.defaults.strict_tiers:
        return make_refusal(NAME, f"Dispatch blocked: {words} (models.strict_tiers)", fix, lifts="policy")
    return make_warning(NAME, f"{words}; {_words(plan)}", fix)


def _outside(plan: Plan) -> GateVerdict | None:
    """Refuse a user's command about the machine itself where a sandbox would hide that machine from it."""
    asked, agent = plan.request, plan.agent
    writes = rule_of(plan.mode, plan.safety, agent.read_only) != READ_ONLY
    if not plan.needs_sandbox or not is_on_the_machine(
        plan.runtime.name, plan.workspace, plan.safety, writes, asked.depth
    ):
        return None
    why, fix = (
        f"agent {agent.name} runs only in a sandbox (isolation: container)",
        "choose another agent with --agent",
    )
    if asked.walled:
        why, fix = "the parent run runs only in a sandbox, and so must everything that it starts", ""
    elif agent.isolations is not AgentIsolation.CONTAINER:
        network = "only a sandbox can block the network, as --network or your pansafety.yaml requires"
        why, fix = network, "omit --network, or run the command in a repository, where it has a sandbox"
    words = (
        f"Dispatch blocked: {why}; a command for the node itself (--workspace none) runs outside the sandbox"
    )
    return make_refusal(NAME, words, fix)
