"""The base of every row of the ledger: a frozen value with its table, key and indexes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Table:
    """The table of a record: its name, the fields of its key, the fields it is looked up by.

    An index `state,created_ms` serves a look-up by `state` that comes in the order of `created_ms`.
    """

    name: str
    key: tuple[str, ...]
    indexes: tuple[str, ...] = ()


class Record:
    """Base of all rows. Fields: str, int, bool, Decimal, StrEnum, None, or plain JSON (dict, list, tuple)."""

    __slots__ = ()
    TABLE: ClassVar[Table]
