"""The table of requests with an idempotency key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pancode.kernel.rows import Record, Table


@dataclass(frozen=True, slots=True)
class KeyedRequest(Record):
    """A request with an idempotency key. The row is written before it begins, and again with its answer."""

    TABLE: ClassVar = Table("keyed_requests", ("who", "key"), ("created_ms",))
    who: str
    """The sender: the owner (`socket`), a token (`token:DIGEST`) or a run (`run:ID`)."""
    key: str
    route: str
    digest: str
    """SHA-256 of the body, hexadecimal."""
    created_ms: int
    status: int | None = None
    """The HTTP status of the answer; None: no answer is stored."""
    answer: str = ""
    """The answer's JSON as it was sent."""


TABLES: tuple[type[Record], ...] = (KeyedRequest,)
