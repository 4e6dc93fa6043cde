"""The base of every message (frozen, strict, with canonical bytes), and its bounded types.

The writer of a message truncates a value that is out of bounds, and the reader refuses such a value. So a
message with too much content still arrives, and readers never need to check a value's range.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, cast

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, PlainSerializer
from pydantic_core import PydanticCustomError, core_schema

Schema = core_schema.CoreSchema
YEAR_3000_MS = 32_503_680_000_000
MOST_TOKENS = 10**12
"""The most tokens for one attempt: a thousand times the tokens of a model's busiest day."""
MOST_LASTED_MS = 10 * 366 * 86_400_000
"""Ten years."""
MOST_REAL = 1e12
_USD_DIGITS, _USD_PLACES = 15, 12
_USD = rf"^(0|[1-9][0-9]{{0,{_USD_DIGITS - 1}}})(\.[0-9]{{1,{_USD_PLACES}}})?$"
MOST_USD = Decimal("9" * _USD_DIGITS + "." + "9" * _USD_PLACES)


def _make_write_schema(read: Schema, fit: Callable[[Any], Any]) -> Schema:
    """Return the schema for writing: JSON must be within bounds; `fit` first adapts Python values to them."""
    return core_schema.json_or_python_schema(read, core_schema.no_info_before_validator_function(fit, read))


def plain_text(text: str) -> str:
    """Replace lone surrogates, which are not valid UTF-8, and NUL, which some databases refuse, by `?`."""
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode()
    return text.replace("\0", "?")


