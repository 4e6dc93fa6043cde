"""Gates 7 and 9: what the safety level and the agent's definition allow, and how this is enforced."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

from node_agent.policy.judging import judge_command
from node_agent.wire.other_runtimes import OTHER_HELD
from node_agent.wire.policy import (
    ALLOWED,
    SAFETY_RANK,
    ActionClass,
    Enforcement,
    Isolation,
    Policy,
    is_on_the_machine,
)
from pancode.agents.agents import ABLE, SAMPLES, AgentIsolation, Autonomy, Tier, no_sampling
from pancode.agents.runtimes import READ_ONLY, EnforcedRule, EnforcementRequest, find_rule, rule_of
from pancode.agents.tiers import RANK, ModelTier
from pancode.kernel.formatting import format_usd
from pancode.kernel.node import with_words
from pancode.kernel.states import LandRule
from pancode.kernel.values import replace
from pancode.runs.admission import request_rules
from pancode.runs.admission.plan import GateVerdict, Plan, make_pass, make_refusal, make_warning
from pancode.runs.placement.breakers import LoopVerdict, judge_loop
from pancode.runs.placement.candidates import Candidate
from pancode.runs.request import AdmissionView, Parent


def find_forbidden_command(plan: Plan) -> str | None:
    """Return the first forbidden command and its rule; None: none. Paths are checked in the run's result."""
    rules = plan.rules.commands
    if not rules:
        return None
    policy = Policy(allowed=tuple(ActionClass), commands=rules)
    for what, text in _list_commands(plan):
        for offence in judge_command(policy, text).offences:
            return f"{what} {offence.words}"
    return None


def _list_commands(plan: Plan) -> Iterator[tuple[str, str]]:
    """Yield the kind and the shell text of each command: setup, gates, score and the user's own script."""
    yield from (("setup", shlex.join(argv)) for argv in plan.setup)
    yield from (("verify", shlex.join(argv)) for argv in plan.gates)
    score = request_rules.choose_score(plan.request)
    if score:
        yield "score", shlex.join(score)
    if plan.runtime.name == "shell":
        argv = plan.request.argv
        yield "the script", plan.request.task if argv is None else shlex.join(argv)


SAFETY = "safety"
MOST_NAMED = 3
BREAKER_OPEN = "breaker_open"
_BY = {Enforcement.SANDBOX: "the sandbox", Enforcement.RUNTIME: "{}"}


def judge_safety(plan: Plan, view: AdmissionView) -> GateVerdict:
    safety, parent = plan.safety, view.parent
    if parent is not None and SAFETY_RANK[safety] > SAFETY_RANK[parent.safety]:
        run = f"run {parent.run} has safety {parent.safety}"
        return make_refusal(
            SAFETY,
            f"Dispatch blocked: {run} and cannot start one with {safety}",
            f"use --safety {parent.safety}, or dispatch the run yourself",
        )
    if ActionClass.DISPATCH not in ALLOWED[safety] and not plan.talks:
        return make_refusal(
            SAFETY,
            f"Dispatch blocked: safety {safety} only reads, and cannot start runs",
            "for read-only work: --safety auto-edit --agent scout; for a change: --safety auto-edit",
        )
    broken = find_forbidden_command(plan)
    if broken is not None:
        fix = "change that command; pancode policy show lists the rules and their files"
        return make_refusal(SAFETY, f"Dispatch blocked: {broken}", fix)
    looping = _judge_loop(plan, view)
    if looping is not None and looping.refuses and (parent is not None or not plan.request.confirmed):
        fix = (
            "fix the cause; or add --yes, or close the breaker: pancode admin breakers --reset "
            f"{looping.name}"
        )
        words = f"Dispatch blocked: {looping.words}"
        return replace(make_refusal(SAFETY, words, fix, BREAKER_OPEN, "policy"), until_ms=looping.until_ms)
    verdict = _judge_enforcement(plan, parent is None or parent.unheld)
    if looping is not None and verdict.passed:
        return make_warning(
            SAFETY, f"{verdict.words}; {looping.words}", f"pancode admin breakers --reset {looping.name}"
        )
    if not (plan.preset_warning and verdict.passed):
        return verdict
    return make_warning(
        SAFETY, f"{verdict.words}; {plan.preset_warning}", verdict.fix or "set it with --safety"
    )


def _judge_loop(plan: Plan, view: AdmissionView) -> LoopVerdict | None:
    """Return the loop breaker's verdict; None for a user's own command, as only agents can loop."""
    if plan.runtime.own:
        return None
    return judge_loop(view.ended, plan.agent.name, plan.request.task)


