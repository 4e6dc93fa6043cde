"""The tables of changes of the configuration: made ones, and those that a model proposes."""

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


@dataclass(frozen=True, slots=True)
class ConfigProposal(Record):
    """A change of the configuration that waits for a user. `value` None: the setting is removed. `old` and
    `new`: the effective values before and after. `by`: who requests it; `run`: the run that sent it."""

    TABLE: ClassVar = Table("config_proposals", ("id",), ("at_ms",))
    id: str
    at_ms: int
    kind: str
    target: str
    value: str | None
    old: str
    new: str
    notes: list[str]
    why: str
    by: str
    run: str | None
