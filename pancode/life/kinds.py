"""Why a run waits for a person."""

from __future__ import annotations

from enum import StrEnum


class ItemKind(StrEnum):
    """`dispatch`, `budget`, `policy`: before a run begins; `call`: while it works; the others: at its end."""

    QUESTION = "question"
    PERMISSION = "permission"
    LANDING = "landing"
    CALL = "call"
    DISPATCH = "dispatch"
    BUDGET = "budget"
    POLICY = "policy"


BEFORE_START = (ItemKind.DISPATCH, ItemKind.BUDGET, ItemKind.POLICY)
"""What a person approves before the run begins."""
