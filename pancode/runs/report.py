"""The answers to a dispatch: the new run; of a dry run the ten gates, and the run that would be queued."""

from __future__ import annotations

from pancode.control.faces import Json
from pancode.dispatch.dispatch import Dispatched, JudgedDispatch
from pancode.dispatch.networks import networks
from pancode.dispatch.resolve import Resolution


def queued(done: Dispatched) -> Json:
    """The new run, its workflow, and warnings."""
    run = done.run
    within = {} if run.workflow is None else {"workflow": run.workflow}
    told = {"run": run.id, "state": run.state.value, "reason": run.reason, "agent": run.agent}
    return {**told, "chosen": done.chosen, **within, "warnings": list(done.warnings)}


def report(judged: JudgedDispatch) -> Json:
    """The answer of `--dry-run`: the ten gates and the plan."""
    gates = [
        {"gate": v.gate, "passed": v.passed, "warning": v.warning, "words": v.words, "fix": v.fix}
        for v in judged.verdicts
    ]
    asks = judged.resolution.asks or None
    admitted = all(v.passed or (asks and v.lifts) for v in judged.verdicts)
    places = [place.text for place in judged.untested]
    notes = [*judged.outranked, *judged.notes]
    remarks = {"untested": places, "costly_test": judged.costly, "notes": notes}
    return {
        "dry_run": True,
        "admitted": admitted,
        "asks": asks,
        "gates": gates,
        **remarks,
        **_plan(judged.resolution),
    }


def _plan(resolution: Resolution) -> Json:
    nodes = [
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
        "nodes": nodes,
        "network": networks(resolution),
        "env": list(resolution.env),
        "secrets": list(resolution.secrets),
        "estimate_usd": f"{resolution.due.usd:f}",
        "estimate_tokens": resolution.due.tokens,
        "estimate_minutes": round(resolution.due.ms / 60_000, 2),
    }
