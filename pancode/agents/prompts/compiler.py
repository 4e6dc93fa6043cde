"""Decides the system prompt of a run. Every agent goes through here: no definition writes a prompt alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from node_agent.wire.policy import BUILT_IN, NO_RULES, Mode, PathAccess, Rules, Safety
from pancode.agents.agents import WRITE_TOOLS, Agent
from pancode.agents.prompts import fragments
from pancode.agents.runtimes import READ_ONLY, RUNTIMES, rule_of


class Category(StrEnum):
    """The parts of a prompt, in the order in which they stand."""

    IDENTITY = "identity"
    CONSTITUTION = "constitution"
    MODE = "mode"
    SAFETY = "safety"
    RULES = "rules"
    TOOLS = "tools"
    REPORT = "report"


@dataclass(frozen=True, slots=True)
class Situation:
    """The surroundings of a run that its prompt depends on."""

    mode: Mode
    safety: Safety
    runtime: str = ""
    rules: Rules = NO_RULES


@dataclass(frozen=True, slots=True)
class Piece:
    """One part."""

    category: Category
    text: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """All parts; the same agent in the same situation has the same ones to the byte."""

    pieces: tuple[Piece, ...]

    @property
    def text(self) -> str:
        return "\n\n".join(piece.text for piece in self.pieces)

    @property
    def digest(self) -> str:
        """SHA-256 of the text, in hexadecimal."""
        return hashlib.sha256(self.text.encode("utf-8", "surrogatepass")).hexdigest()


def compile_prompt(agent: Agent, situation: Situation) -> Prompt:
    """The role of the agent, then the fixed rules, then the form of its answer."""
    rule = rule_of(situation.mode, situation.safety, agent.read_only)
    made = {
        Category.IDENTITY: _identity(agent),
        Category.CONSTITUTION: _constitution(agent, rule),
        Category.MODE: _mode(agent, situation.mode),
        Category.SAFETY: fragments.RULES[rule],
        Category.RULES: "\n".join(_rules(situation.rules, _can_ask(situation.runtime))),
        Category.TOOLS: _tools(agent, rule, situation.runtime),
        Category.REPORT: fragments.REPORTS[agent.role],
    }
    return Prompt(tuple(Piece(category, made[category]) for category in Category if made[category]))


def _constitution(agent: Agent, rule: str) -> str:
    """An agent that may write no file cannot ask a person."""
    asks = rule != READ_ONLY and any(tool in WRITE_TOOLS for tool in agent.tools)
    asking = (fragments.ASKING,) if asks else ()
    return " ".join((fragments.CONSTITUTION, *asking, fragments.SCOPE[agent.role]))


def _identity(agent: Agent) -> str:
    return agent.prompt.strip() or f"You are {agent.name}. {agent.description}".strip()


def _mode(agent: Agent, mode: Mode) -> str:
    """The run's own permissions, which are not its mode's permissions for others."""
    if mode is Mode.BUILD and agent.read_only:
        return fragments.BUILD_READ_ONLY
    return fragments.MODES[mode]


def _tools(agent: Agent, rule: str, runtime: str) -> str:
    usable = [tool for tool in agent.tools if rule != READ_ONLY or tool not in WRITE_TOOLS]
    if not usable:
        return fragments.NO_TOOLS
    named = fragments.TOOLS_HEAD.format(tools=", ".join(usable))
    return f"{named} {_called(usable, runtime)}".strip()


def _called(tools: Sequence[str], runtime: str) -> str:
    """By the names that its program gives them; empty where those are ours."""
    if runtime == "codex":
        return fragments.SHELL_ONLY
    names = fragments.CALLED.get(runtime, {})
    called = dict.fromkeys(names.get(tool, tool) for tool in tools)
    return fragments.CALLED_HEAD.format(names=", ".join(called)) if names else ""


def _can_ask(runtime: str) -> bool:
    return runtime in RUNTIMES and RUNTIMES[runtime].asks_people


def _rules(rules: Rules, can_ask: bool) -> Iterator[str]:
    """Patterns only, and in quotes: a repository may have written them, and they speak to nobody."""
    written = [rule for rule in rules.paths if rule.origin != BUILT_IN]
    by_kind = {
        fragments.OF_PATHS[access]: [r.pattern for r in written if r.access is access]
        for access in PathAccess
    } | {
        fragments.OF_COMMANDS: [rule.pattern for rule in rules.commands if not (rule.ask and can_ask)],
        fragments.OF_ASKED: [rule.pattern for rule in rules.commands if rule.ask and can_ask],
    }
    lines = [
        f"{words}: {', '.join(map(json.dumps, patterns))}." for words, patterns in by_kind.items() if patterns
    ]
    if lines:
        yield fragments.BROKEN
        yield from lines
