"""Gate 9: whether the agent's definition may be used."""

from __future__ import annotations

from pancode.domain.admission.gate import Verdict, passed, refused
from pancode.domain.resolve import Resolution
from pancode.domain.snapshot import AdmissionView

NAME = "agent"


def judge(resolution: Resolution, view: AdmissionView) -> Verdict:
    agent = resolution.agent
    if not agent.enabled:
        return refused(
            NAME,
            f"Dispatch blocked: agent {agent.name} is switched off",
            f"set enabled: true for {agent.name}",
        )
    kind = "read-only" if agent.read_only else "changes files"
    return passed(NAME, f"agent {agent.name}: {kind}, tools {', '.join(agent.tools) or 'none'}")
