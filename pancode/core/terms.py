"""The base of every row, and the further facts of a run that only some runs have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, TypedDict

from node_agent.wire.skill import OrderedSkill


@dataclass(frozen=True, slots=True)
class Table:
    """The table of a record: its name, the fields of its key, the fields it is looked up by.

    An index `state,created_ms` serves a look-up by `state` that comes in the order of `created_ms`.
    """

    name: str
    key: tuple[str, ...]
    indexes: tuple[str, ...] = ()


class Record:
    """Base of all rows. Fields: str, int, bool, Decimal, StrEnum, None, or plain JSON (dict, list, tuple)."""

    __slots__ = ()
    TABLE: ClassVar[Table]


class Approval(TypedDict):
    """A person's yes before a run starts. `whole`: for all of its later attempts, too."""

    by: str
    at_ms: int
    whole: bool


@dataclass(frozen=True, slots=True)
class GivenSkills:
    """The skills of a run as its order has them, and why others of its project are not among them."""

    ordered: tuple[OrderedSkill, ...] = ()
    left_out: tuple[str, ...] = ()


NO_SKILLS = GivenSkills()


class RunTerms(TypedDict, total=False):
    """An absent key: the run has no such fact. Plain JSON in the ledger."""

    walled: bool
    """Its agent's definition asks for a sandbox."""
    sampling: dict[str, Any]
    """Wire form of node_agent.wire.endpoint.Sampling, of its agent's definition."""
    autonomy: str
    """`supervised` or `confirmatory`: a person is asked before its change lands."""
    free: bool
    """Its model costs nothing on any node that could take it at its dispatch."""
    trusted: list[str]
    """The nodes where its model had passed its test at its dispatch."""
    model_from: str
    """The source of the choice of its model, in words."""
    project_says: str
    """The project that its repository is, and what that set of its settings, in words."""
    record: str
    """How well its worker did such tasks before its dispatch, in words."""
    left_out: list[str]
    """What its prompt leaves out since its model's window is small, in words."""
    notes: list[str]
    """The earlier runs whose notes are in its prompt."""
    skills: list[dict[str, Any]]
    """Wire form of node_agent.wire.skill.OrderedSkill: the skills that it is given, by name."""
    skills_left_out: list[str]
    """Why others of its project or agent are not among them, in words."""
    served: dict[str, Any]
    """Its model server at its placement, as the node reported it."""
    cache_key: list[str]
    """Patterns of the files that decide whether what its set-up makes is put back; absent: all files."""
    allowed_files: list[str]
    """Patterns of untracked files that its snapshot took although their names usually mean secrets."""
    let_go: dict[str, int]
    """When its commits (`changes`) and its `logs` went, which had become old; in milliseconds."""
    verify_retries: int
    """The number of new attempts after a failed gate."""
    verify_on: str
    """The node that verifies its result, or `other`."""
    lands: bool
    """The settings at its dispatch land its result: by itself, or as the result of its workflow."""
    land_verified: bool
    """Its change is landed only once another node has verified the result."""
    verifies: bool
    """It verifies the result of the run that it judges."""
    not_on: list[str]
    """Nodes that do not take it: their own result is judged."""
    expected: str
    """The evidence of its estimate, in words."""
    explore: float
    """The share of runs that explore, where it is not the usual one."""
    preface: str
    """The text before the task of its next attempts."""
    went_on: list[dict[str, Any]]
    """What its attempts left when their provider turned them away, oldest first: `after` which attempt, its
    `commit`, the `files` that it had changed, and its `findings`. The attempts that follow begin there."""
    own_session: dict[str, str]
    """The `session` of an own attempt, with which the next one goes on, and the `node` that keeps it."""
    told: int
    """So many words of people there are for it, each a row."""
    reports: list[str]
    """Files that its gates write about themselves."""
    calls: list[dict[str, Any]]
    """Calls of its agents that a person was asked about, oldest first; a number is a place, from 1 on."""
    permits: list[str]
    """The patterns of rules to which a person has said yes for the rest of the run."""
    score: list[str]
    """The command that gives its result a number."""
    other: dict[str, Any]
    """Its fields with another provider, as admission has judged them."""
    judges: str
    """The run whose merged tree its gates judge."""
    recovers: bool
    """It is a recovery of the run that it goes on from, or whose work it does once more."""
    in_step: bool
    """It retries the run of a workflow's step, and takes that step."""
    in_workspace: str
    """The workspace by whose name it was dispatched."""
    continues: str
    """The run that it goes on from."""
    begins: str
    """The run from whose result it begins."""
    takes: list[str]
    """All runs from whose results it begins, where those are several."""
    carries: bool
    """It goes on from a change that was not landed when it was dispatched: that is its change, too."""
    resume: dict[str, str]
    """The session with which it was begun: run, session."""
    answers: str
    """A person's answer to the question of the run that it continues."""
    program: str
    """The program that has given that answer instead of a person."""
    by_itself: bool
    """Nobody has asked for this sitting: words were left, and its session was not ended."""
    past_cap: bool
    """With the yes to it, the ceiling of its session got room for what the question of the cap named."""
    asks: str
    """The reason why a person decides before it starts."""
    approved: Approval
    objections: list[str]
    """The words of the gates that a person has to pass over."""
    board: list[dict[str, str]]
    """Only while its order is built: the board of its workflow, in wire form."""
    charged_to: str
    """The session in whose books it is, too: a sitting of it, or a run of theirs, has dispatched this run."""
    named_usd: str
    """The budget that was named for it, where an orchestrator's session may pay it."""
    preset: str
    """The preset that its caller named: it counts for what it dispatches, too."""
    fleet: list[str]
    """The tools of the fleet that its agent, an orchestrator, is offered, by name."""
    refused_calls: int
    """How many of its calls of such tools were refused, as far as the audit tells them."""
    turns: dict[str, Any]
    """It is a sitting, whose program waits for words after an answer: `idle_ms`, `turn_ms` and `mode`, as
    TurnTerms."""
    more_usd: str
    """Where its cap cuts a turn, a person is asked whether it goes on with so much more; absent: it rests."""
    rounds: int
    """It is left alone: so many sittings, itself the first, take one turn each while the gates fail."""
    story: str
    """The session so far, for a sitting whose program does not remember it."""
    turn: dict[str, Any]
    """The newest turn that has ended: number, stop, why, at_ms."""
    gives_way: str
    """The run that needs its slot: it was asked to rest for it."""
    scouts: dict[str, str]
    """The question that it answers as a scout: `question`, `depth`, and the `tree` that it looks at."""
    rehearses: str
    """The request of `agents/decompositions.py` that its model takes apart; nothing that it asks of the fleet
    is carried out."""
    origin: str
    """The snapshot at which the first step of its workflow began, or one's own side of a conflict."""
    resolves: dict[str, Any]
    """The conflict that it settles: run, origin, marked, files, way, trailers; as DispatchRequest has it."""
