"""Decides under which item of the inbox a dispatch waits for a person, and which gates object to it."""

from __future__ import annotations

from collections.abc import Sequence

from pancode.dispatch.admission.gate import GateVerdict
from pancode.life.inbox import ItemKind


def asks_for(verdicts: Sequence[GateVerdict]) -> str:
    """The kind of the item: an exception of a budget or a rule, or a plain dispatch."""
    lifted = {verdict.lifts for verdict in verdicts if not verdict.passed}
    found = (kind for kind in (ItemKind.BUDGET, ItemKind.POLICY) if kind.value in lifted)
    return next(found, ItemKind.DISPATCH).value


def objections(verdicts: Sequence[GateVerdict]) -> tuple[str, ...]:
    """The objections of the gates, in words."""
    return tuple(f"{one.gate}: {one.words}" for one in verdicts if not one.passed)
