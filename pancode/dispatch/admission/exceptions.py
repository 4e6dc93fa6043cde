"""As which item of the inbox a dispatch waits for a person, and what gates say against it."""

from __future__ import annotations

from collections.abc import Sequence

from pancode.dispatch.admission.gate import GateVerdict
from pancode.life.kinds import ItemKind


def asks_for(verdicts: Sequence[GateVerdict]) -> str:
    """As which item it waits: an exception of a budget or a rule, or a plain dispatch."""
    lifted = {verdict.lifts for verdict in verdicts if not verdict.passed}
    found = (kind for kind in (ItemKind.BUDGET, ItemKind.POLICY) if kind.value in lifted)
    return next(found, ItemKind.DISPATCH).value


def objections(verdicts: Sequence[GateVerdict]) -> tuple[str, ...]:
    """What gates say against it."""
    return tuple(f"{one.gate}: {one.words}" for one in verdicts if not one.passed)
