"""Judges one action of an agent, a command or the use of a path, by the policy of its run. Pure."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from node_agent.policy.commands.programs import Touched, Use
from node_agent.policy.commands.reading import ScriptReading, grave_place, read_command
from node_agent.policy.globs import covers, strictest
from node_agent.policy.regex import found
from node_agent.wire.policy import (
    NO_RULES,
    ActionClass,
    CommandRule,
    PathAccess,
    PathRule,
    Policy,
    Rules,
    rule_words,
)

_ACTIONS = {
    Use.READ: ActionClass.FILE_READ,
    Use.WRITE: ActionClass.FILE_WRITE,
    Use.DELETE: ActionClass.FILE_DELETE,
}
_ALLOWED = {
    PathAccess.NONE: frozenset[Use](),
    PathAccess.READ: frozenset({Use.READ}),
    PathAccess.NO_DELETE: frozenset({Use.READ, Use.WRITE}),
}


@dataclass(frozen=True, slots=True)
class Where:
    """The base of paths: the workspace's top, and the home of its user. Empty: not known.

    `below`: the folder below the top in which the run began; its relative paths begin there.
    """

    top: str = ""
    home: str = "~"
    below: str = ""

    def placed(self, path: str) -> str:
        """The path from the top if it is inside, else absolute; `..` is resolved by name alone."""
        if self.below and not path.startswith(("/", "~")):
            path = posixpath.join(self.below, path)
        here = posixpath.normpath(path)
        if self.top and (here == self.top or here.startswith(self.top + "/")):
            return posixpath.relpath(here, self.top)
        return here


@dataclass(frozen=True, slots=True)
class Offence:
    """One action that the policy does not allow. `ends`: a person's rule forbids it without doubt.

    The others break only the level, or have words that only could be a path: they are reported. `asks`: the
    rule that lets a person say yes.
    """

    words: str
    ends: bool = False
    of_level: bool = False
    asks: CommandRule | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """The class of an action, and its offences; none: it is allowed."""

    action: ActionClass
    offences: tuple[Offence, ...] = ()
    only_looks: bool = False
    """The command is completely known, and changes nothing."""


NOWHERE = Where()


@dataclass(frozen=True, slots=True)
class Bounds:
    """The bounds of an attempt besides its order: its folder, and the rules of the node's owner."""

    where: Where = NOWHERE
    rules: Rules = NO_RULES


@dataclass(frozen=True, slots=True)
class Offences:
    """The offences that went through, in words, each once; and the first that ends the run."""

    words: tuple[str, ...] = ()
    ending: str | None = None


NO_BOUNDS = Bounds()
NOTHING_BROKEN = Offences()


def judge_command(policy: Policy, text: str, where: Where = NOWHERE) -> Judgement:
    """The judgement of a shell command, before or after it was run."""
    reading = read_command(text)
    offences = [*_by_rule(policy, text, reading), *_by_paths(policy, reading.touches, where)]
    by_level = _by_level(policy, reading.action, reading.gravest.line)
    return Judgement(reading.action, (*offences, *by_level), reading.only_looks)


def judge_path(policy: Policy, path: str, use: Use, where: Where = NOWHERE) -> Judgement:
    """The judgement of one use of a path by a tool."""
    action = _ACTIONS[use]
    if use is not Use.READ:
        action = grave_place(where.placed(path)) or action
    offences = tuple(_by_paths(policy, (Touched(path, use),), where))
    return Judgement(action, (*offences, *_by_level(policy, action, f"{use} {path}")))


def judge_action(policy: Policy, action: ActionClass, words: str) -> Judgement:
    """The judgement of an action of which only the class is known."""
    return Judgement(action, tuple(_by_level(policy, action, words)))


def refused(policy: Policy, judgement: Judgement) -> list[str]:
    """The reason why a call is forbidden, in words; empty: it is allowed.

    Two calls that only the level forbids are let through: one that only reads, and an unreadable one at a
    level that allows destructive commands.
    """
    return [one.words for one in _held(policy, judgement)]


def to_ask(policy: Policy, said: Judgement) -> list[CommandRule]:
    """The rules about which a person may be asked; empty when the call is allowed, or no yes would help."""
    rules = [one.asks for one in _held(policy, said)]
    return [rule for rule in rules if rule is not None] if all(rules) else []


def _held(policy: Policy, said: Judgement) -> list[Offence]:
    unseen = said.action is ActionClass.UNKNOWN and ActionClass.SHELL_DESTRUCTIVE in policy.allowed
    free = unseen or said.only_looks
    return [one for one in said.offences if not (one.of_level and free)]


def _by_level(policy: Policy, action: ActionClass, words: str) -> Iterator[Offence]:
    if action not in policy.allowed:
        yield Offence(f"{_short(words)}: {action} is not allowed in this run", of_level=True)


def _by_rule(policy: Policy, text: str, reading: ScriptReading) -> Iterator[Offence]:
    r"""The text as it is, and each call in the words that its program gets: `r\m  -rf` is `rm -rf`."""
    lines = (text, *(act.line for act in reading.acts))
    for rule in policy.commands:
        if any(found(rule.pattern, line) for line in lines):
            words = f"{_short(text)}: {rule_words(rule)}"
            yield Offence(words, ends=True, asks=rule if rule.ask else None)


def _by_paths(policy: Policy, touches: Sequence[Touched], where: Where) -> Iterator[Offence]:
    seen = set()
    for one in touches:
        rule = _rule_of(policy.paths, one, where)
        if rule is None or one.use in _ALLOWED[rule.access] or (one.path, rule) in seen:
            continue
        seen.add((one.path, rule))
        ends = one.sure and rule.access is not PathAccess.NO_DELETE
        verb = one.use if one.sure else "names"
        yield Offence(f"{verb} {_short(where.placed(one.path))}: {rule_words(rule)}", ends)


def _rule_of(rules: Sequence[PathRule], one: Touched, where: Where) -> PathRule | None:
    path = where.placed(one.path)
    rule = strictest(rules, path, where.home)
    if rule is not None or not one.glob:
        return rule
    return next((rule for rule in rules if covers(path, rule.pattern.removeprefix("./"), where.home)), None)


def _short(text: str, most: int = 120) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"
