"""Agents: their definitions, their rules, and how PanCode chooses one for a task."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache

from node_agent.wire.endpoint import Sampling
from node_agent.wire.job import Reasoning
from node_agent.wire.policy import MODE_WRITES, Mode, NetworkAccess
from pancode.agents.runtimes import RUNTIMES, no_runtime
from pancode.kernel.errors import UsageError
from pancode.kernel.names import ORCHESTRATOR as ORCHESTRATOR
from pancode.kernel.names import not_found

LOOKS = (
    *("fleet_status", "agents", "models", "budget", "inbox"),
    *("runs", "run_show", "why", "logs", "diff", "wait", "verify", "history", "config_show", "workflow_show"),
)
"""The fleet tools that change nothing."""
BEGINS = ("dispatch", "dispatch_batch", "dispatch_chain", "dispatch_race", "run_workflow")
STEERS = ("tell", "stop", "workflow_stop")
WORKS = (*BEGINS, *STEERS, "continue_run", "answer", "land")
"""The tools that start or steer runs, all of them the agent's own; `land` only requests approval."""
SCOUTS = "explore"
"""The tool that starts read-only runs to answer questions; every mode allows it."""
CHANGE = "propose_change"
"""The tool that proposes a settings change to a user; its API route checks that the mode allows it."""
FLEET_TOOLS: Mapping[Mode, tuple[str, ...]] = {
    Mode.BUILD: (*LOOKS, SCOUTS, *WORKS, CHANGE),
    Mode.REVIEW: (*LOOKS, SCOUTS, *BEGINS, *STEERS),
    Mode.PLAN: (*LOOKS, SCOUTS),
    Mode.ADMIN: (*LOOKS, SCOUTS, *BEGINS, *STEERS, CHANGE),
}
"""The tools of `pancode/interfaces/mcp` by mode. In review and admin, all runs are read-only."""
ABLE = frozenset({"native", "claude-sdk", "openai-agents", "opencode", "claude"})
"""The runtimes that call these tools, as observed. Codex hides a server's tools from its model, and Copilot
starts no such server. Gemini CLI was not tried."""


def fleet_tools_of(agent: Agent, mode: Mode, runtime: str, talks: bool) -> tuple[str, ...]:
    """Return a run's fleet tools; empty unless its agent leads, a user takes part and the runtime is able."""
    return FLEET_TOOLS[mode] if agent.leads and talks and runtime in ABLE else ()


POLITE = (
    r"(?:please|kindly|now|then|first|finally|let us|let's|can you|could you|would you|will you|you should|"
    r"i want you to|i need you to|i'd like you to|we need to|help me(?: to)?)"
)
_HEAD = 4_000
"""How many leading characters of a task are searched for agent names; the rest is background material."""
_CLAUSE = rf"(?:[.;:,\n]\s*|\b(?:and|then)\s+)(?:{POLITE}[\s,:]+)*"
_BEGIN = rf"\A\s*(?:{POLITE}[\s,:]+)*"
_GIVES = r"(?:use|dispatch|send|(?:delegate|assign|give|hand)(?:\s+(?:this|it))?(?:\s+over)?\s+to)"
_ASKS = r"(?:have|let|ask|tell)"
_TO = r"(?=\s+(?:again\s+)?(?:to|for|on|as|in|with|against|and|then|first)\b|\s*[,;.:!]|\s*\Z)"
_NO_THING = (
    r"(?!\s+(?:class|module|file|function|method|pattern|package|page|test|component|service|table|folder|"
    r"interface|object|type|code|api|endpoint|library|script|command)(?:e?s)?\b)"
)
"""Such a noun after an agent's name means that the text is about part of the project, not about the agent."""


def find_mentioned(calls: Mapping[str, str], task: str) -> dict[str, str]:
    """Return the agents to which the task text assigns work, in text order, each with the phrase that does
    so. `calls`: the agent for each name or alias. Ignores case; treats spaces and hyphens alike."""
    if not calls:
        return {}
    head = task[:_HEAD]
    *first, listed = _compile_patterns(tuple(sorted(calls, key=len, reverse=True)))
    agents = {_normalize_name(call): agent for call, agent in calls.items()}
    hits = [hit for pattern in first for hit in pattern.finditer(head)]
    if hits:  # for example "use the reviewer for quality, red-team for security"
        hits += listed.finditer(head, min(hit.end() for hit in hits))
    found: dict[str, str] = {}
    for hit in sorted(hits, key=lambda hit: hit.start("words")):
        found.setdefault(agents[_normalize_name(hit["name"])], hit["words"])
    return found


