"""The report of a dry run: the verdicts of the ten gates, the networks, and the run that would be queued."""

from __future__ import annotations

from node_agent.wire.policy import Isolation, NetworkAccess, find_narrowest
from pancode.kernel.declared import make_answer, to_json
from pancode.kernel.ports import Preview
from pancode.runs.admission.plan import Plan
from pancode.runs.answers import DryRunReport, GateShape, NodeFitShape, PreviewShape

_MACHINE, _NOTHING = "what the node can reach", "nothing"


def list_networks(plan: Plan) -> dict[str, str]:
    """Return what each phase that the run has may reach over the network, as text by phase."""
    access = find_narrowest(plan.rules.network)
    rest = _MACHINE if access is NetworkAccess.MACHINE else _NOTHING
    by_phase = {"the agent": rest if plan.runtime.own else _format_agent_reach(plan, access)}
    if plan.setup:
        by_phase["set-up"] = rest
    if plan.gates:
        by_phase["gates"] = rest
    return by_phase


def _format_agent_reach(plan: Plan, access: NetworkAccess) -> str:
    """Return what the agent may reach: only its model if it is sandboxed and a gateway has its key, else all
    that the node can reach."""
    if access is NetworkAccess.GATEWAY:
        return "only its model, through the gateway"
    fitting = [one for one in plan.candidates if one.fits]
    bare = [one.name for one in fitting if one.isolation is not Isolation.SANDBOX]
    if fitting and len(bare) == len(fitting):
        return f"{_MACHINE}: no sandbox on {', '.join(bare)}"
    open_ = f"; on {', '.join(bare)}, without a sandbox, {_MACHINE}" if bare else ""
    return f"only its model if the gateway has its key; with its own login {_MACHINE}{open_}"


def report_plan(plan: Plan) -> DryRunReport:
    """Return the answer of `--dry-run`: the ten gates and the plan."""
    approval = plan.approval or None
    admitted = all(v.passed or (approval is not None and v.lifts) for v in plan.verdicts)
    return make_answer(
        DryRunReport,
        plan,
        dry_run=True,
        admitted=admitted,
        asks=approval,
        gates=[make_answer(GateShape, one) for one in plan.verdicts],
        untested=[place.text for place in plan.untested],
        costly_test=plan.costly,
        notes=[*plan.outranked, *plan.remarks],
        agent=plan.agent.name,
        runtime=plan.runtime.name,
        folder=plan.request.folder,
        setup=[list(argv) for argv in plan.setup],
        verify=[list(argv) for argv in plan.gates],
        limits=to_json(plan.limits),
        tokens=dict(plan.prompt.tokens),
        left_out=list(plan.prompt.left_out),
        notes_of=list(plan.prompt.notes),
        nodes=[make_answer(NodeFitShape, one, node=one.name) for one in plan.candidates],
        network=list_networks(plan),
        env=list(plan.needs.env),
        estimate_usd=f"{plan.due.usd:f}",
        estimate_tokens=plan.due.tokens,
        estimate_minutes=round(plan.due.ms / 60_000, 2),
    )


def describe_preview(seen: Preview) -> PreviewShape:
    """Return what a snapshot would contain in the form of the API."""
    return make_answer(PreviewShape, seen)
