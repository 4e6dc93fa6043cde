"""The row of a token that opens the API over TCP."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pancode.core.rows.base import Record, Table


@dataclass(frozen=True, slots=True)
class ApiToken(Record):
    """A token. Its secret is told once and kept nowhere."""

    TABLE: ClassVar = Table("tokens", ("name",), ("digest",))
    name: str
    digest: str
    """SHA-256 of the secret, hexadecimal."""
    scopes: tuple[str, ...]
    created_ms: int
    created_by: str
    expires_ms: int | None = None
    """None: never."""
    item: str | None = None
    """The one thing of the inbox that it may answer, and `run` the run of that; None: it is bound to none."""
    run: str | None = None
    used_ms: int | None = None
    """Its last use, to the minute; None: it was never used."""
