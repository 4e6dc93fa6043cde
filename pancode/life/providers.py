"""Decides whether a run that a provider has turned away goes on with another one, and how it looks then."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from node_agent.wire.order import Reasoning
from pancode.core.records import Run
from pancode.core.rows.terms import RunTerms
from pancode.core.values import replace
from pancode.life.placement import can_be_had, misfit
from pancode.nodes.fleet import NodeView


def moved(run: Run, nodes: Iterable[NodeView]) -> Run | None:
    """The run with its other provider; None when it has none, or no node could take it now."""
    fields = run.terms.get("other")
    if not fields:
        return None
    before = {"after": run.attempt, "runtime": run.runtime, "asked_model": run.asked_model}
    terms: RunTerms = {**run.terms, "moved": before}
    del terms["other"]
    there = replace(run, **_typed(fields), terms=terms)
    return there if any(fitting(there, nodes)) else None


def fitting(run: Run, nodes: Iterable[NodeView]) -> Iterator[NodeView]:
    """The nodes that could take the run, now or when they are free."""
    return (view for view in nodes if can_be_had(view) and not misfit(run, view))


def as_it_was(run: Run, attempt: int) -> Run:
    """The run with the provider of this attempt."""
    before = run.terms.get("moved")
    if not before or attempt > before["after"]:
        return run
    return replace(run, runtime=before["runtime"], asked_model=before["asked_model"])


def _typed(fields: dict[str, Any]) -> dict[str, Any]:
    level = fields.get("reasoning")
    return {**fields, "reasoning": None if level is None else Reasoning(level)}
