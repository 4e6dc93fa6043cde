"""The ten admission gates and their ORDER. Gates only judge facts that were resolved before."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from pancode.kernel.errors import RefusedError
from pancode.runs.admission.gates import capacity, permission, request
from pancode.runs.admission.plan import GateVerdict, Plan
from pancode.runs.request import AdmissionView

Gate = Callable[[Plan, AdmissionView], GateVerdict]
ORDER: Mapping[str, Gate] = {
    "mode": request.judge_mode,
    "mutation": request.judge_mutation,
    "drain": request.judge_drain,
    "recursion": request.judge_recursion,
    "task": request.judge_task,
    "paths": request.judge_paths,
    permission.SAFETY: permission.judge_safety,
    capacity.BUDGET: capacity.judge_budget,
    permission.AGENT: permission.judge_agent,
    capacity.ROUTING: capacity.judge_routing,
}
OWNERS = frozenset(
    {"drain", "recursion", permission.SAFETY, capacity.BUDGET, permission.AGENT, capacity.ROUTING}
)
"""The gates whose refusals are fixed by settings that only the owner may change."""
_NOT_FOR_RUNS = "this needs the user who started"
_ASK = "; or add --ask to wait in the inbox for approval"
NAMES: tuple[str, ...] = tuple(ORDER)


UNTIL_MS = "until_ms"
"""The key, in a refusal's details, of the time at which the refusal ends by itself."""


CHANGING = ("drain", capacity.BUDGET, capacity.ROUTING)
"""The gates whose facts change without the user: whether the fleet accepts work, budget, and nodes."""


def judge(plan: Plan, view: AdmissionView, names: Sequence[str] = NAMES) -> tuple[GateVerdict, ...]:
    """Return the verdicts of these gates, in ORDER; gates after a refusal are judged, too."""
    verdicts = tuple(gate(plan, view) for name, gate in ORDER.items() if name in names)
    return verdicts if view.parent is None else tuple(_for_a_run(v, view.parent.run) for v in verdicts)


def _for_a_run(verdict: GateVerdict, parent: str) -> GateVerdict:
    """Replace a fix that only the owner can make by the advice that run `parent` should request less."""
    if not verdict.fix or verdict.gate not in OWNERS:
        return verdict
    return replace(verdict, fix=f"{_NOT_FOR_RUNS} {parent}, not the run; request less")


def first_refused(verdicts: tuple[GateVerdict, ...], ask: bool = False) -> GateVerdict | None:
    """Return the first refusal, which decides; None if all gates let the run pass. `ask`: a user must approve
    the run before it begins, so refusals that an approval lifts do not count."""
    refusals = (verdict for verdict in verdicts if not verdict.passed)
    return next((verdict for verdict in refusals if not (ask and verdict.lifts)), None)


def refusal_error(verdict: GateVerdict, takes_ask: bool = False) -> RefusedError:
    """Return the error for this refusal. `takes_ask`: the caller's command has the option `--ask`."""
    may_lift = verdict.lifts and not verdict.code and not verdict.fix.startswith(_NOT_FOR_RUNS)
    return RefusedError(
        verdict.words,
        why=f"gate {NAMES.index(verdict.gate) + 1} of {len(NAMES)}: {verdict.gate}",
        fix=f"{verdict.fix}{_ASK if may_lift and takes_ask else ''}",
        code=verdict.code or f"refused_{verdict.gate}",
        details={} if verdict.until_ms is None else {UNTIL_MS: str(verdict.until_ms)},
    )
