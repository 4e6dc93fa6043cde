"""A request for work from any interface, and the data for its admission, such as the fleet's settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from decimal import Decimal
from typing import Any

from node_agent.wire.job import Reasoning
from node_agent.wire.policy import NO_RULES, Mode, NetworkAccess, Rules, Safety
from pancode.agents.agents import Agents
from pancode.agents.agents import Pick as Pick
from pancode.agents.models import VendorList
from pancode.agents.tiers import ModelTier
from pancode.budget.books import NO_CEILING, ZERO, Ceilings, counted_usd, subtract_amount
from pancode.budget.track_record_rules import EXPLORE, ExpectedWork
from pancode.kernel.declared import to_json
from pancode.kernel.node import NodeView
from pancode.kernel.records import Balance
from pancode.kernel.rows import NO_SKILLS as NO_SKILLS
from pancode.kernel.rows import GivenSkills as GivenSkills
from pancode.kernel.states import How, LandRule
from pancode.kernel.values import replace
from pancode.kernel.visitors import Confined, find_limits
from pancode.runs.options import OPTIONS, WorkOptions
from pancode.runs.placement.breakers import EndedTries

FILES = ("git", "none")
"""Allowed values of `--workspace` besides the name of a workspace."""
TAKEN = "workspace_taken"
"""The error code of a refusal because another run is using the workspace."""


def workspace_in(value: object) -> str | None:
    """Return the name of the requested workspace; None: no workspace is requested by name."""
    return str(value) if value and value not in FILES else None


@dataclass(frozen=True, slots=True)
class PathFact:
    """A path that the task names, its location with links resolved, and whether it exists."""

    word: str
    path: str
    inside: bool
    exists: bool


@dataclass(frozen=True, slots=True)
class ScopeView:
    """A budget scope with its balance and its ceilings."""

    balance: Balance
    ceilings: Ceilings = NO_CEILING
    frees: tuple[str, ...] = ()
    """What a user can do to free money that is reserved in it, with the command."""

    @property
    def left(self) -> Decimal | None:
        """Return what remains of the scope's ceiling in USD; None: it has no ceiling."""
        usd = self.ceilings.usd
        return None if usd is None else max(subtract_amount(usd, counted_usd(self.balance)), ZERO)


@dataclass(frozen=True, slots=True)
class Parent:
    """The run that requests this one, with the rights that it may pass on. A run can only restrict its
    children further."""

    run: str
    mode: Mode
    safety: Safety
    read_only: bool
    depth: int = 0
    unheld: bool = False
    """Whether nothing enforces the parent run's rules, as its owner allowed: it is a user's own program, or
    has rules only in its prompt."""
    usd_left: Decimal | None = None
    """What remains of the parent run's limit after the shares of its children; None: it has no limit."""
    walled: bool = False
    """Whether the parent run may only be executed in a sandbox."""
    confined: Confined = Confined.NO
    """What the parent run may not do, so that its children may not either."""
    session: str = ""
    """The session to which costs of the run's children are also charged; empty: none."""
    rules: Rules = NO_RULES
    """The rules of the run: they also apply to its children, whatever the files there contain now."""
    leads: bool = False
    """Whether the run is an orchestrator's interactive one: its session's ceiling applies to its children."""


@dataclass(frozen=True, slots=True)
class AdmissionView:
    """The facts that gates may use in addition to the resolved request."""

    scopes: tuple[ScopeView, ...]
    """The budget scopes, in the order in which they reserve: the day first."""
    session: ScopeView | None = None
    """The budget scope of the session that pays for the run; None: no session pays."""
    max_depth: int = 2
    draining: str | None = None
    """Why the whole fleet accepts no work; None: it accepts work."""
    paths: tuple[PathFact, ...] = ()
    unknown: tuple[str, ...] = ()
    """Today's runs whose cost is not known yet."""
    parent: Parent | None = None
    ended: EndedTries = EndedTries()
    """The newest ended attempts, from which the loop breaker decides."""


PickModel = Callable[[str, Sequence[str], str], tuple[str, str]]
"""Chooses one of several models for an agent's task; returns it with the numbers behind the choice."""
Expect = Callable[[str, str, str | None, str], ExpectedWork | None]
"""Returns the expected usage by agent, runtime, model and task, as far as it is known."""
Figure = Callable[[str, str, str | None, str], str]
"""Returns, as text, how well the worker does such tasks by its records."""


@dataclass(frozen=True, slots=True)
class Beginning:
    """A commit of the depot at which a run's workspace begins.

    `run`: the run whose result it is. `base`: the user's commit at the first dispatch. `carries`: the result
    has a change that was not landed, with which the new run continues.
    """

    run: str
    repo: str
    commit: str
    base: str | None
    object_format: str
    carries: bool = False