def _normalize_name(name: str) -> str:
    return re.sub(r"[-_\s]+", "-", name.lower())


@lru_cache(maxsize=16)
def _compile_patterns(calls: tuple[str, ...]) -> tuple[re.Pattern[str], ...]:
    return tuple(
        re.compile(text, re.IGNORECASE) for text in _list_patterns("|".join(map(_make_name_pattern, calls)))
    )


def _make_name_pattern(call: str) -> str:
    return r"[-_\s]".join(map(re.escape, re.split(r"[-_]", call)))


def _list_patterns(names: str) -> Iterator[str]:
    """Yield patterns of text that assigns work to one of `names`; the last counts only after another one."""
    name = rf"[\"'`“]?(?P<name>{names})(?![-\w/]|\.\w)[\"'`”]?"
    agent = rf"{name}(?:\s+agent\b)?{_NO_THING}"
    the = r"(?:the|our|my)\s+"
    yield rf"{_BEGIN}(?P<words>@{name})"
    yield rf"{_BEGIN}(?P<words>{name}(?=:(?!:)))"
    for where, article in ((_BEGIN, f"(?:{the})?"), (_CLAUSE, the)):
        yield rf"{where}(?P<words>{_GIVES}\s+{article}{agent}){_TO}"
        yield rf"{where}(?P<words>{_ASKS}\s+{article}{agent})"
    yield rf"\b(?P<words>(?:by|with|through|via)\s+{the}{name}\s+agent)\b"
    yield rf"(?:,|\band)\s+(?P<words>(?:{the})?{agent})(?=\s+(?:for|to)\b)"


DEFAULT_AGENT = "builder"
ALIASES: dict[str, str] = {"dev": "builder"}
READ_TOOLS = ("read", "grep", "find", "ls")
WRITE_TOOLS = ("edit", "write", "bash")
TOOLS = (*READ_TOOLS, *WRITE_TOOLS)


class Tier(StrEnum):
    """The least capable model tier that suffices for an agent's work."""

    ANY = "any"
    SMALL = "small"
    MID = "mid"
    FRONTIER = "frontier"


class Speed(StrEnum):
    """An agent's balance between speed and care."""

    FAST = "fast"
    BALANCED = "balanced"
    THOROUGH = "thorough"


class Autonomy(StrEnum):
    """How much of its work an agent may do without a user."""

    AUTONOMOUS = "autonomous"
    SUPERVISED = "supervised"
    """A user lands its changes; they never land automatically."""
    CONFIRMATORY = "confirmatory"
    """A user approves each dispatch and lands the changes."""


class AgentIsolation(StrEnum):
    """The isolation that an agent's definition requires for each run, in addition to the default."""

    NONE = "none"
    WORKTREE = "worktree"
    CONTAINER = "container"


class Role(StrEnum):
    """The kind of answer that is expected; it decides the form of the final report."""

    WORKER = "worker"
    REVIEWER = "reviewer"
    SCOUT = "scout"
    PLANNER = "planner"
    LEAD = "lead"
    """The agent talks with a user and delegates the work."""


