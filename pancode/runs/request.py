"""A request for work from any interface, with its expectations and the snapshot that it begins from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from decimal import Decimal
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, Field, create_model

from node_agent.wire.job import Reasoning
from node_agent.wire.policy import NO_RULES, Mode, NetworkAccess, Rules, Safety
from pancode.agents.agents import Agents
from pancode.agents.agents import Pick as Pick
from pancode.agents.models import VendorList
from pancode.agents.tiers import ModelTier
from pancode.budget.books import NO_CEILING, ZERO, Ceilings, counted_usd, subtract_amount
from pancode.budget.track_record_rules import EXPLORE, ExpectedWork
from pancode.kernel.node import NodeView
from pancode.kernel.records import Balance
from pancode.kernel.rows import NO_SKILLS as NO_SKILLS
from pancode.kernel.rows import GivenSkills as GivenSkills
from pancode.kernel.states import LandRule
from pancode.runs.options import OPTIONS, Option, WorkOptions
from pancode.runs.placement.breakers import EndedTries

M = TypeVar("M", bound=BaseModel)

FILES = ("git", "none")
"""Allowed values of `--workspace` besides the name of a workspace."""
TAKEN = "workspace_taken"
"""The code of the refusal while somebody works in the workspace."""


def workspace_in(value: object) -> str | None:
    """Return the name of the requested workspace; None: none is requested by name."""
    return str(value) if value and value not in FILES else None


@dataclass(frozen=True, slots=True)
class PathFact:
    """A path that the task names: its location with links resolved, and whether it exists."""

    word: str
    path: str
    inside: bool
    exists: bool


@dataclass(frozen=True, slots=True)
class ScopeView:
    """One scope of the budget."""

    balance: Balance
    ceilings: Ceilings = NO_CEILING
    frees: tuple[str, ...] = ()
    """What a user can do to free money that is reserved in it, with the command."""

    @property
    def left(self) -> Decimal | None:
        """Return what the scope's ceiling leaves in USD; None: it has no ceiling."""
        usd = self.ceilings.usd
        return None if usd is None else max(subtract_amount(usd, counted_usd(self.balance)), ZERO)


@dataclass(frozen=True, slots=True)
class Parent:
    """The run that requests this one, and what it may pass on. A run can only restrict its children
    further."""

    run: str
    mode: Mode
    safety: Safety
    read_only: bool
    depth: int = 0
    unheld: bool = False
    """Whether nothing enforces the run's rule, as its owner allowed: a user's own program, or a prompt-only
    rule."""
    usd_left: Decimal | None = None
    """The rest of the run's own limit, less the shares of its children; None: it has no limit."""
    walled: bool = False
    """Whether the run works only in a sandbox."""
    session: str = ""
    """The session whose books also count the run's children; empty: none."""
    rules: Rules = NO_RULES
    """The rules of the run: they also apply to its children, whatever the files there contain now."""
    leads: bool = False
    """Whether the run is an orchestrator's interactive run: its session's ceiling counts for its children."""


@dataclass(frozen=True, slots=True)
class AdmissionView:
    """Everything besides the resolution that a gate may use."""

    scopes: tuple[ScopeView, ...]
    """The scopes in the order of their reservations: the day first."""
    session: ScopeView | None = None
    """The scope of the session that pays for the run; None: no session pays."""
    max_depth: int = 2
    draining: str | None = None
    """Why the whole fleet accepts no work; None: it accepts work."""
    paths: tuple[PathFact, ...] = ()
    unknown: tuple[str, ...] = ()
    """Today's runs whose cost is not known yet."""
    parent: Parent | None = None
    ended: EndedTries = EndedTries()
    """The newest attempts that ended, on which the loop breaker decides."""


PickModel = Callable[[str, Sequence[str], str], tuple[str, str]]
"""Chooses one of these models for an agent's task; returns it with the numbers behind the choice."""
Expect = Callable[[str, str, str | None, str], ExpectedWork | None]
"""Returns the expected usage by agent, runtime, model and task, as far as it is known."""
Figure = Callable[[str, str, str | None, str], str]
"""Returns, as text, how well the worker does such tasks by its records."""


@dataclass(frozen=True, slots=True)
class Beginning:
    """A commit of the depot as the beginning of a run's workspace.

    `run`: the run whose result it is. `base`: the user's commit at the first dispatch. `carries`: that result
    has a change that was not landed, and the new run continues with it.
    """

    run: str
    repo: str
    commit: str
    base: str | None
    object_format: str
    carries: bool = False


