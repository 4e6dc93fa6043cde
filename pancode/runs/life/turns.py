"""Facets of a sitting: how its session goes on, its newest turn, and its tools of the fleet."""

from __future__ import annotations

from dataclasses import dataclass

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