@dataclass(frozen=True, slots=True)
class AgentLimits:
    """Limits of the agent's runs; None: the fleet's default. In ms, bytes, tokens, USD, calls, turns."""

    wall_ms: int | None = None
    idle_ms: int | None = None
    output_bytes: int | None = None
    tokens: int | None = None
    usd: Decimal | None = None
    requests: int | None = None
    wrap_up: bool | None = None
    turns: int | None = None


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent's definition. `runtime` or `model` None: taken from the fleet's settings. `own`: a user wrote
    at least part of it. `origin`: the file and line that define the agent."""

    name: str
    description: str = ""
    prompt: str = ""
    tools: tuple[str, ...] = READ_TOOLS
    read_only: bool = True
    tier: Tier = Tier.ANY
    speed: Speed = Speed.BALANCED
    runtime: str | None = None
    node: str | None = None
    """The node that runs the agent; None: any."""
    gpus: str | None = None
    """The number of GPUs that each run reserves, or `all`; None: the project's number."""
    gpu_memory: int | None = None
    """The minimum memory of each of these GPUs, in bytes."""
    model: str | None = None
    reasoning: Reasoning | None = None
    limits: AgentLimits = AgentLimits()
    max_attempts: int | None = None
    env: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    skills: tuple[str, ...] = ()
    """The agent's skills, by name; the project's skills are added to them."""
    tags: tuple[str, ...] = ()
    enabled: bool = True
    autonomy: Autonomy = Autonomy.AUTONOMOUS
    isolations: AgentIsolation = AgentIsolation.NONE
    network: NetworkAccess | None = None
    said_role: Role | None = None
    sampling: Sampling | None = None
    origin: str = ""
    own: bool = False

    @property
    def role(self) -> Role:
        """The agent's role; by default WORKER if it writes, else SCOUT if it is fast, else REVIEWER."""
        if self.said_role is not None:
            return self.said_role
        quick = Role.SCOUT if self.speed is Speed.FAST else Role.REVIEWER
        return quick if self.read_only else Role.WORKER

    @property
    def leads(self) -> bool:
        """Whether the agent gets its work only from a user who talks with it."""
        return self.role is Role.LEAD


Agents = Mapping[str, Agent]


def find_agent(agents: Agents, name: str) -> Agent:
    """Return the agent with this name or alias. Raises NotFoundError, which suggests the nearest name."""
    found = agents.get(name) or agents.get(ALIASES.get(name, name))
    if found is None:
        raise not_found("agent", name, [*agents, *ALIASES], "pancode agents")
    return found


SAMPLES = "native"
"""The only runtime whose model calls PanCode makes itself, and so the only one that supports sampling."""


@dataclass(frozen=True, slots=True)
class Flaw:
    """An error in one field of a definition. `beside`: the other fields that conflict with it."""

    field: str
    what: str
    why: str = ""
    fix: str = ""
    beside: tuple[str, ...] = ()


def find_flaws(agent: Agent) -> Iterator[Flaw]:
    """Yield every error in a definition."""
    yield from _check_tools(agent)
    if agent.runtime is not None and agent.runtime not in RUNTIMES:
        missing = no_runtime(agent.runtime)
        yield Flaw("runtime", str(missing), missing.why, missing.fix)
    elif agent.sampling is not None and agent.runtime not in (None, SAMPLES):
        yield Flaw("sampling", *no_sampling(agent, agent.runtime or ""), beside=("runtime",))


def no_sampling(agent: Agent, runtime: str) -> tuple[str, str, str]:
    """Return the (what, why, fix) of an agent that sets sampling on a runtime that does not support it."""
    return (
        f"agent {agent.name} sets sampling, but runtime {runtime} does not support it",
        (
            f"{runtime} makes its own model calls and has no flag for sampling; only runtime {SAMPLES} "
            "supports it"
        ),
        f"remove sampling from {agent.name}, or set its runtime: {SAMPLES}",
    )


def _check_tools(agent: Agent) -> Iterator[Flaw]:
    for tool in agent.tools:
        if tool not in TOOLS:
            missing = not_found("tool", tool, TOOLS, f"valid tools: {', '.join(TOOLS)}")
            yield Flaw("tools", str(missing), missing.why, missing.fix)
    writing = [tool for tool in agent.tools if tool in WRITE_TOOLS]
    if agent.read_only and writing:
        yield Flaw(
            "tools",
            f"agent {agent.name} is read-only, but has the tool {writing[0]}",
            "a read-only agent must not have a tool that can change files",
            f"remove {', '.join(writing)} from its tools, or set readonly: false",
            beside=("readonly",),
        )


@dataclass(frozen=True, slots=True)
class Choice:
    """A chosen agent. `why`: the reason; empty if the request named the agent."""

    agent: Agent
    why: str = ""


