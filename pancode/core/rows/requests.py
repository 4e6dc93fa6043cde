"""The row of a request that starts something, by the key that its caller gave it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pancode.core.rows.base import Record, Table


@dataclass(frozen=True, slots=True)
class KeyedRequest(Record):
    """A request with an idempotency key: written before it begins, and again with its answer."""

    TABLE: ClassVar = Table("keyed_requests", ("who", "key"), ("created_ms",))
    who: str
    """The owner (`socket`), a token (`token:DIGEST`) or a run (`run:ID`)."""
    key: str
    route: str
    digest: str
    """SHA-256 of the body, hexadecimal."""
    created_ms: int
    status: int | None = None
    """Of the answer; None: there is none yet, or it was never written."""
    answer: str = ""
    """JSON, as it was sent."""
