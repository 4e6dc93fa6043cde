"""Why a run waits for a person."""

from __future__ import annotations

from enum import StrEnum


class ItemKind(StrEnum):
    """`dispatch`, `budget` and `policy`: before the run begins; the others: when it has ended."""

    QUESTION = "question"
    PERMISSION = "permission"
    LANDING = "landing"
    DISPATCH = "dispatch"
    BUDGET = "budget"
    POLICY = "policy"


BEFORE_START = (ItemKind.DISPATCH, ItemKind.BUDGET, ItemKind.POLICY)
"""What a person approves before the run begins."""
