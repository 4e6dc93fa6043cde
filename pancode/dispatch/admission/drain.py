"""Gate 3: whether the fleet takes new work."""

from __future__ import annotations

from pancode.agents.request import AdmissionView
from pancode.dispatch.admission.gate import GateVerdict, passed, refused
from pancode.dispatch.resolve import Resolution

NAME = "drain"


def judge(resolution: Resolution, view: AdmissionView) -> GateVerdict:
    if view.draining is not None:
        return refused(
            NAME, f"Dispatch blocked: the fleet takes no new work: {view.draining}", "pancode fleet resume"
        )
    return passed(NAME, "the fleet takes work")
