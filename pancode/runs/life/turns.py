"""Facets of sittings and of what they begin: the newest turn, the tools of the fleet, and who pays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pancode.kernel.facets import Facet


@dataclass(frozen=True, slots=True)
class EndedTurn:
    """A turn that has ended: how, when, and what it used."""

    number: int
    stop: str
    why: str
    at_ms: int
    tokens: int | None = None
    """None: an older version has recorded the turn."""
    cost_usd: str | None = None
    cost_source: str | None = None


@dataclass(frozen=True, slots=True)
class SessionTurn(Facet):
    """What a run has as a sitting of a session."""

    turn: EndedTurn | None = None
    """The newest turn that has ended."""
    story: str = ""
    """The session so far, for a sitting whose program does not remember it."""
    rounds: int = 0
    """Where the sitting is left alone: how many sittings, itself the first, take one turn each while gates
    fail."""
    more_usd: str = ""
    """The USD more that a person is asked for when the cap cuts a turn of the run; empty: it rests."""
    by_itself: bool = False
    """Whether nobody asked for this sitting: words were left, and its session was not ended."""
    past_cap: bool = False
    """Whether a person's yes to the cap's question has raised the session's ceiling by what it named."""
    gives_way: str = ""
    """The run that needs this sitting's slot: the sitting was asked to rest for it."""


@dataclass(frozen=True, slots=True)
class FleetLead(Facet):
    """What an orchestrator's sitting has of the fleet's own tools."""

    fleet: tuple[str, ...] = ()
    """The names of the tools that it is offered."""
    refused_calls: int = 0
    """How many of its calls of such tools were refused, as far as the audit tells them."""


@dataclass(frozen=True, slots=True)
class Caller(Facet):
    """Who stands behind the run's request, and pays for it."""

    charged_to: str = ""
    """The session that also pays for the run, as one of its sittings, or a run of theirs, dispatched it."""
    named_usd: str = ""
    """The budget that was named for the run, where an orchestrator's session may pay it."""
    preset: str = ""
    """The preset that the run's caller named; it also counts for what the run dispatches."""
    caller_settings: Mapping[str, str] = field(default_factory=dict)
    """The variables of the session's caller, as settings; they also count for what the run dispatches."""
