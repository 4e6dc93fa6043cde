"""Looks up the facts that decide whether a failed attempt is tried again: nodes, the output of gates."""

from __future__ import annotations

from node_agent.wire.failure import FailureKind
from node_agent.wire.receipt import Claims
from pancode.control import passed_over
from pancode.control.work import Work
from pancode.core.values import replace
from pancode.life.receipts import needs_nodes
from pancode.life.retries import MOST_OUTPUT
from pancode.life.signals import Believed

GATES_LOG = "gates.log"
"""The stream that has what all gates wrote."""


def with_facts(work: Work, signal: Believed) -> Believed:
    """The signal of a failed attempt with what a retry needs."""
    claims, core = signal.claims, work.core
    return replace(
        signal,
        nodes=core.views(work.tx) if needs_nodes(claims.failure) else (),
        passed_over=passed_over.shunned(core).get(claims.identity.run, {}),
        output=_gates_output(work, claims) if claims.failure is FailureKind.GATE_FAILED else "",
    )


def _gates_output(work: Work, claims: Claims) -> str:
    """The end of the output of all gates; empty where they wrote none."""
    size = next((blob.size for blob in claims.blobs if blob.name == GATES_LOG), 0)
    at = max(0, size - MOST_OUTPUT)
    part = work.core.ports.depot.blob_part(claims.identity, GATES_LOG, at, MOST_OUTPUT)
    return part.decode(errors="replace")
