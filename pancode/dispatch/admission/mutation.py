"""Gate 2: whether an agent that changes files may run in this mode."""

from __future__ import annotations

from node_agent.wire.policy import MODE_WRITES
from pancode.agents.request import AdmissionView
from pancode.dispatch.admission.gate import GateVerdict, passed, refused
from pancode.dispatch.resolve import Resolution

NAME = "mutation"


def judge(resolution: Resolution, view: AdmissionView) -> GateVerdict:
    agent, mode = resolution.agent, resolution.mode
    if agent.read_only:
        return passed(NAME, f"agent {agent.name} is read-only")
    if mode not in MODE_WRITES:
        return refused(
            NAME,
            f"Dispatch blocked: mode {mode} takes read-only agents, {agent.name} changes files",
            "add --mode build, or take a read-only agent such as reviewer",
        )
    if view.parent is not None and view.parent.read_only:
        return refused(
            NAME,
            f"Dispatch blocked: run {view.parent.run} is read-only, agent {agent.name} changes files",
            "dispatch it yourself",
        )
    return passed(NAME, f"mode {mode} lets agent {agent.name} change files")
