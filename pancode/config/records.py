"""The table of changes of the configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pancode.kernel.rows import Record, Table


@dataclass(frozen=True, slots=True)
class ConfigChange(Record):
    """A record of a configuration change: the change that reverts it, and the value that was set."""

    TABLE: ClassVar = Table("config_changes", ("number",))
    number: int
    kind: str
    target: str
    value: str | None
    after: str | None


TABLES: tuple[type[Record], ...] = (ConfigChange,)
