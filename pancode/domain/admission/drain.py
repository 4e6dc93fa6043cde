"""Gate 3: whether the fleet takes new work."""

from __future__ import annotations

from pancode.domain.admission.gate import GateVerdict, passed, refused
from pancode.domain.dispatch.resolve import Resolution
from pancode.domain.dispatch.snapshot import AdmissionView

NAME = "drain"


def judge(resolution: Resolution, view: AdmissionView) -> GateVerdict:
    if view.draining is not None:
        return refused(
            NAME, f"Dispatch blocked: the fleet takes no new work: {view.draining}", "pancode fleet resume"
        )
    return passed(NAME, "the fleet takes work")