@dataclass(frozen=True, slots=True)
class DispatchRequest(WorkOptions):
    """One dispatch as requested, with its options. `argv` (runtime shell only) replaces `task`. `depth`: 0
    from a user, the parent's depth plus 1 from a run."""

    task: str
    created_by: str
    argv: tuple[str, ...] | None = None
    score: str | None = None
    """A command that gives the run's result a number."""
    depth: int = 0
    project: str | None = None
    """The absolute path of the top of the user's repository; None outside of one."""
    repo: str | None = None
    """The project's name in jobs; known once its snapshot was taken."""
    cwd: str | None = None
    of_project: str = ""
    """A project's name, or an issue of it: the run works in its repository, wherever `cwd` is."""
    in_workspace: str = ""
    """The workspace in which the run is the next one; empty: none."""
    lane: str = ""
    """The workflow of the lane to which this item belongs; empty: none."""
    folder: str = ""
    """The folder, relative to the project's top, in which the run begins."""
    retry_of: str | None = None
    recovers: bool = False
    """Whether a recovery has started it: nothing else may continue the old run or repeat its work."""
    in_step: bool = False
    """Whether it takes over the workflow step of the run that it retries."""
    parent: str | None = None
    """The run that requests it from inside; None: no run does."""
    charged_to: str = ""
    """The session whose books also count it, without being an interactive run; empty: none."""
    preset: str = ""
    """The preset of its caller, which also applies to what the run dispatches; empty: the applied one."""
    caller_settings: Mapping[str, str] = field(default_factory=dict)
    """The variables of a session's caller, as settings, which also apply to what the session dispatches."""
    resume: Mapping[str, str] = field(default_factory=dict)
    """The `run` and `session` that it continues, on the requested node; empty: a new session."""
    begins: Beginning | None = None
    """The commit at which its workspace begins; None: a snapshot of the working tree."""
    continues: str | None = None
    """The run that it continues from."""
    turns: Mapping[str, Any] = field(default_factory=dict)
    """The terms of an interactive run: `idle_ms`, `turn_ms`, `mode`, as TurnTerms has them; empty: a headless
    run."""
    on_cap: str = ""
    """`rest` or `ask`: what happens if the interactive run's cap cuts a turn; empty: as the settings say."""
    rounds: int = 0
    """If unattended: how many interactive runs, including this one, take one turn each until the gates
    pass."""
    session: str = ""
    """The first run of the interactive run's session; empty: the interactive run begins a new one."""
    story: str = ""
    """The session so far, for a program that does not store it."""
    before: Mapping[str, str] = field(default_factory=dict)
    """What the prompt says, as material, of the run whose work it recovers: `run` and `text`; empty:
    nothing."""
    resolves: Mapping[str, object] = field(default_factory=dict)
    """The conflict that it settles: `run`, `origin` (a commit without the change), `marked` (one with both
    sides), `files`, `way`, `trailers`."""
    answers: str | None = None
    """A user's answer to the old run's question, which can then not be answered again."""
    program: str = ""
    """The program that answered instead of a user; empty: a user answered."""
    by_itself: bool = False
    """Whether nobody requested this interactive run: it starts for unanswered messages, unless its session is
    ended."""
    past_cap: bool = False
    """Whether a user has approved the question of the cap: the session's ceiling makes room for it."""
    walled: bool = False
    """Whether the run that requests it works only in a sandbox, so that this one does, too."""
    confirmed: bool = False
    """Whether a user has approved this very dispatch."""
    scouts: Mapping[str, str] = field(default_factory=dict)
    """The question that it answers as a scout: `question`, `depth`, and the `tree` that it reads."""
    most_usd: Decimal | None = None
    """What is left of the requesting run's own limit, or of its session's ceiling; None: there is no
    limit."""

    @property
    def repository(self) -> str | None:
        """Return the repository of which the run gets a checkout; None: it works in an empty folder."""
        return self.project if self.workspace in (None, "git") else None

    @property
    def names_workspace(self) -> bool:
        """Whether the request names a workspace."""
        return workspace_in(self.workspace) is not None

    @property
    def continues_in_workspace(self) -> bool:
        """Whether the run continues from another one in a workspace."""
        return bool(self.in_workspace and self.continues)

    @property
    def repeats(self) -> bool:
        """Whether the run recovers another one by repeating its work."""
        return self.recovers and self.retry_of is not None

    @property
    def takes_ask(self) -> bool:
        """Whether its command has `--ask`: not a chat, a scout, an issue, or a continuation of a run."""
        continues = bool(self.retry_of or (self.continues and not self.in_workspace))
        return not (self.turns or self.scouts or continues or self.is_of_issue)

    @property
    def is_of_issue(self) -> bool:
        """Whether its task is an issue of a tracker, not text of the user."""
        return bool(self.of_project and self.in_workspace)

    @property
    def is_answer(self) -> bool:
        """Whether it only answers a run's question to a user."""
        return self.answers is not None or self.past_cap

    @property
    def is_again(self) -> bool:
        """Whether it was made from an earlier run's request, and includes that run's approval."""
        earlier = (self.retry_of, self.continues)
        return (
            self.is_answer or self.recovers or bool(self.resolves) or any(one is not None for one in earlier)
        )


