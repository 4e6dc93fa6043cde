"""Names the scopes of callers and the risks of requests."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class AccessScope(StrEnum):
    """What a token allows. Each of them allows to read; `admin` allows all."""

    READ = "read"
    ANSWER = "answer"
    DISPATCH = "dispatch"
    OPERATE = "operate"
    BUDGET = "budget"
    ADMIN = "admin"


class Risk(StrEnum):
    """What a request may bring about, from harmless to final."""

    LOOKS = "looks"
    ACTS = "acts"
    SPENDS = "spends"
    FINAL = "cannot be undone"


def allows(scopes: Iterable[str], needed: AccessScope) -> bool:
    """Whether a token with these scopes may ask for what needs that one."""
    granted = set(scopes)
    if needed is AccessScope.READ:
        return bool(granted)
    return needed in granted or AccessScope.ADMIN in granted
