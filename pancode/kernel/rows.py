"""The base classes of ledger rows and of facts that only some runs have, and the skills of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Protocol, Self, TypeVar, get_type_hints

from node_agent.wire.skill import JobSkill
from pancode.kernel.declared import make_reader, to_json
from pancode.kernel.values import make_value, replace

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


class Faceted(Protocol):
    """A row whose column `terms` contains facets, which means a run."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def terms(self) -> Mapping[str, object]: ...


R = TypeVar("R", bound=Faceted)


@dataclass(frozen=True, slots=True)
class Facet:
    """Base class of all facets, whose fields are keys of `terms`, each with a default.

    A run has a key only if the value is not the default. A field is plain JSON, a tuple, or a dataclass of
    such values. Each key belongs to one facet, which is defined next to the rules that read it.
    """

    @classmethod
    def of(cls, run: Faceted) -> Self:
        """Return this facet of the run; fields that the run does not have get their defaults."""
        none: Self
        terms, (parts, none) = run.terms, _list_readers(cls)
        if terms.keys().isdisjoint(parts):
            return none
        found = (read(terms[key]) if key in terms else default for key, (read, default) in parts.items())
        return make_value(cls, tuple(found))

    def on(self, run: R) -> R:
        """Return the run with this facet in place of the one it has."""
        others = {key: value for key, value in run.terms.items() if key not in _list_readers(type(self))[0]}
        return replace(run, terms={**others, **dump_facets((self,))})


def dump_facets(facets: Iterable[Facet]) -> dict[str, object]:
    """Return the value of the column `terms` for a new run with these facets."""
    every = (
        (one, key, default) for one in facets for key, (_, default) in _list_readers(type(one))[0].items()
    )
    return {key: to_json(value) for one, key, default in every if (value := getattr(one, key)) != default}


_KNOWN: dict[type[Facet], tuple[Mapping[str, tuple[Callable[[Any], Any], object]], Any]] = {}


def _list_readers(kind: type[Facet]) -> tuple[Mapping[str, tuple[Callable[[Any], Any], object]], Any]:
    """Return the reader function and the default of each key, and the facet with only defaults."""
    if kind not in _KNOWN:
        hints, none = get_type_hints(kind), kind()
        _KNOWN[kind] = {name: (make_reader(hints[name]), getattr(none, name)) for name in hints}, none
    return _KNOWN[kind]
