"""Gate 7: whether the safety level lets this be dispatched, and whether something holds the run to it."""

from __future__ import annotations

from node_agent.wire.policy import ALLOWED, ActionClass, Isolation, Safety
from pancode.domain.admission.gate import Verdict, passed, refused, warned
from pancode.domain.resolve import Resolution
from pancode.domain.runtimes import rule_of
from pancode.domain.snapshot import AdmissionView

NAME = "safety"
_RANK = {Safety.SUGGEST: 0, Safety.AUTO_EDIT: 1, Safety.FULL_AUTO: 2}
LOOPS = "loop breaker: not there yet"


def judge(resolution: Resolution, view: AdmissionView) -> Verdict:
    safety, parent = resolution.safety, view.parent
    if parent is not None and _RANK[safety] > _RANK[parent.safety]:
        run = f"run {parent.run} has safety {parent.safety}"
        return refused(
            NAME,
            f"Dispatch blocked: {run} and cannot start one with {safety}",
            f"use --safety {parent.safety}, or dispatch it yourself",
        )
    if ActionClass.DISPATCH not in ALLOWED[safety]:
        return refused(
            NAME, f"Dispatch blocked: safety {safety} does not allow dispatch", "add --safety auto-edit"
        )
    return _held(resolution, parent is None or parent.unheld)


def _held(resolution: Resolution, may_allow: bool) -> Verdict:
    """`may_allow`: that nothing holds it is for its owner to allow, not for a run that is itself held.

    Who holds the run to its rule: the runtime, a wall on every node that could take it, or nobody."""
    runtime = resolution.runtime
    rule = rule_of(resolution.mode, resolution.safety, resolution.agent.read_only)
    if rule in runtime.holds:
        return passed(NAME, f"{rule}, enforced by {runtime.name}; {LOOPS}")
    fitting = [c for c in resolution.candidates if c.fits]
    if fitting and all(c.isolation is Isolation.SANDBOX for c in fitting):
        return passed(NAME, f"{rule}, enforced by the sandbox; {LOOPS}")
    if may_allow and runtime.own and rule == resolution.safety.value:
        return warned(NAME, f"{rule}: your own program, nothing holds it to that; {LOOPS}")
    if may_allow and resolution.request.told_only:
        return warned(NAME, f"{rule}: only told to {runtime.name}, as you allowed; {LOOPS}")
    return refused(
        NAME,
        f"Dispatch blocked: nothing would hold runtime {runtime.name} to {rule}",
        "use another runtime, a lower --safety, or add --told-only when being told is enough for you",
    )
