"""The report of a dry run: the ten gates, the networks, and the run that would be queued."""

from __future__ import annotations

from node_agent.wire.policy import Isolation, NetworkAccess, narrowest
from pancode.runs.admission.resolution import Resolution
from pancode.runs.answers import DryRunReport, GateShape, NodeFitShape, QueuedAnswer
from pancode.runs.dispatch import Dispatched, JudgedDispatch

_MACHINE, _NOTHING = "what the machine reaches", "nothing"


def networks(resolution: Resolution) -> dict[str, str]:
    """Return what each phase of the run may reach over the network; only phases that the run has."""
    access = narrowest(resolution.rules.network)
    rest = _MACHINE if access is NetworkAccess.MACHINE else _NOTHING
    by_phase = {"the agent": rest if resolution.runtime.own else _agent(resolution, access)}
    if resolution.setup:
        by_phase["set-up"] = rest
    if resolution.gates:
        by_phase["gates"] = rest
    return by_phase


def _agent(resolution: Resolution, access: NetworkAccess) -> str:
    """Say what the agent may reach: its model alone, if it is in a sandbox and a gateway holds its key; else
    all that the machine reaches.
    """
    if access is NetworkAccess.GATEWAY:
        return "its model alone, through the gateway"
    fitting = [one for one in resolution.candidates if one.fits]
    bare = [one.name for one in fitting if one.isolation is not Isolation.SANDBOX]
    if fitting and len(bare) == len(fitting):
        return f"{_MACHINE}: there is no sandbox on {', '.join(bare)}"
    open_ = f"; on {', '.join(bare)}, without a sandbox, {_MACHINE}" if bare else ""
    return f"its model alone where the gateway holds its key; by a login of its own {_MACHINE}{open_}"


def queued(done: Dispatched) -> QueuedAnswer:
    """Return the answer about the queued run: its state, its workflow, and warnings."""
    run = done.run
    answer: QueuedAnswer = {
        "run": run.id,
        "state": run.state.value,
        "reason": run.reason,
        "agent": run.agent,
        "chosen": done.chosen,
        "warnings": list(done.warnings),
    }
    return answer if run.workflow is None else {**answer, "workflow": run.workflow}


def report(judged: JudgedDispatch) -> DryRunReport:
    """The answer of `--dry-run`: the ten gates and the plan."""
    gates: list[GateShape] = [
        {"gate": v.gate, "passed": v.passed, "warning": v.warning, "words": v.words, "fix": v.fix}
        for v in judged.verdicts
    ]
    asks = judged.resolution.asks or None
    admitted = all(v.passed or (asks is not None and v.lifts) for v in judged.verdicts)
    resolution = judged.resolution
    nodes: list[NodeFitShape] = [
        {
            "node": c.name,
            "fits": c.fits,
            "ready": c.ready,
            "why": c.why,
            "fix": c.fix,
            "isolation": c.isolation,
        }
        for c in resolution.candidates
    ]
    return {
        "dry_run": True,
        "admitted": admitted,
        "asks": asks,
        "gates": gates,
        "untested": [place.text for place in judged.untested],
        "costly_test": judged.costly,
        "notes": [*judged.outranked, *judged.notes],
        "agent": resolution.agent.name,
        "chosen": resolution.chosen,
        "runtime": resolution.runtime.name,
        "model": resolution.model,
        "reasoning": resolution.reasoning,
        "mode": resolution.mode.value,
        "safety": resolution.safety.value,
        "workspace": resolution.workspace,
        "project": resolution.project,
        "folder": resolution.request.folder,
        "setup": [list(argv) for argv in resolution.setup],
        "cache": list(resolution.cache),
        "verify": [list(argv) for argv in resolution.gates],
        "limits": resolution.limits.plain(),
        "tokens": dict(resolution.tokens),
        "left_out": list(resolution.left_out),
        "notes_of": list(resolution.notes),
        "nodes": nodes,
        "network": networks(resolution),
        "env": list(resolution.env),
        "secrets": list(resolution.secrets),
        "estimate_usd": f"{resolution.due.usd:f}",
        "estimate_tokens": resolution.due.tokens,
        "estimate_minutes": round(resolution.due.ms / 60_000, 2),
    }
