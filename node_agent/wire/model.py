"""The base of every message: frozen, strict, no unknown field, canonical bytes."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer

from node_agent.wire.bounded import WholeNumber


class WireModel(BaseModel):
    """A value that both sides agree on to the byte."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, ser_json_inf_nan="constants")

    def canonical(self) -> bytes:
        """The one encoding that is signed: sorted keys, no blanks, UTF-8."""
        return canonical_json(self.model_dump(mode="json", by_alias=True))


def canonical_json(value: Any) -> bytes:
    """Canonical bytes of plain JSON data; refuses NaN and infinities (ValueError).

    Half a surrogate pair (a model's torn emoji) is signed as `?`: as such it is not UTF-8, and no one would
    ever believe the message that quotes it.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "replace")


def _plain(value: Decimal) -> str:
    return format(value, "f")


Share = Annotated[
    Decimal,
    Field(allow_inf_nan=False, max_digits=9, decimal_places=6),
    PlainSerializer(_plain, return_type=str),
]
"""A small number with a fraction, a decimal string on the wire."""
RunId = Annotated[str, Field(pattern=r"^r-[a-z0-9]{4,24}$")]
FleetId = Annotated[str, Field(pattern=r"^f-[a-z0-9]{4,24}$")]
NodeTag = Annotated[str, Field(pattern=r"^[0-9a-f]{10}$")]
"""10 hex digits of the digest of the node's public key: what names a node on the wire and in Redis."""
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""SHA-256 in hexadecimal."""
CommitId = Annotated[str, Field(pattern=r"^([0-9a-f]{40}|[0-9a-f]{64})$")]
RepoId = Annotated[str, Field(pattern=r"^[a-z0-9-]{4,80}$")]
SecretName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}$")]
MOST = 2**53 - 1
"""No number on the wire is larger: every reader of JSON, and every column, holds it."""
Count = Annotated[int, WholeNumber(MOST)]
Millis = Annotated[int, Field(ge=0, le=MOST)]
Number = Annotated[int, Field(ge=1, le=MOST)]
"""A number that is counted from 1: an epoch, a fence, a message."""
Status = Annotated[int, Field(ge=-MOST, le=MOST)]
"""The exit status of a process, as its system says it."""