@dataclass(frozen=True, slots=True)
class DispatchRequest(WorkOptions):
    """A dispatch as requested, with its options. `argv` (runtime shell only) replaces `task`. `depth`: 0 for
    a user's dispatch, the parent's depth plus 1 for that of a run."""

    task: str
    created_by: str
    argv: tuple[str, ...] | None = None
    score: str | None = None
    """A command that computes a number for the run's result."""
    depth: int = 0
    project: str | None = None
    """The absolute path of the top folder of the user's repository; None outside of one."""
    repo: str | None = None
    """The project's name in jobs, known once the snapshot was taken."""
    cwd: str | None = None
    of_project: str = ""
    """A project's name, or an issue of it: the run works in its repository, wherever `cwd` is."""
    in_workspace: str = ""
    """The workspace in which this is the next run; empty: none."""
    lane: str = ""
    """The workflow id of the lane to which this item belongs; empty: none."""
    folder: str = ""
    """The folder, relative to the project's top, in which the run begins."""
    retry_of: str | None = None
    recovers: bool = False
    """Whether a recovery started the run, in which case no other run may continue or repeat the old run."""
    parent: str | None = None
    """The run that sent this request; None: no run did."""
    charged_to: str = ""
    """The session also charged with the run's cost, though not as its interactive run; empty: none."""
    preset: str = ""
    """The preset of the caller, which also applies to what the run dispatches; empty: the preset in use."""
    caller_settings: Mapping[str, str] = field(default_factory=dict)
    """Settings from a session caller's environment variables; they also apply to what it dispatches."""
    resume: Mapping[str, str] = field(default_factory=dict)
    """The `run` and `session` that it continues, on the requested node; empty: a new session."""
    begins: Beginning | None = None
    """The commit at which the workspace begins; None: a snapshot of the working tree."""
    continues: str | None = None
    """The run that it continues from."""
    turns: Mapping[str, Any] = field(default_factory=dict)
    """The terms of an interactive run, `idle_ms`, `turn_ms` and `mode`, as in TurnTerms; empty: a headless
    run."""
    on_cap: str = ""
    """What happens if the cost cap cuts an interactive run's turn: `rest` or `ask`; empty: see settings."""
    rounds: int = 0
    """For an unattended session: how many interactive runs, including this one, may take one turn each until
    the gates pass."""
    session: str = ""
    """The first run of the interactive run's session; empty: the interactive run begins a new one."""
    story: str = ""
    """The text of the session so far, for a program that does not store sessions."""
    before: Mapping[str, str] = field(default_factory=dict)
    """The `run` whose work is recovered, and the `text` about it that the prompt includes as material; empty:
    nothing."""
    resolves: Mapping[str, object] = field(default_factory=dict)
    """The conflict to resolve: `run`, `origin` (a commit without the change), `marked` (one with both sides),
    `files`, `way` and `trailers`."""
    answers: str | None = None
    """A user's answer to the old run's question; the question can then not be answered again."""
    program: str = ""
    """The program that answered instead of a user; empty: a user answered."""
    by_itself: bool = False
    """Whether no user requested this interactive run: it starts for unanswered messages, unless its session
    was ended."""
    past_cap: bool = False
    """Whether a user has approved the question of the cap: the session's ceiling makes room for it."""
    walled: bool = False
    """Whether it may only be executed in a sandbox, as the run that requests it, or as a caller's command."""
    confined: Confined = Confined.NO
    """What it may not do because of who requested it, also when it begins later."""
    confirmed: bool = False
    """Whether a user has approved exactly this dispatch."""
    scouts: Mapping[str, str] = field(default_factory=dict)
    """The question that a scout answers: `question`, `depth`, and the `tree` (files) to read."""
    most_usd: Decimal | None = None
    """What remains of the requesting run's limit, or of its session's ceiling; None: there is no limit."""

    @property
    def repository(self) -> str | None:
        """Return the repository of which the run gets a checkout; None: the run works in an empty folder."""
        return self.project if self.workspace in (None, "git") else None

    @property
    def names_workspace(self) -> bool:
        """Whether the request names a workspace."""
        return workspace_in(self.workspace) is not None

    @property
    def continues_in_workspace(self) -> bool:
        """Whether the run continues from another run in a workspace."""
        return bool(self.in_workspace and self.continues)

    @property
    def repeats(self) -> bool:
        """Whether the run recovers another run by repeating its work."""
        return self.recovers and self.retry_of is not None

    @property
    def takes_ask(self) -> bool:
        """Whether the request's command has `--ask`; chats, scouts, issues and continued runs do not."""
        continues = bool(self.retry_of or (self.continues and not self.in_workspace))
        return not (self.turns or self.scouts or continues or self.is_of_issue)

    @property
    def is_of_issue(self) -> bool:
        """Whether the task is an issue of a tracker, and not a text of the user."""
        return bool(self.of_project and self.in_workspace)

    @property
    def is_answer(self) -> bool:
        """Whether the request only answers a run's question to a user."""
        return self.answers is not None or self.past_cap

    @property
    def is_again(self) -> bool:
        """Whether the request was made from that of an earlier run, including that run's approval."""
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
"""The current name of each renamed option, by the former name in older rows."""