_DEFAULTS: Mapping[str, Any] = {
    one.name: one.default_factory() if one.default_factory is not MISSING else one.default
    for one in fields(DispatchRequest)
}
_TYPED: Mapping[str, Callable[[Any], object]] = {
    "Mode": Mode,
    "Safety": Safety,
    "Reasoning": Reasoning,
    "NetworkAccess": NetworkAccess,
    "Money": lambda usd: Decimal(str(usd)),
    "Gpus": str,
}
"""By the type of an option: the function that reads its value from plain JSON."""
_FORMER = {"max_attempts": "attempts"}
"""Former names of options in older rows, each with its new name."""


def dump_request(request: DispatchRequest) -> dict[str, object]:
    """Return the request as plain JSON, without `created_by`."""
    values = {name: getattr(request, name) for name in _DEFAULTS if name != "created_by"}
    return {name: _dump_value(value) for name, value in values.items() if value != _DEFAULTS[name]}


def _dump_value(value: object) -> object:
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, tuple):
        return list(value)
    return dict(value) if isinstance(value, Mapping) else value


def request_from(data: Mapping[str, object], by: str) -> DispatchRequest:
    """Return the request from data written by `dump_request` or from values that are already typed."""
    named = {_FORMER.get(name, name): value for name, value in data.items()}
    values: dict[str, Any] = {name: _parse_value(name, value) for name, value in named.items()}
    return DispatchRequest(**{"task": "", **values, "created_by": by})


def _parse_value(name: str, value: object) -> object:
    kind = OPTIONS[name].kind if name in OPTIONS else "Money" if name == "most_usd" else ""
    if value is not None and kind in _TYPED:
        return _TYPED[kind](value)
    return tuple(value) if isinstance(value, list) else value


def with_options(types: Mapping[str, Any], *, in_file: bool = False) -> Callable[[type[M]], type[M]]:
    """Add the options to a model that reads requests. `types`: a reader for each type of an option.

    In a file an option's key is its flag, and its bounds are checked when it is read. In a request they are
    only declared here and checked later (`check_options`), with errors that name the flag.
    """

    def made(model: type[M]) -> type[M]:
        declared: dict[str, Any] = {}
        for one in OPTIONS.values():
            default = None if in_file and one.kind != "Labels" else one.default
            read = _add_bounds(one, types[one.kind], in_file=in_file)
            declared[one.word if in_file else one.name] = (
                read | None if default is None else read,
                Field(default=default, description=one.help),
            )
        about: Any = {"__module__": model.__module__, "__doc__": model.__doc__}
        return create_model(model.__name__, __base__=model, **about, **declared)

    return made


def _add_bounds(one: Option, read: Any, *, in_file: bool) -> Any:
    if one.words:
        told = Field(json_schema_extra={"enum": list(one.words)})
        return Literal[one.words] if in_file else Annotated[read, told]
    if one.bounds is None or (in_file and one.kind != "Count"):
        return read
    least, most = one.bounds
    told = Field(json_schema_extra={"minimum": least, "maximum": most})
    return Annotated[read, Field(ge=least, le=most) if in_file else told]


