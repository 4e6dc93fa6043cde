"""Gate 4: how deep runs may start runs; what a person dispatches is level 1."""

from __future__ import annotations

from pancode.agents.request import AdmissionView
from pancode.dispatch.admission.gate import GateVerdict, passed, refused
from pancode.dispatch.resolve import Resolution

NAME = "recursion"


def judge(resolution: Resolution, view: AdmissionView) -> GateVerdict:
    level = resolution.request.depth + 1
    if level > view.max_depth:
        return refused(
            NAME,
            f"Dispatch blocked: level {level} of runs that start runs, the limit is {view.max_depth}",
            "let the parent do it itself, or raise dispatch.max_depth (PANCODE_DISPATCH_MAX_DEPTH)",
            lifts="policy",
        )
    return passed(NAME, f"level {level} of at most {view.max_depth}")