def is_accepted(plan: Plan, parent: Parent | None) -> bool:
    """Whether the run is recorded as one whose rules need no enforcement. Also true for a user's own command
    that a run starts, as placement and node do not know the parent run."""
    request = plan.request
    if parent is not None and not parent.unheld:
        return False
    childs = request.depth > 0 and plan.runtime.own
    return request.told_only or (childs and _find_needs(plan, may_allow=True).enough(Isolation.NONE))


def _judge_enforcement(plan: Plan, may_allow: bool) -> GateVerdict:
    """Judge what enforces the run's rules on each candidate node: a sandbox, the runtime, or nothing.
    `may_allow`: whether the dispatcher may allow unenforced rules; a run with rules of its own may not."""
    needs, fitting = _find_needs(plan, may_allow), [c for c in plan.candidates if c.fits]
    enough = [c for c in fitting if needs.enough(c.isolation)]
    if not fitting:  # the routing gate says why no node can run it, which is the cause to fix first
        return make_pass(SAFETY, f"{needs.rule}: not judged, as no node can run it")
    if not enough:
        missing = [(c.name, c.no_sandbox) for c in fitting if c.no_sandbox is not None][:MOST_NAMED]
        why = "".join(f"; {name}: {with_words(problem.what, problem.fix)}" for name, problem in missing)
        return make_refusal(
            SAFETY,
            f"Dispatch blocked: nothing can enforce {needs.rule} on runtime {needs.kind.name}{why}",
            "use another runtime or a lower --safety, or add --allow-told-only",
        )
    holders = {needs.by(c.isolation) for c in enough}
    rule, left = needs.rule, [c.name for c in fitting if c not in enough]
    elsewhere = f"; not on {', '.join(left)}, which has no sandbox" if left else ""
    if holders <= set(_BY):
        who = " or ".join(_BY[how].format(needs.kind.name) for how in _BY if how in holders)
        words = f"{rule}, enforced by {who}{elsewhere}{f'; {OTHER_HELD}' if needs.kind.chosen else ''}"
        return _without_shell(needs, enough, words) or make_pass(SAFETY, words)
    if needs.outside:
        return make_warning(SAFETY, f"{rule}: your own command, on the node itself, outside any sandbox")
    if needs.kind.own and rule == plan.safety.value:
        return make_warning(SAFETY, f"{rule}: your own command; nothing enforces this")
    return make_warning(
        SAFETY, f"{rule}: stated in the prompt of {needs.kind.name} but not enforced, as you allowed"
    )


def _without_shell(needs: EnforcedRule, enough: Sequence[Candidate], words: str) -> GateVerdict | None:
    """Return a warning if the runtime, without a sandbox, runs no commands and so no tests at auto-edit."""
    bare = [c for c in enough if c.isolation is not Isolation.SANDBOX]
    if needs.has_shell(None) or not bare:
        return None
    where = ", ".join(c.name for c in bare)
    fix = next((c.no_sandbox.fix for c in bare if c.no_sandbox), "pancode doctor --all")
    cannot = f"{where} has no sandbox, so {needs.kind.name} can edit files but cannot run commands or tests"
    more = f"{fix}; or add --safety full-auto --allow-told-only"
    return make_warning(SAFETY, f"{words}; {cannot}", more)


def _find_needs(plan: Plan, may_allow: bool) -> EnforcedRule:
    request = plan.request
    return find_rule(
        plan.runtime,
        EnforcementRequest(
            plan.mode,
            plan.safety,
            plan.agent.read_only,
            request.told_only,
            plan.workspace,
            request.depth,
            may_allow,
            plan.request.walled,
        ),
    )


AGENT = "agent"
NEVER_LANDS = "changes are not landed automatically (dispatch.land: never)"
NEVER_FIX = "omit --land, review the change, then: pancode land RUN"
NEEDS_YES = "needs_yes"
ASK = "; or add --ask to wait in the inbox"
"""NEEDS_YES: code of a refusal that a user's approval lifts; ASK is appended to the fix of such a refusal."""


def judge_agent(plan: Plan, view: AdmissionView) -> GateVerdict:
    refusal = (
        _switched_off(plan)
        or _judge_approval(plan, view)
        or _lands_alone(plan)
        or _judge_sampling(plan)
        or _judge_outside(plan)
        or _judge_tier(plan)
        or _without_fleet(plan)
    )
    if refusal is not None:
        return refusal
    agent = plan.agent
    kind = "read-only" if agent.read_only else "changes files"
    why = f" ({plan.chosen})" if plan.chosen else ""
    words = f"agent {agent.name}{why}: {kind}, tools {', '.join(agent.tools) or 'none'}"
    return make_pass(AGENT, words)


def _switched_off(plan: Plan) -> GateVerdict | None:
    agent = plan.agent
    if agent.enabled:
        return None
    words = f"Dispatch blocked: agent {agent.name} is disabled"
    return make_refusal(AGENT, words, f"pancode agents set {agent.name} enabled true", lifts="policy")


