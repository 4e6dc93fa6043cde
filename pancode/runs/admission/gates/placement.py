"""Gate 10: whether the runtime can use the model, and whether some node could take the run, now or later."""

from __future__ import annotations

from node_agent.wire.endpoint import RUNTIME_WIRES, wire_of
from node_agent.wire.order import Reasoning
from pancode.agents.runtimes import foreign_provider
from pancode.kernel.formatting import first_few
from pancode.runs.admission.plan import Plan
from pancode.runs.admission.verdict import GateVerdict, make_pass, make_refusal, make_warning
from pancode.runs.placement.candidates import Candidate
from pancode.runs.request import AdmissionView

NAME = "routing"
_SHOWN = 6
NO_NODE = "pancode fleet up; for this machine after its removal: pancode node add NAME --local"


def judge(plan: Plan, view: AdmissionView) -> GateVerdict:
    return _model(plan) or _node(plan)


def _model(plan: Plan) -> GateVerdict | None:
    runtime, ref = plan.runtime, plan.ref
    if plan.wanted is not None and wire_of(runtime.name) is None:
        return make_refusal(
            NAME,
            f"Dispatch blocked: runtime {runtime.name} cannot use an endpoint of a node",
            f"--runtime native, or another one of {', '.join(sorted(RUNTIME_WIRES))}",
        )
    provider = foreign_provider(ref, runtime) if plan.wanted is None else None
    if ref is not None and provider is not None:
        return make_refusal(
            NAME,
            f"Dispatch blocked: runtime {runtime.name} cannot use model {ref.text} of {provider}",
            "choose another model with --model, or another runtime with --runtime",
        )
    if runtime.needs_model and ref is None:
        return make_refusal(
            NAME,
            f"Dispatch blocked: runtime {runtime.name} has no default model",
            "add --model; or for all runs: pancode config set models.worker MODEL (pancode models)",
        )
    return None


def _node(plan: Plan) -> GateVerdict:
    fitting = [c for c in plan.candidates if c.fits]
    if not fitting:
        if not plan.candidates:
            return make_refusal(NAME, "Dispatch blocked: the fleet has no nodes", NO_NODE)
        shown = [c for c in plan.candidates if not c.other]
        nearest = sorted((c for c in shown if c.fix), key=lambda c: -c.near)
        fix = nearest[0].fix if nearest else "pancode fleet status"
        return make_refusal(NAME, f"Dispatch blocked: no node can run it: {_listed(shown)}", fix)
    ready = [c for c in fitting if c.ready]
    odd, fixes = _odd(plan, ready or fitting)
    if not ready:
        fix = next((c.fix for c in fitting if c.fix), "pancode fleet status")
        return make_warning(
            NAME, "; ".join((f"it would wait: {_listed(fitting)}", *odd)), "; ".join((fix, *fixes))
        )
    model = f" with {plan.ref.text}" if plan.ref else ""
    names = ", ".join(c.name for c in ready[:_SHOWN])
    words = f"runtime {plan.runtime.name}{model} on {names}"
    return make_warning(NAME, "; ".join((words, *odd)), "; ".join(fixes)) if odd else make_pass(NAME, words)


def _odd(plan: Plan, asked: list[Candidate]) -> tuple[list[str], list[str]]:
    """Return warnings that are no errors, and the commands that help.

    A level of reasoning in the settings is a wish for all runs; a runtime that does not know it ignores it.
    """
    odd, fixes = [], []
    if plan.unasked is not None:
        name = plan.runtime.name
        takes = ", ".join(level.value for level in Reasoning if level in plan.runtime.reasons) or "none"
        odd.append(f"reasoning level {plan.unasked} of your settings is ignored: {name} supports {takes}")
        fixes.append("choose a supported level with --reasoning")
    if plan.unlisted:
        odd.append(plan.unlisted)
        fixes.append(f"pancode models --runtime {plan.runtime.name}")
    absent = [name for name in plan.needs.env if all(name in one.unset for one in asked)]
    if absent:
        more = f" and {len(asked) - _SHOWN} more" if len(asked) > _SHOWN else ""
        has, where = "has" if len(absent) == 1 else "have", ", ".join(one.name for one in asked[:_SHOWN])
        odd.append(f"env: {', '.join(absent)} {has} no value on {where}{more}")
        commands = [f"pancode node secret {one.name} {name}" for name in absent for one in asked]
        fixes += commands[:_SHOWN]
    return odd, fixes


def _listed(candidates: list[Candidate]) -> str:
    """Return each node with its reason; nodes with an equal reason are named together."""
    by_reason: dict[str, list[str]] = {}
    for one in candidates:
        by_reason.setdefault(one.why.replace(one.name, "each"), []).append(one.name)
    whys = {one.name: one.why for one in candidates}
    told = [
        f"{names[0]} {whys[names[0]]}" if len(names) == 1 else f"{first_few(names, _SHOWN)}: each {reason}"
        for reason, names in by_reason.items()
    ]
    return first_few(told, _SHOWN, "; ")
