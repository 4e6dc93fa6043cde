"""Facets of a run: what only some runs have, each a typed view of some keys of the run's column `terms`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from types import NoneType
from typing import Any, ClassVar, Protocol, Self, TypeVar, get_args, get_origin, get_type_hints

from pancode.kernel.values import make_value, replace


class Faceted(Protocol):
    """A row whose column `terms` has facets: a run."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def terms(self) -> Mapping[str, object]: ...


R = TypeVar("R", bound=Faceted)


@dataclass(frozen=True, slots=True)
class Facet:
    """Base of all facets, whose fields are keys of `terms` with a default each.

    A run has a key only where the value is not the default. A field is plain JSON, a tuple, or a dataclass
    of such values. Each key has one facet, which stands with the rules that read it.
    """

    @classmethod
    def of(cls, run: Faceted) -> Self:
        """The run's facet; a field has its default where the run has no such fact."""
        none: Self
        terms, (parts, none) = run.terms, _parts(cls)
        if terms.keys().isdisjoint(parts):
            return none
        found = (read(terms[key]) if key in terms else default for key, (read, default) in parts.items())
        return make_value(cls, tuple(found))

    def on(self, run: R) -> R:
        """Return the run with this facet in place of the one that it has."""
        others = {key: value for key, value in run.terms.items() if key not in _parts(type(self))[0]}
        return replace(run, terms={**others, **dump_facets((self,))})


def dump_facets(facets: Iterable[Facet]) -> dict[str, object]:
    """The column `terms` of a new run that has these facets."""
    every = ((one, key, default) for one in facets for key, (_, default) in _parts(type(one))[0].items())
    return {key: _plain(value) for one, key, default in every if (value := getattr(one, key)) != default}


_Read = Callable[[Any], Any]


_KNOWN: dict[type[Facet], tuple[Mapping[str, tuple[_Read, object]], Any]] = {}


def _parts(kind: type[Facet]) -> tuple[Mapping[str, tuple[_Read, object]], Any]:
    """By key, what reads the stored value and what stands for an absent one; and the facet without facts."""
    if kind not in _KNOWN:
        hints, none = get_type_hints(kind), kind()
        _KNOWN[kind] = {name: (_reader(hints[name]), getattr(none, name)) for name in hints}, none
    return _KNOWN[kind]


def _reader(hint: Any) -> _Read:
    """What makes a value of this type out of plain JSON."""
    kind = get_origin(hint) or hint
    items = [_reader(one) for one in get_args(hint) if one is not NoneType]
    if kind is tuple:
        return lambda stored: tuple(map(items[0], stored))
    if is_dataclass(kind):
        reads, make = {name: _reader(one) for name, one in get_type_hints(kind).items()}, hint
        return lambda stored: make(**{key: reads[key](stored[key]) for key in stored if key in reads})
    return items[0] if NoneType in get_args(hint) else lambda stored: stored


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    if is_dataclass(value):
        return {one.name: _plain(getattr(value, one.name)) for one in fields(value)}
    return dict(value) if isinstance(value, Mapping) else value


@dataclass(frozen=True, slots=True)
class Judging(Facet):
    """A run that judges the result of another run, whose gates it runs."""

    judges: str | None = None
    """The run whose merged tree the gates judge."""
    verifies: bool = False
    """Whether it verifies that run's result."""
    not_on: tuple[str, ...] = ()
    """Nodes that may not take it, as it judges their own result."""


@dataclass(frozen=True, slots=True)
class TurnTaking(Facet):
    """An interactive run: a run whose program waits for a message after an answer."""

    turns: Mapping[str, Any] = field(default_factory=dict)
    """`idle_ms`, `turn_ms`, `mode` and `by`, as TurnTerms; empty: the run takes no turns."""


@dataclass(frozen=True, slots=True)
class OwnSession:
    """The session of an earlier attempt, and the node that keeps it."""

    session: str
    node: str


@dataclass(frozen=True, slots=True)
class LeftWork:
    """What an attempt left when its provider turned it away: its commit, changed files and findings."""

    after: int
    """The number of the attempt."""
    commit: str
    files: tuple[str, ...]
    findings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NextAttempt(Facet):
    """What the run's next attempt begins with, besides its task and its snapshot."""

    resume: Mapping[str, str] = field(default_factory=dict)
    """The session with which the run was begun: run, session."""
    own_session: OwnSession | None = None
    """The session of an earlier attempt, which the next one resumes."""
    preface: str = ""
    """The text before the task in the run's next attempts."""
    went_on: tuple[LeftWork, ...] = ()
    """What attempts left when their provider turned them away, oldest first. Later attempts begin there."""