def _judge_approval(plan: Plan, view: AdmissionView) -> GateVerdict | None:
    """Refuse an agent that needs a user's approval of each dispatch if there is none; runs cannot approve."""
    agent, runtime = plan.agent, plan.runtime.name
    if agent.autonomy is not Autonomy.CONFIRMATORY:
        return None
    if view.parent is not None:
        return make_refusal(
            AGENT,
            f"Dispatch blocked: agent {agent.name} requires a user's approval of each dispatch, and run "
            f"{view.parent.run} is not a user",
            "dispatch it yourself",
            lifts="dispatch",
        )
    if plan.request.confirmed:
        return None
    model = f" with {plan.ref.text}" if plan.ref else ""
    return make_refusal(
        AGENT,
        f"Dispatch blocked: agent {agent.name} requires approval of each dispatch (runtime {runtime}{model}, "
        f"estimate {format_usd(plan.due.usd)})",
        f"add --yes, or answer on a terminal{ASK if plan.request.takes_ask else ''}",
        NEEDS_YES,
        "dispatch",
    )


def _lands_alone(plan: Plan) -> GateVerdict | None:
    agent = plan.agent
    if plan.request.land and plan.defaults.land is LandRule.NEVER:
        return make_refusal(AGENT, f"Dispatch blocked: {NEVER_LANDS}", NEVER_FIX)
    if not plan.request.land or agent.autonomy is Autonomy.AUTONOMOUS:
        return None
    return make_refusal(
        AGENT,
        f"Dispatch blocked: agent {agent.name} is {agent.autonomy}, so its change is not landed "
        "automatically",
        NEVER_FIX,
    )


def _judge_sampling(plan: Plan) -> GateVerdict | None:
    agent, runtime = plan.agent, plan.runtime
    if agent.sampling is None or runtime.own or runtime.name == SAMPLES:
        return None
    what, why, fix = no_sampling(agent, runtime.name)
    where = f" [{agent.origin}]" if agent.origin else ""
    return make_refusal(AGENT, f"Dispatch blocked: {what}{where}: {why}", fix)


def _without_fleet(plan: Plan) -> GateVerdict | None:
    """Return a warning if an orchestrator's runtime cannot use the fleet's tools."""
    agent, name = plan.agent, plan.runtime.name
    if not (agent.leads and plan.request.turns) or name in ABLE:
        return None
    words = f"agent {agent.name} has no fleet tools on {name}, so it can only read and plan"
    return make_warning(AGENT, words, f"use --runtime {', or '.join(sorted(ABLE))}")


def _judge_tier(plan: Plan) -> GateVerdict | None:
    """Warn or refuse if the model is below its agent's tier; strict tiers also refuse an unknown tier."""
    agent, found, ref = plan.agent, plan.tiered, plan.ref
    if agent.tier is Tier.ANY or ref is None or found is None:
        return None
    if found.tier is None and not plan.defaults.strict_tiers:
        return None
    if found.tier is not None and RANK[found.tier] >= RANK[ModelTier(agent.tier.value)]:
        return None
    what = found.tier or "of an unknown tier"
    words = f"agent {agent.name} requires a {agent.tier} model, but {ref.text} is {what}: {found.why}"
    fix = f"choose a more capable model with --model, or set its tier in models.tiers: {ref.text}"
    if plan.defaults.strict_tiers:
        return make_refusal(AGENT, f"Dispatch blocked: {words} (models.strict_tiers)", fix, lifts="policy")
    return make_warning(AGENT, words, fix)


def _judge_outside(plan: Plan) -> GateVerdict | None:
    """Refuse a user's command about the node itself if a sandbox would hide the node from the command."""
    request, agent = plan.request, plan.agent
    if request.confined and request.walled:
        return None  # It runs in the sandbox, as its sender may not have it run outside.
    writes = rule_of(plan.mode, plan.safety, agent.read_only) != READ_ONLY
    if not plan.needs_sandbox or not is_on_the_machine(
        plan.runtime.name, plan.workspace, plan.safety, writes, request.depth
    ):
        return None
    why, fix = (
        f"agent {agent.name} runs only in a sandbox (isolation: container)",
        "choose another agent with --agent",
    )
    if request.walled:
        why, fix = "the parent run works only in a sandbox, and so must everything that it starts", ""
    elif agent.isolations is not AgentIsolation.CONTAINER:
        network = "only a sandbox can block the network, as --network or your pansafety.yaml requires"
        why, fix = network, "omit --network, or run the command in a repository, where a sandbox is used"
    words = (
        f"Dispatch blocked: {why}; a command for the node itself (--workspace none) runs outside the sandbox"
    )
    return make_refusal(AGENT, words, fix)
