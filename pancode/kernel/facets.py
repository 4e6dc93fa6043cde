"""Facets of a run: facts that only some runs have; a facet is a typed view of keys in the column `terms`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from types import NoneType
from typing import Any, ClassVar, Protocol, Self, TypeVar, get_args, get_origin, get_type_hints

from pancode.kernel.values import make_value, replace


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
    return {key: _dump_value(value) for one, key, default in every if (value := getattr(one, key)) != default}


_Read = Callable[[Any], Any]


_KNOWN: dict[type[Facet], tuple[Mapping[str, tuple[_Read, object]], Any]] = {}


def _list_readers(kind: type[Facet]) -> tuple[Mapping[str, tuple[_Read, object]], Any]:
    """Return the reader function and the default of each key, and the facet with only defaults."""
    if kind not in _KNOWN:
        hints, none = get_type_hints(kind), kind()
        _KNOWN[kind] = {name: (_make_reader(hints[name]), getattr(none, name)) for name in hints}, none
    return _KNOWN[kind]


def _make_reader(hint: Any) -> _Read:
    """Return a function that makes a value of this type from plain JSON."""
    kind = get_origin(hint) or hint
    items = [_make_reader(one) for one in get_args(hint) if one is not NoneType]
    if kind is tuple:
        return lambda stored: tuple(map(items[0], stored))
    if is_dataclass(kind):
        reads, make = {name: _make_reader(one) for name, one in get_type_hints(kind).items()}, hint
        return lambda stored: make(**{key: reads[key](stored[key]) for key in stored if key in reads})
    return items[0] if NoneType in get_args(hint) else lambda stored: stored


def _dump_value(value: object) -> object:
    if isinstance(value, tuple):
        return [_dump_value(one) for one in value]
    if is_dataclass(value):
        return {one.name: _dump_value(getattr(value, one.name)) for one in fields(value)}
    return dict(value) if isinstance(value, Mapping) else value


@dataclass(frozen=True, slots=True)
class Judging(Facet):
    """The terms of a run that judges the result of another run by running the gates on it."""

    judges: str | None = None
    """The run whose merged tree the gates of this run check."""
    unchanged: bool = False
    """Whether it runs the gates on that run's base tree, without its change."""


@dataclass(frozen=True, slots=True)
class TurnTaking(Facet):
    """The terms of an interactive run, whose program waits for a message after each answer."""

    turns: Mapping[str, Any] = field(default_factory=dict)
    """`idle_ms`, `turn_ms`, `mode` and `by`, as TurnTerms; empty: the run takes no turns."""


@dataclass(frozen=True, slots=True)
class OwnSession:
    """The session of an earlier attempt, and the node that stores it."""

    session: str
    node: str


@dataclass(frozen=True, slots=True)
class LeftWork:
    """The commit, changed files and findings that an attempt left when its provider refused it."""

    after: int
    """The number of the attempt that left this work."""
    commit: str
    files: tuple[str, ...]
    findings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NextAttempt(Facet):
    """Additional input of a run's next attempt, besides its task and snapshot."""

    resume: Mapping[str, str] = field(default_factory=dict)
    """The session with which the run began, under the keys `run` and `session`."""
    own_session: OwnSession | None = None
    """The session of an earlier attempt, which the next attempt resumes."""
    preface: str = ""
    """The text before the task in the run's next attempts."""
    went_on: tuple[LeftWork, ...] = ()
    """The work of attempts that their provider refused, oldest first. Later attempts continue from it."""


@dataclass(frozen=True, slots=True)
class Caller(Facet):
    """The origin of the run's request, and who pays for the run."""

    charged_to: str = ""
    """The session that also pays for the run, because the run is part of it, or one of its runs dispatched
    the run."""
    named_usd: str = ""
    """The budget in USD that the caller named for the run, if an orchestrator's session may pay it."""
    preset: str = ""
    """The preset that the run's caller named; it also applies to all that the run dispatches."""
    caller_settings: Mapping[str, str] = field(default_factory=dict)
    """The session caller's PANCODE_ variables, as settings; they apply to all that the run dispatches too."""


@dataclass(frozen=True, slots=True)
class Lineage(Facet):
    """The earlier runs and results from which a run continues."""

    continues: str | None = None
    """The run that this one continues from."""
    begins: str = ""
    """The run from whose result this run begins."""
    takes: tuple[str, ...] = ()
    """All runs from whose results this run begins, if there are several."""
    carries: bool = False
    """Whether the run continues from a change that had not landed, which becomes part of its own change."""
    origin: str = ""
    """The snapshot at which the first step of the workflow began, or the user's side of a conflict."""
    resolves: Mapping[str, Any] = field(default_factory=dict)
    """The conflict that the run resolves, with the keys run, origin, marked, files, way and trailers, as in
    DispatchRequest."""
    recovers: bool = False
    """Whether the run recovers the run that it continues from, or whose work it repeats."""
    in_workspace: str = ""
    """The workspace that the run was dispatched to by name."""


