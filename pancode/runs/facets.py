"""Facets of a run that the engine reads, by subject: who pays, what it goes on from, how it is judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pancode.kernel.facets import Facet


@dataclass(frozen=True, slots=True)
class Caller(Facet):
    """Who stands behind the run's request, and pays for it."""

    charged_to: str = ""
    """The session that also pays for the run, as one of its interactive runs, or a run of theirs, dispatched
    it."""
    named_usd: str = ""
    """The budget that was named for the run, where an orchestrator's session may pay it."""
    preset: str = ""
    """The preset that the run's caller named; it also counts for what the run dispatches."""
    caller_settings: Mapping[str, str] = field(default_factory=dict)
    """The variables of the session's caller, as settings; they also count for what the run dispatches."""


@dataclass(frozen=True, slots=True)
class Lineage(Facet):
    """What the run goes on from."""

    continues: str | None = None
    """The run that this one goes on from."""
    begins: str = ""
    """The run from whose result this one begins."""
    takes: tuple[str, ...] = ()
    """All runs from whose results this one begins, where there are several."""
    carries: bool = False
    """Whether the run goes on from a change that had not landed, which is then part of its own change."""
    origin: str = ""
    """The snapshot at which the first step of the workflow began, or the user's own side of a conflict."""
    resolves: Mapping[str, Any] = field(default_factory=dict)
    """The conflict that the run settles: run, origin, marked, files, way, trailers; as DispatchRequest has
    it."""
    recovers: bool = False
    """Whether the run is a recovery of the run that it goes on from, or whose work it repeats."""
    in_step: bool = False
    """Whether the run retries the run of a workflow's step and takes over that step."""
    in_workspace: str = ""
    """The workspace by whose name the run was dispatched."""


@dataclass(frozen=True, slots=True)
class Provision(Facet):
    """What the run's agent is given besides its task."""

    walled: bool = False
    """Whether the run's agent asks for a sandbox in its definition."""
    sampling: Mapping[str, Any] = field(default_factory=dict)
    """Wire form of node_agent.wire.endpoint.Sampling, from the definition of the run's agent."""
    cache_key: tuple[str, ...] = ()
    """Patterns of the files whose change makes the set-up's cached results void; empty: all files."""
    allowed_files: tuple[str, ...] = ()
    """Patterns of untracked files that the snapshot took although their names usually mean secrets."""
    notes: tuple[str, ...] = ()
    """The earlier runs whose notes are in the prompt."""
    skills: tuple[Mapping[str, Any], ...] = ()
    """Wire form of node_agent.wire.skill.OrderedSkill: the skills that the run is given, by name."""
    scouts: Mapping[str, str] = field(default_factory=dict)
    """The question that the run answers as a scout: `question`, `depth`, and the `tree` that it looks at."""
    board: tuple[Mapping[str, str], ...] | None = None
    """The workflow's board in wire form, only while the run's order is built; None: it has none."""


@dataclass(frozen=True, slots=True)
class ModelChoice(Facet):
    """How the run's model was chosen, and where it can be had."""

    free: bool = False
    """Whether the run's model, at its dispatch, cost nothing on any node that could take the run."""
    trusted: tuple[str, ...] | None = None
    """The nodes where the run's model had passed its test when the run was dispatched; None: no endpoint."""
    model_from: str = ""
    """Where the choice of the run's model came from, in words."""
    served: Mapping[str, Any] = field(default_factory=dict)
    """The model server when the run was placed, as the node reported it."""
    other: Mapping[str, Any] = field(default_factory=dict)
    """The run's fields for another provider, as admission has judged them."""


@dataclass(frozen=True, slots=True)
class GateTerms(Facet):
    """How the run's result is judged."""

    reports: tuple[str, ...] | None = None
    """Files in which the run's gates report about themselves."""
    score: tuple[str, ...] = ()
    """The command that gives the run's result a number."""
    verify_retries: int | None = None
    """How many new attempts follow a failed gate at most."""
    verify_on: str | None = None
    """The node that verifies the run's result, or `other`."""


@dataclass(frozen=True, slots=True)
class LandingTerms(Facet):
    """Whether the run's change lands by itself."""

    lands: bool = False
    """Whether the settings at dispatch land the run's result, by itself or as its workflow's result."""
    land_verified: bool = False
    """Whether the change lands only once another node has verified the result."""
    autonomy: str = ""
    """`supervised` or `confirmatory`: a user is asked before the run's change lands."""


@dataclass(frozen=True, slots=True)
class Approval:
    """A user's yes before a run starts. `whole`: also for all of its later attempts."""

    by: str
    at_ms: int
    whole: bool


@dataclass(frozen=True, slots=True)
class Approvals(Facet):
    """What a user decides before the run starts, and about calls of its agent."""

    asks: str = ""
    """Why a user decides before the run starts."""
    approved: Approval | None = None
    objections: tuple[str, ...] = ()
    """The objections of admission's gates that a user must overrule."""
    calls: tuple[Mapping[str, Any], ...] = ()
    """Calls of the agent that a user was asked about, oldest first; a call's number is its place, from 1
    on."""
    permits: tuple[str, ...] = ()
    """The patterns of the rules that a user has allowed for the rest of the run."""


@dataclass(frozen=True, slots=True)
class Words(Facet):
    """What users have said to the run."""

    told: int = 0
    """How many words of users there are for the run, each a row."""
    answers: str = ""
    """A user's answer to the question of the run that this one continues."""
    program: str = ""
    """The program that gave that answer instead of a user."""


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
    """What a run has as an interactive run of a session."""

    turn: EndedTurn | None = None
    """The newest turn that has ended."""
    story: str = ""
    """The session so far, for an interactive run whose program does not remember it."""
    rounds: int = 0
    """Where the interactive run is left alone: how many interactive runs, itself the first, take one turn
    each while gates fail."""
    more_usd: str = ""
    """The USD more that a user is asked for when the cap cuts a turn of the run; empty: it rests."""
    by_itself: bool = False
    """Whether nobody asked for this interactive run: words were left, and its session was not ended."""
    past_cap: bool = False
    """Whether a user's approval to the cap's question has raised the session's ceiling by what it named."""
    gives_way: str = ""
    """The run that needs this interactive run's slot: the interactive run was asked to rest for it."""


@dataclass(frozen=True, slots=True)
class FleetLead(Facet):
    """What an orchestrator's interactive run has of the fleet's own tools."""

    fleet: tuple[str, ...] = ()
    """The names of the tools that it is offered."""
    refused_calls: int = 0
    """How many of its calls of such tools were refused, as far as the audit tells them."""
