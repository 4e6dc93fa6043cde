"""The base class of every ledger row, and the skills of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from node_agent.wire.skill import JobSkill

EnvelopeText = Annotated[str, "envelope"]
"""The JSON of a signed envelope. A row has it in compressed form, a record of the ledger as it was signed."""


@dataclass(frozen=True, slots=True)
class Table:
    """The table of a record: its name, its key fields and its indexed fields. An index `state,created_ms`
    serves a look-up by `state`, ordered by `created_ms`."""

    name: str
    key: tuple[str, ...]
    indexes: tuple[str, ...] = ()


class Record:
    """Base class of rows. Fields: str, int, bool, Decimal, StrEnum, None, plain JSON (dict, list, tuple)."""

    __slots__ = ()
    TABLE: ClassVar[Table]


@dataclass(frozen=True, slots=True)
class GivenSkills:
    """The skills of a run as in its job, and why other skills of its project are left out."""

    ordered: tuple[JobSkill, ...] = ()
    left_out: tuple[str, ...] = ()


NO_SKILLS = GivenSkills()