def dump_request(request: DispatchRequest) -> dict[str, object]:
    """Return the request as JSON values, without `created_by`."""
    values = {name: getattr(request, name) for name in _DEFAULTS if name != "created_by"}
    return {name: to_json(value) for name, value in values.items() if value != _DEFAULTS[name]}


def request_from(data: Mapping[str, object], by: str) -> DispatchRequest:
    """Return the request from data of `dump_request`, or from values that are already typed."""
    named = {_FORMER.get(name, name): value for name, value in data.items()}
    values: dict[str, Any] = {name: _parse_value(name, value) for name, value in named.items()}
    if values.pop("verify_on", None) not in (None, "none"):
        values["land"] = False  # an earlier version stored that another node must run the gates first
    kept = Confined(values.get("confined", 0))  # without it, an earlier version stored the request
    values["confined"] = kept | find_limits("" if kept else by)
    return DispatchRequest(**{"task": "", **values, "created_by": by})


def _parse_value(name: str, value: object) -> object:
    kind = OPTIONS[name].kind if name in OPTIONS else "Money" if name == "most_usd" else ""
    if value is not None and kind in _TYPED:
        return _TYPED[kind](value)
    return tuple(value) if isinstance(value, list) else value


@dataclass(frozen=True, slots=True)
class Defaults:
    """The fleet's settings for options that a request may omit; in milliseconds, bytes and USD."""

    agent: str | None = None
    """The default agent; None: the agent is chosen by the task."""
    runtime: str | None = None
    """The default runtime; None: any that is ready."""
    model: str | None = None
    """The default model of workers."""
    scout_model: str | None = None
    """The model of agents that only read and should be fast; None: the workers' model."""
    reasoning: Reasoning | None = None
    """The reasoning level; None: the runtime's own default."""
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
    """What happens if the cost cap cuts a turn of an interactive run: rest or ask."""
    notifies: bool = True
    """Whether an orchestrator is notified automatically of the results of the runs that it started."""
    estimate_usd: Decimal = Decimal("0.75")
    estimate_tokens: int = 200_000
    estimate_ms: int = 600_000
    max_attempts: int | None = None
    on_lost: str = "ask"
    land_how: str = "squash"
    land: LandRule = LandRule.ASK
    """Which results are landed without the command `pancode land` of a user."""
    landings_held: str = ""
    """Why no change lands by itself: a removed setting that is still set; empty: none is."""
    network: Mapping[Mode, NetworkAccess] = field(default_factory=dict)
    """The least restrictive network access that runs may have, by mode."""
    raised: str = ""
    """A warning that a preset raised `safety` above the level in the other settings; empty: it did not."""
    outranked: Mapping[str, str] = field(default_factory=dict)
    """Environment variables of this command that a preset overrides, as text, by key of the setting."""
    origins: Mapping[str, str] = field(default_factory=dict)
    """The file or variable in which the setting of a model is written, by key of the setting."""
    tiers: Mapping[str, ModelTier] = field(default_factory=dict)
    """The owner's corrections of models' tiers, by pattern of the model name."""
    allowed_files: tuple[str, ...] = ()
    """Patterns of untracked files that are sent although their names usually indicate secrets."""
    models: tuple[str, ...] = ()
    """Models among which track records choose, for agents that do not name a model."""
    explore: float = EXPLORE
    """The share of dispatches that try the least-tried candidate, from 0 to 1."""
    strict_tiers: bool = False
    """Whether a model below its agent's tier causes a refusal instead of a warning."""
    history_tokens: int = 800
    """The most tokens that notes of earlier runs may have in a prompt."""
    require: Mapping[str, str] = field(default_factory=dict)
    """Labels that a node must have to get a dispatch."""
    gpus: str | None = None
    """How many GPUs (or `all`) a run gets if neither dispatch nor agent state a number; None: none."""
    gpu_memory: int | None = None
    project_says: str = ""
    """Text naming the project that sets some of these settings, and those settings; empty: none does."""
    misnamed: tuple[str, ...] = ()
    """A warning for each file whose name is nearly that of a settings file."""


