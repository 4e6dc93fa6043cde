"""Gate 8: whether the estimate fits under every ceiling. The hold is taken when all have passed."""

from __future__ import annotations

from pancode.domain import books
from pancode.domain.admission.gate import Verdict, passed, refused, warned
from pancode.domain.resolve import Resolution
from pancode.domain.snapshot import AdmissionView

NAME = "budget"


def judge(resolution: Resolution, view: AdmissionView) -> Verdict:
    estimate, parent = resolution.estimate_usd, view.parent
    if parent is not None and parent.usd_left == 0 and not resolution.runtime.own:
        words = f"Dispatch blocked: run {parent.run} has nothing left of its own limit"
        return refused(NAME, words, "do it there")
    for scope in view.scopes:
        if not books.fits(scope.balance, scope.ceiling, estimate):
            return refused(
                NAME,
                books.refusal(scope.balance, scope.ceiling, estimate),
                f"pancode budget show; raise it with pancode budget set USD (scope {scope.balance.scope})",
            )
    words = f"estimated ${estimate:.2f}, {_room(view)}"
    unknown = sum(scope.balance.unknown_runs for scope in view.scopes[:1])
    if unknown:
        return warned(
            NAME, f"{words}; the cost of {unknown} runs is unknown", "pancode budget settle RUN --usd X"
        )
    return passed(NAME, words)


def _room(view: AdmissionView) -> str:
    for scope in view.scopes:
        if scope.ceiling is not None:
            left = scope.ceiling - scope.balance.spent_usd - scope.balance.held_usd
            return f"${left:.2f} of ${scope.ceiling:.2f} free ({scope.balance.scope})"
    return "no ceiling"
