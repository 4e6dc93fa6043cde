"""Facts that only some runs have and that the engine decides on, each a facet of the run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pancode.kernel.rows import Facet


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