def outranked_for(request: DispatchRequest, defaults: Defaults) -> tuple[str, ...]:
    """Return, as text, the variables that a preset overrides, except those that an option replaces anyway."""
    flags = {
        "models.worker": request.model,
        "models.scout": request.model,
        "dispatch.reasoning": request.reasoning,
        "dispatch.safety": request.safety,
    }
    return tuple(words for key, words in defaults.outranked.items() if key in flags and flags[key] is None)


@dataclass(frozen=True, slots=True)
class Project:
    """The settings of the repository's own pancode.yaml. Commands are argument lists."""

    setup: tuple[tuple[str, ...], ...] = ()
    cache: tuple[str, ...] = ()
    """Folders that `setup` makes and that the node caches."""
    cache_key: tuple[str, ...] = ()
    """Patterns of the files that decide whether the cache may be used; empty: all files."""
    verify: tuple[tuple[str, ...], ...] = ()
    reads: tuple[str, ...] = ()
    """Paths of ignored files or folders of the agent that the gates judge."""
    reports: tuple[str, ...] = ()
    """Paths of the report files that the gates write."""
    env: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    ports: int = 0
    """The number of ports of the node that only this run gets."""
    copies: tuple[str, ...] = ()
    """Patterns of ignored files that each run gets as copies."""
    copied: str = field(default="", repr=False)
    """These files, sealed for the coordinator; empty: none."""
    guide_chars: int = 0
    """How many characters of AGENTS.md an agent is given."""


@dataclass(frozen=True, slots=True)
class GivenNote:
    """A note of an earlier run, as a new run gets it."""

    run: str
    text: str


@dataclass(frozen=True, slots=True)
class PromptParts:
    """The parts of an agent's prompt besides its task."""

    notes: tuple[GivenNote, ...] = ()
    """Notes of earlier runs."""
    prd: str = ""
    """The file that describes the project's goals; empty: the run's checkout does not have one."""
    skills: GivenSkills = NO_SKILLS

    def __add__(self, more: PromptParts) -> PromptParts:
        skills = self.skills if more.skills is NO_SKILLS else more.skills
        return PromptParts((*self.notes, *more.notes), self.prd or more.prd, skills)


NO_PARTS = PromptParts()


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The agents, models, nodes and settings from which a dispatch can choose now."""

    agents: Agents
    nodes: tuple[NodeView, ...]
    defaults: Defaults = Defaults()
    project: Project = Project()
    expect: Expect | None = None
    """Returns what similar runs have used; None: unknown."""
    figure: Figure | None = None
    """Returns, as text, how well a worker does such tasks; None: there are no records."""
    pick: Pick | None = None
    """Chooses by track records between agents that fit a task equally; called only if needed."""
    pick_model: PickModel | None = None
    vendors: Mapping[str, VendorList] = field(default_factory=dict)
    """The model list of each vendor, by provider; each is read when it is first used."""
    rules: Rules = NO_RULES
    parts: Callable[[tuple[str, ...]], PromptParts] = lambda skills: NO_PARTS
    """Returns what features add to the prompt of an agent with these skills; evaluated when called."""

    @property
    def node_names(self) -> list[str]:
        """Return the names of the fleet's nodes."""
        return [view.node.name for view in self.nodes if view.node.removed is None]


@dataclass(frozen=True, slots=True)
class LandWay:
    """How to land a change. `branch`: as commits on this branch, with `message`; empty: into the files.

    A user's approvals: `with_commands` of files that decide what runs next, `with_secret` of a secret,
    `anyway` of a change with a run that did not end well, and `without_gates` of leaving out these gates,
    each named by its text.
    """

    by: str
    gates: bool = True
    branch: str = ""
    message: str = ""
    with_commands: bool = False
    with_secret: bool = False
    how: How = How.SQUASH
    """How the change becomes commits; used only with `branch`."""
    approves: bool = False
    """Whether the landing answers an item of the inbox; if that item no longer waits, nothing is landed."""
    anyway: bool = False
    without_gates: tuple[str, ...] = ()
    author: Mapping[str, str] = field(default_factory=dict)
    """Git's variables of author and committer in the environment of the user who lands."""

    @property
    def says_yes(self) -> bool:
        """Whether the value contains a user's approval of anything that would prevent the landing."""
        leaves_out = not self.gates or bool(self.without_gates)
        return self.with_commands or self.with_secret or self.anyway or leaves_out

    def without_yes(self) -> LandWay:
        """Return a copy without any approvals."""
        return replace(
            self, gates=True, without_gates=(), with_commands=False, with_secret=False, anyway=False
        )