Pick = Callable[[Sequence[str], str], tuple[str, str]]
"""Chooses one of these agents for a task; returns its name and the figures that decided."""
BY_MODE: dict[Mode, str] = {Mode.REVIEW: "reviewer", Mode.PLAN: "planner", Mode.ADMIN: "scout"}
"""The agent of each read-only mode, for a task that gives no other hint."""
_POLITE = re.compile(rf"(?:{POLITE}[\s,:]+)+", re.IGNORECASE)
_CHECKS = r"check(?![-\w]| (?:in|out|off)\b)"
"""Matches "check", but not "check in", "check out" or "check off"."""
BEGINNINGS: tuple[tuple[str, str], ...] = (
    ("plan-reviewer", r"(?:review|check|critique|judge|assess) (?:the|this|my|our) (?:\w+ )?plan"),
    ("red-team", r"(?:attack|red-?team|pen-?test|threat-?model|break into|security (?:review|audit|check))"),
    (
        "red-team",
        r"(?:review|audit|check|look|scan|analy[sz]e|examine|inspect|assess) .{0,60}?"
        r"\b(?:security|vulnerabilit\w+|exploits?|injections?|attackers?)",
    ),
    ("reviewer", rf"(?:review|audit|critique|inspect|code review|{_CHECKS}|examine|assess|evaluate)"),
    (
        "planner",
        r"(?:plan|design|outline|propose|architect|draft (?:a|the) (?:plan|design)|"
        r"(?:make|write|create) (?:a|the) (?:\w+ )?plan)",
    ),
    (
        "documenter",
        r"(?:document|(?:write|add|update|improve|extend|fix|translate) (?:\w+ ){0,3}?"
        r"(?:docs?|documentation|docstrings?|readme|changelog|tutorial|how-?to))",
    ),
    (
        "scout",
        r"(?:scout|find|locate|search|explore|explain|describe|list|show|count|look|investigate|summari[sz]e|"
        r"trace|analy[sz]e|compare|study|survey|"
        r"where|what|which|who|when|how (?:does|do|is|are|many|much)|why (?:does|do|is|are)|"
        r"is there|are there)",
    ),
)
"""Patterns of how each agent's tasks begin, narrower ones first. Other tasks go to the default agent."""
_WORD_ENDS = r"(?=\s|[,:;.!?](?:\s|\Z)|\Z)"
"""A word ends here. In "check.py" or "plan/a.md" it begins a file's name, which is not a verb."""
_BEGINNINGS = tuple((name, re.compile(rf"{text}{_WORD_ENDS}", re.IGNORECASE)) for name, text in BEGINNINGS)
CHANGES = (
    r"(?:fix|add|implement|change|refactor|rename|remove|delete|update|create|write|build|make|replace|"
    r"migrate|upgrade|convert|apply|repair|correct|resolve|improve)"
)
_FILE = r"(?!e\.g\b|i\.e\b)(?:[\w.-]+/)*(?:[\w-]+\.[a-z]\w{0,9}|README|CHANGELOG|Makefile|Dockerfile)\b"
_LOOKS_ON = (
    r"(?:review|audit|inspect|check|examine|assess|evaluate|look|see|read|find|locate|search|explore|explain|describe|"
    r"list|show|count|investigate|summari[sz]e|trace|analy[sz]e|compare|contrast|study|survey|report|tell|say|give|"
    r"name|note|quote|cite|rank|rate|sort|group|classify|judge|discuss|print|verify|consider|think|use|using|run|execute|measure|benchmark)"
)
_NO_VERB = (
    r"(?:the|a|an|its?|this|that|these|those|my|our|your|their|both|all|each|any|some|no|not|only|also|of|in|on|at|"
    r"to|for|from|with|without|by|as|about|into|under|over|near|between|than|like|per|via|if|whether|when|while|"
    r"where|what|which|who|why|how|because|since|so|but|or|and|though|before|after|until|is|are|was|were|be|has|"
    r"have|had|does|do|did|can|could|may|might|must|should|will|would|module|file|function|class|method|script|"
    r"\w+ly|\w{3,}ing)"
)
_ALSO_WRITES = re.compile(
    rf"(?:\b(?:and|then|or)|[,;.])\s+(?:\w+\s+)?{CHANGES}\b|"
    rf"(?:\b(?:and|then|or)|[,;:.])\s+(?:then\s+|also\s+|please\s+)*(?!(?:{_LOOKS_ON}|{_NO_VERB})\b)[a-z]+\s+"
    rf"(?:(?:it|them)\b|(?:(?:the|our|my|this|file)\s+)*{_FILE})|"
    rf"\binto\s+(?:the\s+)?(?:file\s+)?{_FILE}|\A\S+\s+(?:the\s+)?{_FILE}\s+in\s+{_FILE}",
    re.IGNORECASE,
)
"""A task that begins by looking also asks for a change if another of its sentences has a verb of CHANGES, or
begins with a verb that does not only look, followed by a file or by "it"; or if its result has to be in a
file. The words that are not such verbs are listed: there are fewer of them than verbs for a change."""
_ALSO_RUNS = re.compile(
    r"(?:\b(?:and|then)|[,;.])\s+(?:then\s+)?(?:run|execute|benchmark|measure)\b|"
    r"\A(?:check|see) (?:that|whether|if) .{0,80}?\b(?:pass|build|compile|run|work|succeed)(?:e?s)?\b",
    re.IGNORECASE,
)
"""A read-only task that needs a command: read-only agents have no shell, and an agent with a shell may
write."""
WHICH_AGENT = "which_agent"
"""The code of a refusal that a user resolves by naming one of the agents in its details."""
CHAINS: Mapping[tuple[str, ...], str] = {
    ("scout", "builder"): "explore-then-build",
    ("builder", "reviewer"): "code-review",
    ("planner", "builder", "reviewer"): "plan-build-verify",
    ("reviewer", "builder", "documenter"): "research-dev",
    ("red-team", "builder"): "red-team",
    ("reviewer", "plan-reviewer", "red-team"): "parallel-review",
}
"""The shipped workflow for a task that names these agents in this order."""
_WORD = re.compile(r"[\w+#.-]+")
SHOWN = 40


