"""Gate 1: whether this mode dispatches at all, and whether a run stays within its parent's mode."""

from __future__ import annotations

from node_agent.wire.policy import MODE_DISPATCHES, MODE_WRITES
from pancode.agents.request import AdmissionView
from pancode.dispatch.admission.gate import GateVerdict, passed, refused
from pancode.dispatch.resolve import Resolution

NAME = "mode"


def judge(resolution: Resolution, view: AdmissionView) -> GateVerdict:
    mode = resolution.mode
    if mode not in MODE_DISPATCHES:
        return refused(
            NAME, f"Dispatch blocked: mode {mode} does not dispatch, it only analyzes", "add --mode build"
        )
    parent = view.parent
    if parent is not None and mode in MODE_WRITES and parent.mode not in MODE_WRITES:
        return refused(
            NAME,
            f"Dispatch blocked: run {parent.run} has mode {parent.mode} and cannot start one with {mode}",
            f"use --mode {parent.mode}, or dispatch it yourself",
        )
    return passed(NAME, f"mode {mode} dispatches")