@dataclass(frozen=True, slots=True)
class Provision(Facet):
    """Additional input of a run's agent, besides its task."""

    walled: bool = False
    """Whether the run's agent definition requires a sandbox."""
    confined: int = 0
    """What the run may not do because of who requested it (`visitors.Confined`)."""
    sampling: Mapping[str, Any] = field(default_factory=dict)
    """The agent definition's sampling settings, in the wire form of node_agent.wire.endpoint.Sampling."""
    cache_key: tuple[str, ...] = ()
    """Patterns of files whose change invalidates the setup's cached results; empty: all files."""
    ports: int = 0
    """The number of ports of its node that only the run gets."""
    copied: str = ""
    """Copies of ignored files of the owner's checkout, sealed for the coordinator; empty: none."""
    allowed_files: tuple[str, ...] = ()
    """Patterns of untracked files that the snapshot includes although such names usually mean secrets."""
    notes: tuple[str, ...] = ()
    """The earlier runs whose notes are in the prompt."""
    skills: tuple[Mapping[str, Any], ...] = ()
    """Wire form of node_agent.wire.skill.JobSkill: the run's skills, by name."""
    scouts: Mapping[str, str] = field(default_factory=dict)
    """The question that the run answers as a scout: `question`, `depth`, and the `tree` to read."""


@dataclass(frozen=True, slots=True)
class ModelChoice(Facet):
    """How a run's model was chosen, and the nodes where it is available."""

    free: bool = False
    """Whether, at dispatch, the run's model was free on every node that could take the run."""
    trusted: tuple[str, ...] | None = None
    """The nodes where the run's model had passed its test at dispatch; None: it has no endpoint."""
    model_from: str = ""
    """Where the choice of the run's model came from, as text."""
    served: Mapping[str, Any] = field(default_factory=dict)
    """The model server as the node reported it when the run was placed there."""
    other: Mapping[str, Any] = field(default_factory=dict)
    """The values of the run's fields if it moves to another provider, as admission approved them."""


@dataclass(frozen=True, slots=True)
class GateTerms(Facet):
    """The terms by which the run's result is judged."""

    reports: tuple[str, ...] | None = None
    """Files in which the run's gates write their reports."""
    reads: tuple[str, ...] = ()
    """Ignored files or folders of the agent that the gates judge."""
    score: tuple[str, ...] = ()
    """The command that rates the run's result with a number, as arguments."""
    verify_retries: int | None = None
    """The maximum number of new attempts after a failed gate."""
    check_first: bool = False
    """Whether the run begins only once its gates have passed on the unchanged tree."""
    verify_on: str | None = None
    """Only of runs of older versions: the node that was to run the gates again."""


@dataclass(frozen=True, slots=True)
class LandingTerms(Facet):
    """The terms by which the run's change lands automatically."""

    lands: bool = False
    """Whether the settings at dispatch land the run's result, alone or as its workflow's result."""
    autonomy: str = ""
    """The landing's oversight, `supervised` or `confirmatory`: a user is asked before the change lands."""


@dataclass(frozen=True, slots=True)
class Approval:
    """A user's approval before a run starts. `whole`: it also covers all later attempts of the run."""

    by: str
    at_ms: int
    whole: bool


@dataclass(frozen=True, slots=True)
class Approvals(Facet):
    """The decisions that a user makes before the run starts and about calls of the run's agent."""

    asks: str = ""
    """The reason why a user must approve the run before it starts."""
    approved: Approval | None = None
    objections: tuple[str, ...] = ()
    """The objections of admission gates to the run that a user must overrule."""
    calls: tuple[Mapping[str, Any], ...] = ()
    """Calls of the agent about which a user was asked, oldest first; a call's number is its position, counted
    from 1."""
    permits: tuple[str, ...] = ()
    """The patterns of the rules that a user has allowed for the rest of the run."""


@dataclass(frozen=True, slots=True)
class Messages(Facet):
    """The messages of users to the run."""

    told: int = 0
    """The number of users' messages to the run; each message is stored as a row."""
    answers: str = ""
    """A user's answer to the question of the run that this one continues."""
    program: str = ""
    """The program that gave that answer instead of a user."""


@dataclass(frozen=True, slots=True)
class EndedTurn:
    """How and when a turn ended, and what it used."""

    number: int
    stop: str
    why: str
    at_ms: int
    tokens: int | None = None
    """None if an older version recorded the turn."""
    cost_usd: str | None = None
    cost_source: str | None = None


@dataclass(frozen=True, slots=True)
class SessionTurn(Facet):
    """The facts about a run that is an interactive run of a session."""

    turn: EndedTurn | None = None
    """The newest turn that has ended."""
    story: str = ""
    """The session so far as text, for an interactive run whose program has no memory of the session."""
    rounds: int = 0
    """For an unattended session: how many interactive runs, with this one, may each take one turn while gates
    fail."""
    more_usd: str = ""
    """The additional USD to ask the user for if the cap ends a turn of the run; empty: it is suspended."""
    by_itself: bool = False
    """Whether this interactive run began without a request, because messages were left in an open session."""
    past_cap: bool = False
    """Whether a user's approval has raised the session's cap by the amount named in the question."""
    gives_way: str = ""
    """The run that needs the slot of this interactive run, which was therefore asked to suspend."""


@dataclass(frozen=True, slots=True)
class FleetLead(Facet):
    """The fleet tools that an orchestrator's interactive run may use."""

    fleet: tuple[str, ...] = ()
    """The names of the tools that the run may use."""
    refused_calls: int = 0
    """How many of the run's calls of fleet tools were refused, according to the audit log."""
