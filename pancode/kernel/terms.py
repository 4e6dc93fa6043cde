"""The base of every row, and the further facts of a run that only some runs have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, TypedDict

from node_agent.wire.skill import OrderedSkill


@dataclass(frozen=True, slots=True)
class Table:
    """The table of a record: its name, the fields of its key, and the indexed fields.

    An index `state,created_ms` serves a look-up by `state`, ordered by `created_ms`.
    """

    name: str
    key: tuple[str, ...]
    indexes: tuple[str, ...] = ()


class Record:
    """Base of all rows. Fields: str, int, bool, Decimal, StrEnum, None, or plain JSON (dict, list, tuple)."""

    __slots__ = ()
    TABLE: ClassVar[Table]


class Approval(TypedDict):
    """A person's yes before a run starts. `whole`: also for all of its later attempts."""

    by: str
    at_ms: int
    whole: bool


@dataclass(frozen=True, slots=True)
class GivenSkills:
    """The skills of a run as its order has them, and why other skills of its project are left out."""

    ordered: tuple[OrderedSkill, ...] = ()
    left_out: tuple[str, ...] = ()


NO_SKILLS = GivenSkills()


class RunTerms(TypedDict, total=False):
    """Facts that only some runs have; an absent key: the run has no such fact. Plain JSON in the ledger."""

    walled: bool
    """Whether the run's agent asks for a sandbox in its definition."""
    sampling: dict[str, Any]
    """Wire form of node_agent.wire.endpoint.Sampling, from the definition of the run's agent."""
    autonomy: str
    """`supervised` or `confirmatory`: a person is asked before the run's change lands."""
    free: bool
    """Whether the run's model, at its dispatch, cost nothing on any node that could take the run."""
    trusted: list[str]
    """The nodes where the run's model had passed its test when the run was dispatched."""
    model_from: str
    """Where the choice of the run's model came from, in words."""
    notes: list[str]
    """The earlier runs whose notes are in the prompt."""
    skills: list[dict[str, Any]]
    """Wire form of node_agent.wire.skill.OrderedSkill: the skills that the run is given, by name."""
    served: dict[str, Any]
    """The model server when the run was placed, as the node reported it."""
    cache_key: list[str]
    """Patterns of the files whose change makes the set-up's cached results void; absent: all files."""
    allowed_files: list[str]
    """Patterns of untracked files that the snapshot took although their names usually mean secrets."""
    let_go: dict[str, int]
    """When the run's commits (`changes`) and `logs` were let go for their age; in milliseconds."""
    verify_retries: int
    """How many new attempts follow a failed gate at most."""
    verify_on: str
    """The node that verifies the run's result, or `other`."""
    lands: bool
    """Whether the settings at dispatch land the run's result, by itself or as its workflow's result."""
    land_verified: bool
    """Whether the change lands only once another node has verified the result."""
    verifies: bool
    """Whether the run verifies the result of the run that it judges."""
    not_on: list[str]
    """Nodes that may not take the run, as it judges their own result."""
    explore: float
    """The share of runs that explore, where it is not the usual one."""
    preface: str
    """The text before the task in the run's next attempts."""
    went_on: list[dict[str, Any]]
    """What attempts left when their provider turned them away, oldest first: `after` which attempt, its
    `commit`, the `files` that it had changed, and its `findings`. Later attempts begin there."""
    own_session: dict[str, str]
    """The `session` of an earlier attempt, which the next one resumes, and the `node` that keeps it."""
    told: int
    """How many words of people there are for the run, each a row."""
    reports: list[str]
    """Files in which the run's gates report about themselves."""
    calls: list[dict[str, Any]]
    """Calls of the agent that a person was asked about, oldest first; a call's number is its place, from 1
    on."""
    permits: list[str]
    """The patterns of the rules that a person has allowed for the rest of the run."""
    score: list[str]
    """The command that gives the run's result a number."""
    other: dict[str, Any]
    """The run's fields for another provider, as admission has judged them."""
    judges: str
    """The run whose merged tree this run's gates judge."""
    recovers: bool
    """Whether the run is a recovery of the run that it goes on from, or whose work it repeats."""
    in_step: bool
    """Whether the run retries the run of a workflow's step and takes over that step."""
    in_workspace: str
    """The workspace by whose name the run was dispatched."""
    continues: str
    """The run that this one goes on from."""
    begins: str
    """The run from whose result this one begins."""
    takes: list[str]
    """All runs from whose results this one begins, where there are several."""
    carries: bool
    """Whether the run goes on from a change that had not landed, which is then part of its own change."""
    resume: dict[str, str]
    """The session with which the run was begun: run, session."""
    answers: str
    """A person's answer to the question of the run that this one continues."""
    program: str
    """The program that gave that answer instead of a person."""
    by_itself: bool
    """Whether nobody asked for this sitting: words were left, and its session was not ended."""
    past_cap: bool
    """Whether a person's yes to the cap's question has raised the session's ceiling by what it named."""
    asks: str
    """Why a person decides before the run starts."""
    approved: Approval
    objections: list[str]
    """The objections of admission's gates that a person must overrule."""
    board: list[dict[str, str]]
    """The workflow's board in wire form, only while the run's order is built."""
    charged_to: str
    """The session that also pays for the run, as one of its sittings, or a run of theirs, dispatched it."""
    named_usd: str
    """The budget that was named for the run, where an orchestrator's session may pay it."""
    preset: str
    """The preset that the run's caller named; it also counts for what the run dispatches."""
    caller_settings: dict[str, str]
    """The variables of the session's caller, as settings; they also count for what the run dispatches."""
    fleet: list[str]
    """The names of the fleet's tools that the run's agent, an orchestrator, is offered."""
    refused_calls: int
    """How many of the run's calls of such tools were refused, as far as the audit tells them."""
    turns: dict[str, Any]
    """The terms of a sitting, whose program waits for words after an answer: `idle_ms`, `turn_ms` and `mode`,
    as TurnTerms."""
    more_usd: str
    """The USD more that a person is asked for when the cap cuts a turn of the run; absent: it rests."""
    rounds: int
    """Where the sitting is left alone: how many sittings, itself the first, take one turn each while gates
    fail."""
    story: str
    """The session so far, for a sitting whose program does not remember it."""
    turn: dict[str, Any]
    """The newest turn that has ended: number, stop, why, at_ms."""
    gives_way: str
    """The run that needs this sitting's slot: the sitting was asked to rest for it."""
    scouts: dict[str, str]
    """The question that the run answers as a scout: `question`, `depth`, and the `tree` that it looks at."""
    origin: str
    """The snapshot at which the first step of the workflow began, or the user's own side of a conflict."""
    resolves: dict[str, Any]
    """The conflict that the run settles: run, origin, marked, files, way, trailers; as DispatchRequest has
    it."""