def choose(
    agents: Agents, task: str, mode: Mode, pick: Pick | None = None, *, is_gated: bool = False
) -> Choice:
    """Choose the agent for a task whose request names no agent.

    The same text yields the same agent, unless `pick` decides between equal agents. Raises UsageError if the
    task names several agents, or if both a writing and a read-only agent fit.
    """
    calls = {name: name for name, agent in agents.items() if not agent.leads}
    calls = {alias: name for alias, name in ALIASES.items() if name in calls} | calls
    found = find_mentioned(calls, task)
    if len(found) > 1:
        raise _make_names_error(tuple(found))
    for name, words in found.items():
        return Choice(agents[name], f"the task says {_quote_text(words)}")
    there = _select_agents(agents, mode)
    if is_gated and mode in MODE_WRITES:  # a gate judges a change
        there = {name: agent for name, agent in there.items() if not agent.read_only}
    begun = _by_tag(there, task, pick) or _by_beginning(there, task)
    return begun or _choose_default(agents, there, mode)


def _make_names_error(names: tuple[str, ...]) -> UsageError:
    """Return the error for a task that names several agents, which needs a chain or the orchestrator."""
    steps = ", ".join(f"{{agent: {name}, task: ...}}" for name in names)
    shipped = CHAINS.get(names)
    chain = f"pancode chain {shipped} TASK" if shipped else f"pancode chain FILE, with steps: [{steps}]"
    return UsageError(
        f"the task names {len(names)} agents: {', '.join(names)}",
        why="a dispatch starts one agent; use a chain to run several in sequence",
        fix=f"{chain}; or choose one with --agent NAME; or ask {ORCHESTRATOR} in a chat: pancode chat",
        code="several_agents",
    )


def _make_choice_error(one: Choice, other: Choice) -> UsageError:
    """Return the error for a task that fits two agents, only one of which may write: a user has to choose."""
    names = (one.agent.name, other.agent.name)
    return UsageError(
        f"two agents fit this task: {names[0]} ({one.why}) and {names[1]} ({other.why})",
        why="one of them may change files and run commands; the other may not",
        fix=" or ".join(f"--agent {name}" for name in names),
        code=WHICH_AGENT,
        details={"agents": " ".join(names)},
    )


def _may_take_task(agent: Agent, read_only: bool) -> bool:
    """Whether the agent may get a task. Lead agents may not: users talk with them instead."""
    return not agent.leads and (agent.read_only or not read_only)


