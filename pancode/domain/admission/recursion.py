"""Gate 4: how deep runs may start runs."""

from __future__ import annotations

from pancode.domain.admission.gate import Verdict, passed, refused
from pancode.domain.resolve import Resolution
from pancode.domain.snapshot import AdmissionView

NAME = "recursion"


def judge(resolution: Resolution, view: AdmissionView) -> Verdict:
    depth = resolution.request.depth
    if depth >= view.max_depth:
        return refused(
            NAME,
            f"Dispatch blocked: depth {depth} is not below the limit of {view.max_depth}",
            "let the parent do it itself, or raise dispatch.max_depth (PANCODE_DISPATCH_MAX_DEPTH)",
        )
    return passed(NAME, f"depth {depth} of at most {view.max_depth - 1}")