@dataclass(frozen=True, slots=True)
class Text:
    """A text of at most `most` characters, without NUL. A longer text is truncated."""

    most: int
    least: int = 0

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> Schema:
        read = core_schema.str_schema(
            strict=True, min_length=self.least, max_length=self.most, pattern=r"^[^\x00]*$"
        )
        return _make_write_schema(read, self._fit)

    def _fit(self, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        text = plain_text(value)
        return text if len(text) <= self.most else f"{text[: self.most - 1]}…"


@dataclass(frozen=True, slots=True)
class Few:
    """A tuple of at most `most` items; others are dropped. `chars`: the limit for all its texts together."""

    most: int
    chars: int | None = None

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> Schema:
        read = cast(Schema, {**handler(source), "max_length": self.most})
        if self.chars is not None:
            read = core_schema.no_info_after_validator_function(self._check_count, read)
        return _make_write_schema(read, self._fit)

    def _check_count(self, value: tuple[str, ...]) -> tuple[str, ...]:
        if self.chars is not None and sum(map(len, value)) > self.chars:
            most = {"most": self.chars}
            raise PydanticCustomError(
                "too_long", "All texts together must have at most {most} characters", most
            )
        return value

    def _fit(self, value: Any) -> Any:
        if not isinstance(value, tuple):
            return value
        kept = value[: self.most]
        while self.chars is not None and kept and sum(map(len, kept)) > self.chars:
            kept = kept[:-1]
        return kept


@dataclass(frozen=True, slots=True)
class WholeNumber:
    """A whole number from 0 or `least` to `most`. A larger number is reduced to `most`."""

    most: int
    least: int = 0

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> Schema:
        return _make_write_schema(core_schema.int_schema(strict=True, ge=self.least, le=self.most), self._fit)

    def _fit(self, value: Any) -> Any:
        return min(value, self.most) if isinstance(value, int) else value


@dataclass(frozen=True, slots=True)
class _Money:
    """US dollars: in JSON only a decimal string, so that every reader gets the exact sum."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> Schema:
        text = core_schema.str_schema(strict=True, pattern=_USD, max_length=_USD_DIGITS + 1 + _USD_PLACES)
        read = core_schema.no_info_after_validator_function(Decimal, text)
        either = core_schema.union_schema(
            [read, core_schema.decimal_schema(ge=Decimal(0), allow_inf_nan=False)]
        )
        python = core_schema.no_info_after_validator_function(self._fit, either)
        plain = core_schema.plain_serializer_function_ser_schema(
            _format_plain, return_schema=core_schema.str_schema()
        )
        return core_schema.json_or_python_schema(read, python, serialization=plain)

    def _fit(self, value: Decimal) -> Decimal:
        if value > MOST_USD:
            return MOST_USD
        exponent = value.as_tuple().exponent
        rounded = isinstance(exponent, int) and exponent < -_USD_PLACES
        return value.quantize(Decimal(1).scaleb(-_USD_PLACES)) if rounded else value


Usd = Annotated[Decimal, _Money()]
"""Money in US dollars, a decimal string on the wire, so that sums are exact."""
Tokens = Annotated[int, WholeNumber(MOST_TOKENS)]
WallMillis = Annotated[int, WholeNumber(YEAR_3000_MS)]
"""Unix time in milliseconds; every value is a valid date."""
Lasted = Annotated[int, WholeNumber(MOST_LASTED_MS)]
"""A duration, in milliseconds."""
Real = Annotated[float, Field(ge=0, le=MOST_REAL, allow_inf_nan=False)]
Name = Annotated[str, Text(200)]
"""The name of a node, a program, a model or a version."""
Line = Annotated[str, Text(1_000)]
Words = Annotated[str, Text(4_000)]
"""Text for users, up to the length that a run's timeline stores."""


class WireModel(BaseModel):
    """A value with canonical bytes, which are the same for the coordinator and the node."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        ser_json_inf_nan="constants",
        validate_by_name=True,
        serialize_by_alias=True,
    )

    def canonical(self) -> bytes:
        """Return the encoding that is signed: JSON with sorted keys, no spaces, UTF-8."""
        return canonical_json(self.model_dump(mode="json"))


def canonical_json(value: Any) -> bytes:
    """Return the canonical bytes of plain JSON data. Raises ValueError for NaN and infinities.

    A lone surrogate (half of a model's emoji) is encoded as `?`: it is not valid UTF-8, so a message that
    contains one could never be verified.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "replace")


def _format_plain(value: Decimal) -> str:
    return format(value, "f")


Share = Annotated[
    Decimal,
    Field(allow_inf_nan=False, max_digits=9, decimal_places=6),
    PlainSerializer(_format_plain, return_type=str),
]
"""A small number with a fraction, a decimal string on the wire."""
RunId = Annotated[str, Field(pattern=r"^r-[a-z0-9]{4,24}$")]
FleetId = Annotated[str, Field(pattern=r"^f-[a-z0-9]{4,24}$")]
NodeTag = Annotated[str, Field(pattern=r"^[0-9a-f]{10}$")]
"""10 hex digits of the digest of the node's public key: the node's name on the wire and in Redis."""
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""SHA-256 in hexadecimal."""
CommitId = Annotated[str, Field(pattern=r"^([0-9a-f]{40}|[0-9a-f]{64})$")]
RepoId = Annotated[str, Field(pattern=r"^[a-z0-9-]{4,80}$")]
SecretName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}$")]
MOST = 2**53 - 1
"""The largest number on the wire: every JSON reader and every database column can store it."""
Count = Annotated[int, WholeNumber(MOST)]
Millis = Annotated[int, Field(ge=0, le=MOST)]
Number = Annotated[int, Field(ge=1, le=MOST)]
"""A number that counts from 1, such as of an epoch, a lease or a message."""
Status = Annotated[int, Field(ge=-MOST, le=MOST)]
"""The exit status of a process, as its system reports it."""


class FleetTime(WireModel):
    """(epoch, milliseconds of the coordinator's boot clock). The epoch grows at each start of the
    coordinator, and times of different epochs cannot be subtracted."""

    epoch: Number
    ms: Millis

    def plus(self, ms: int) -> FleetTime:
        return FleetTime(epoch=self.epoch, ms=self.ms + ms)

    def is_past(self, now: FleetTime) -> bool:
        """Whether `now` is later than this time; a time of an older epoch is always past."""
        return (self.epoch, self.ms) < (now.epoch, now.ms)