def _select_agents(agents: Agents, mode: Mode) -> dict[str, Agent]:
    read_only = mode not in MODE_WRITES
    return {
        name: agent for name, agent in agents.items() if agent.enabled and _may_take_task(agent, read_only)
    }


def _match_tags(agents: Iterable[Agent], task: str) -> dict[str, tuple[Agent, list[str]]]:
    """Return the user's own agents that match the most tags in the task, each with the matched tags."""
    words = {word.lower().strip(".") for word in _WORD.findall(task)}
    found = {a.name: (a, [tag for tag in a.tags if tag.lower() in words]) for a in agents if a.own}
    most = max((len(tags) for _, tags in found.values()), default=0)
    return {name: one for name, one in found.items() if most and len(one[1]) == most}


def _by_tag(agents: Agents, task: str, pick: Pick | None) -> Choice | None:
    """Choose the user's agent that has the most tags in the task. On a tie, a read-only task goes to a
    read-only agent; if several remain, `pick` decides."""
    found = _match_tags(agents.values(), task)
    looks = {name: one for name, one in found.items() if one[0].read_only}
    if looks and len(looks) < len(found):
        begun = beginning_of(task)
        if begun is None or begun not in agents or not agents[begun].read_only:
            writes = next(one for name, one in sorted(found.items()) if name not in looks)
            raise _make_choice_error(_of_tags(*writes), _of_tags(*looks[min(looks)]))
        found = looks
    if not found:
        return None
    names = sorted(found)
    name, numbers = (names[0], "") if pick is None or len(names) == 1 else pick(names, task)
    choice = _of_tags(*found[name])
    return (
        replace(choice, why=f"{choice.why}, as of {_join_others(names, name)}; {numbers}")
        if numbers
        else choice
    )


def _of_tags(agent: Agent, tags: Sequence[str]) -> Choice:
    return Choice(agent, f"the task names {_join_tags(tags)}, a tag of this agent")


def _join_others(names: Sequence[str], chosen: str) -> str:
    return " and ".join(name for name in names if name != chosen)


def beginning_of(task: str) -> str | None:
    """Return the shipped agent whose tasks begin like this; None if none fits or a change is requested."""
    rest = _after_politeness(task)
    name = next((name for name, pattern in _BEGINNINGS if pattern.match(rest)), None)
    return None if name not in (None, "documenter") and _ALSO_WRITES.search(rest) else name


def _after_politeness(task: str) -> str:
    stripped = task.strip()
    polite = _POLITE.match(stripped)
    return stripped[polite.end() :] if polite else stripped


def _by_beginning(agents: Agents, task: str) -> Choice | None:
    """Choose by the task's first words. A task with a change never goes to a read-only agent."""
    rest = _after_politeness(task)
    for name, pattern in _BEGINNINGS:
        begins = pattern.match(rest)
        if begins is None or name not in agents:
            continue
        if agents[name].read_only and _ALSO_WRITES.search(rest):
            return None
        choice = Choice(agents[name], f"the task begins with {_quote_text(begins[0])}")
        runs = _ALSO_RUNS.search(rest) if agents[name].read_only and DEFAULT_AGENT in agents else None
        if runs is not None:
            words = runs[0].lstrip(",;. ")
            raise _make_choice_error(
                choice, Choice(agents[DEFAULT_AGENT], f"{_quote_text(words)} needs a command")
            )
        return choice
    return None


def _choose_default(agents: Agents, there: Agents, mode: Mode) -> Choice:
    """Return the default agent; in a read-only mode, that mode's agent or else any read-only agent."""
    if mode in MODE_WRITES:
        return Choice(find_agent(agents, DEFAULT_AGENT), "nothing in the task suggests another agent")
    name = next((n for n in (BY_MODE[mode], *sorted(there)) if n in there), None)
    if name is None:
        return Choice(find_agent(agents, DEFAULT_AGENT), "no agent is read-only")
    return Choice(there[name], f"mode {mode} requires a read-only agent")


def _join_tags(tags: Sequence[str]) -> str:
    return " and ".join(_quote_text(tag) for tag in tags)


def _quote_text(text: str) -> str:
    short = text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
    return f"“{' '.join(short.split())}”"