@dataclass(frozen=True, slots=True)
class Defaults:
    """The fleet's settings for options that a request may omit. Milliseconds, bytes, USD."""

    agent: str | None = None
    """The default agent; None: chosen by the task."""
    runtime: str | None = None
    """The default runtime; None: whichever is ready."""
    model: str | None = None
    """The workers' model."""
    scout_model: str | None = None
    """The model of agents that only read and should be fast; None: the workers' model."""
    reasoning: Reasoning | None = None
    """The level of reasoning; None: the runtime's own."""
    mode: Mode = Mode.BUILD
    safety: Safety = Safety.AUTO_EDIT
    wall_ms: int = 3_600_000
    idle_ms: int | None = None
    output_bytes: int = 64 * 1024 * 1024
    tokens: int | None = None
    requests: int | None = None
    wrap_up: bool = False
    memory_bytes: int | None = None
    processes: int | None = None
    disk_bytes: int | None = None
    per_run_usd: Decimal | None = None
    sitting_usd: Decimal = Decimal(2)
    """The most that one interactive run of a session may cost; all of it is reserved."""
    on_cap: str = "rest"
    """What an interactive run does if its cap has cut a turn: rest or ask."""
    notifies: bool = True
    """Whether an orchestrator is notified automatically of the results of the runs that it started."""
    estimate_usd: Decimal = Decimal("0.75")
    estimate_tokens: int = 200_000
    estimate_ms: int = 600_000
    max_attempts: int | None = None
    on_lost: str = "ask"
    land_how: str = "squash"
    verify_on: str | None = None
    land: LandRule = LandRule.ASK
    """Which results are landed without a user's `pancode land`."""
    network: Mapping[Mode, NetworkAccess] = field(default_factory=dict)
    """The widest network access of runs, by mode."""
    raised: str = ""
    """A text that says that a preset raised `safety` above the settings without it."""
    outranked: Mapping[str, str] = field(default_factory=dict)
    """The variables of this one command that a preset overrides, as text, by key."""
    origins: Mapping[str, str] = field(default_factory=dict)
    """Where each model's setting is written, by key."""
    tiers: Mapping[str, ModelTier] = field(default_factory=dict)
    """The owner's corrections of models' tiers, by pattern."""
    allowed_files: tuple[str, ...] = ()
    """Patterns of untracked files that are sent although their names usually mean secrets."""
    models: tuple[str, ...] = ()
    """Models among which the records choose for agents that name none."""
    explore: float = EXPLORE
    """The share of dispatches that try the least-tried candidate."""
    strict_tiers: bool = False
    """Whether a model below its agent's tier is refused instead of only causing a warning."""
    history_tokens: int = 800
    """The most tokens of notes of earlier runs in a prompt."""
    require: Mapping[str, str] = field(default_factory=dict)
    """Labels that a node must have to accept a dispatch."""
    gpus: str | None = None
    """How many GPUs a run gets if its dispatch and agent name none, or `all`; None: none."""
    gpu_memory: int | None = None
    project_says: str = ""
    """The project that sets some of these settings, and which ones, as text; empty: none does."""


def outranked_for(request: DispatchRequest, defaults: Defaults) -> tuple[str, ...]:
    """Return the variables that a preset overrides, as text; without those that a flag sets anyway."""
    flags = {
        "models.worker": request.model,
        "models.scout": request.model,
        "dispatch.reasoning": request.reasoning,
        "dispatch.safety": request.safety,
    }
    return tuple(words for key, words in defaults.outranked.items() if key in flags and flags[key] is None)


@dataclass(frozen=True, slots=True)
class Project:
    """The repository's own pancode.yaml. Commands are argument lists."""

    setup: tuple[tuple[str, ...], ...] = ()
    cache: tuple[str, ...] = ()
    """Folders that `setup` makes and that the node caches."""
    cache_key: tuple[str, ...] = ()
    """Patterns of the files that decide whether the cache may be used; empty: all files."""
    verify: tuple[tuple[str, ...], ...] = ()
    reports: tuple[str, ...] = ()
    """The files into which the gates write reports."""
    env: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    guide_chars: int = 0
    """The number of characters of AGENTS.md that an agent is given."""


@dataclass(frozen=True, slots=True)
class GivenNote:
    """A note of an earlier run in the repository, as it is given to a new run."""

    run: str
    text: str


@dataclass(frozen=True, slots=True)
class PromptParts:
    """What an agent is given besides its task."""

    notes: tuple[GivenNote, ...] = ()
    """Notes of earlier runs."""
    prd: str = ""
    """The file that describes the project's goals; empty: the run has none in its checkout."""
    skills: GivenSkills = NO_SKILLS

    def __add__(self, more: PromptParts) -> PromptParts:
        skills = self.skills if more.skills is NO_SKILLS else more.skills
        return PromptParts((*self.notes, *more.notes), self.prd or more.prd, skills)


NO_PARTS = PromptParts()


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The choices that a dispatch has now."""

    agents: Agents
    nodes: tuple[NodeView, ...]
    defaults: Defaults = Defaults()
    project: Project = Project()
    expect: Expect | None = None
    """Returns what such runs have needed; None: unknown."""
    figure: Figure | None = None
    """Returns how well a worker does such tasks; None: no records are stored."""
    pick: Pick | None = None
    """Chooses by records between agents that fit a task equally; called only if needed."""
    pick_model: PickModel | None = None
    vendors: Mapping[str, VendorList] = field(default_factory=dict)
    """The vendors' lists by provider; each is read at its first use."""
    rules: Rules = NO_RULES
    parts: Callable[[tuple[str, ...]], PromptParts] = lambda skills: NO_PARTS
    """Returns what features add to the prompt of an agent with these skills; evaluated when called."""

    @property
    def node_names(self) -> list[str]:
        """Return the names of the fleet's nodes."""
        return [view.node.name for view in self.nodes if view.node.removed is None]
