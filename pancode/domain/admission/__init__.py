"""The ten gates of admission and their ORDER. Gates only judge; what they judge was resolved before."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

from pancode.domain.admission import (
    agent,
    budget,
    drain,
    mode,
    mutation,
    paths,
    recursion,
    routing,
    safety,
    task,
)
from pancode.domain.admission.gate import Verdict
from pancode.domain.resolve import Resolution
from pancode.domain.snapshot import AdmissionView
from pancode.errors import RefusedError

Gate = Callable[[Resolution, AdmissionView], Verdict]
ORDER: tuple[ModuleType, ...] = (
    mode,
    mutation,
    drain,
    recursion,
    task,
    paths,
    safety,
    budget,
    agent,
    routing,
)
NAMES: tuple[str, ...] = tuple(gate.NAME for gate in ORDER)


def judge(resolution: Resolution, view: AdmissionView) -> tuple[Verdict, ...]:
    """All ten verdicts, always, in ORDER."""
    gates: list[Gate] = [gate.judge for gate in ORDER]
    return tuple(gate(resolution, view) for gate in gates)


def first_refused(verdicts: tuple[Verdict, ...]) -> Verdict | None:
    """The verdict that decides; None when all gates let the run pass."""
    return next((verdict for verdict in verdicts if not verdict.passed), None)


def refusal(verdict: Verdict) -> RefusedError:
    """The error that a face shows for a refused run."""
    return RefusedError(
        verdict.words,
        why=f"gate {NAMES.index(verdict.gate) + 1} of {len(NAMES)}: {verdict.gate}",
        fix=verdict.fix,
        code=f"refused_{verdict.gate}",
    )


__all__ = ["NAMES", "ORDER", "Verdict", "first_refused", "judge", "refusal"]
