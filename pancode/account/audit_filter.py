"""Names the entries of the audit that somebody wants to see."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Conditions that an entry must meet; None: no condition. `about`: a level, `run:ID` or a domain."""

    about: str | None = None
    domain: str | None = None
    level: str | None = None
    run: str | None = None
    by: str | None = None
    """The user who did it."""
