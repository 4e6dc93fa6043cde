"""Checks one action of an agent, a command or the use of a path, against the policy of its run. Pure."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from node_agent.policy.commands.programs import Touched, Use
from node_agent.policy.commands.reading import ScriptReading, grave_place, read_command
from node_agent.policy.patterns import could_hold, find_strictest, has_match, is_covering
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
    """The base of relative paths: the workspace's top, and its user's home. Empty: unknown. `below`: the
    folder below the top in which the run began, where relative paths start."""

    top: str = ""
    home: str = "~"
    below: str = ""

    def placed(self, path: str) -> str:
        """Return the path relative to the top if it is below the top, else absolute; `..` is resolved by name
        only."""
        if self.below and not path.startswith(("/", "~")):
            path = posixpath.join(self.below, path)
        here = posixpath.normpath(path)
        if self.top and (here == self.top or here.startswith(self.top + "/")):
            return posixpath.relpath(here, self.top)
        return here


@dataclass(frozen=True, slots=True)
class Offence:
    """One action that the policy does not allow. `ends`: it certainly breaks a user's rule, and ends the run.

    Other offenses break only the safety level, or have words that may not be paths; they are only reported.
    `rule`: the rule under which a user can approve the action.
    """

    words: str
    ends: bool = False
    of_level: bool = False
    rule: CommandRule | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """The class of an action, and its offenses; an action without offenses is allowed."""

    action: ActionClass
    offences: tuple[Offence, ...] = ()
    only_looks: bool = False
    """Whether the command is completely known, and changes nothing."""


NOWHERE = Where()


def deny_unasked(command: str, pattern: str) -> bool:
    """Return False, because without a user nothing can be approved."""
    return False


@dataclass(frozen=True, slots=True)
class Bounds:
    """The limits of an attempt apart from its job: its folder, and the rules of the node's owner.

    `allowed`: returns whether a user has approved a command under the rule of a pattern. `fleet`: the job's
    fleet tools.
    """

    where: Where = NOWHERE
    rules: Rules = NO_RULES
    allowed: Callable[[str, str], bool] = deny_unasked
    fleet: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Offences:
    """The offenses that were not prevented, as texts without duplicates, and the first one that ends the
    run."""

    words: tuple[str, ...] = ()
    ending: str | None = None


NO_BOUNDS = Bounds()
NOTHING_BROKEN = Offences()


def judge_command(policy: Policy, text: str, where: Where = NOWHERE) -> Judgement:
    """Check a shell command, before or after it was run."""
    reading = read_command(text)
    offences = [*_by_rule(policy, text, reading), *_by_paths(policy, reading.touches, where)]
    by_level = _by_level(policy, reading.action, reading.gravest.line)
    return Judgement(reading.action, (*offences, *by_level), reading.only_looks)


def judge_path(policy: Policy, path: str, use: Use, where: Where = NOWHERE) -> Judgement:
    """Check one use of a path by a tool."""
    action = _ACTIONS[use]
    if use is not Use.READ:
        action = grave_place(where.placed(path)) or action
    offences = tuple(_by_paths(policy, (Touched(path, use),), where))
    return Judgement(action, (*offences, *_by_level(policy, action, f"{use} {path}")))


def judge_action(policy: Policy, action: ActionClass, words: str) -> Judgement:
    """Check an action of which only the class is known."""
    return Judgement(action, tuple(_by_level(policy, action, words)))


def list_refusals(policy: Policy, judgement: Judgement) -> list[str]:
    """Return the reasons why a call is forbidden, as texts; none if it is allowed.

    Two kinds of call are allowed although the level forbids them: one that only reads, and an unreadable one
    at a level that allows destructive commands.
    """
    return [one.words for one in _list_offences(policy, judgement)]


def to_ask(policy: Policy, judgement: Judgement) -> list[CommandRule]:
    """Return the rules under which a user may be asked; none if the call is allowed or approval would not
    help."""
    rules = [one.rule for one in _list_offences(policy, judgement)]
    return [rule for rule in rules if rule is not None] if all(rules) else []


def find_ask_rules(policy: Policy, text: str) -> tuple[CommandRule, ...]:
    """Return the rules that require approval of this command, even if other rules forbid it."""
    found = (one.rule for one in _by_rule(policy, text, read_command(text)))
    return tuple(rule for rule in found if rule is not None)


def _list_offences(policy: Policy, judgement: Judgement) -> list[Offence]:
    unseen = judgement.action is ActionClass.UNKNOWN and ActionClass.SHELL_DESTRUCTIVE in policy.allowed
    free = unseen or judgement.only_looks
    return [one for one in judgement.offences if not (one.of_level and free)]


def _by_level(policy: Policy, action: ActionClass, words: str) -> Iterator[Offence]:
    if action not in policy.allowed:
        yield Offence(f"{_shorten_text(words)}: {action} is not allowed in this run", of_level=True)


def _by_rule(policy: Policy, text: str, reading: ScriptReading) -> Iterator[Offence]:
    r"""Yield the offenses by a match of the text itself and of each call's real words: `r\m -rf` is `rm -rf`.

    A command that cannot be read may be of any class, so every rule that requires approval applies to it.
    """
    lines = (text, *(act.line for act in reading.acts))
    acts = {act.action for act in reading.acts}
    unread = ActionClass.UNKNOWN in acts and ActionClass.UNKNOWN not in policy.allowed
    for rule in policy.commands:
        by_text = not rule.classes and any(has_match(rule.pattern, line) for line in lines)
        sure = by_text or not acts.isdisjoint(rule.classes)
        if sure or (rule.classes and unread):
            words = f"{_shorten_text(text)}: {rule_words(rule)}"
            yield Offence(words, ends=sure, rule=rule if rule.ask else None)


def _by_paths(policy: Policy, touches: Sequence[Touched], where: Where) -> Iterator[Offence]:
    seen = set()
    for one in touches:
        rule = _rule_of(policy.paths, one, where)
        if rule is None or one.use in _ALLOWED[rule.access] or (one.path, rule) in seen:
            continue
        seen.add((one.path, rule))
        ends = one.sure and rule.access is not PathAccess.NO_DELETE
        verb = one.use if one.sure else "names"
        yield Offence(f"{verb} {_shorten_text(where.placed(one.path))}: {rule_words(rule)}", ends)


def _rule_of(rules: Sequence[PathRule], one: Touched, where: Where) -> PathRule | None:
    path = where.placed(one.path)
    rule = find_strictest(rules, path, where.home)
    if rule is not None or not one.glob:
        return rule
    return next(
        (rule for rule in rules if is_covering(path, rule.pattern.removeprefix("./"), where.home)), None
    )


def _shorten_text(text: str, most: int = 120) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


SHOWN = 20


class Touch(StrEnum):
    """The kind of a change to a path."""

    ADDED = "added"
    CHANGED = "changed"
    DELETED = "deleted"
    REPLACED = "replaced"
    """A link replaced a file, or a file replaced a link."""
    MODE = "given another mode"


@dataclass(frozen=True, slots=True)
class FileChange:
    """The change of one path against the snapshot. A rename is a deletion and an addition.

    `leads_to`: the target of a new link, relative to the workspace's top or absolute. `passing`: one of the
    agent's commits made the change, even if a later commit reverted it.
    """

    path: str
    how: Touch
    leads_to: str | None = None
    passing: bool = False


def list_breaches(changes: Iterable[FileChange], rules: Sequence[PathRule]) -> tuple[str, ...]:
    """Return the broken rules as texts without duplicates: the first ones, and the number of the others."""
    if not rules:
        return ()
    found = dict.fromkeys(word for change in changes if (word := _find_breach(change, rules)) is not None)
    words = list(found)
    more = [f"and {len(words) - SHOWN} more changed paths that rules cover"] if len(words) > SHOWN else []
    return (*words[:SHOWN], *more)


def _find_breach(change: FileChange, rules: Sequence[PathRule]) -> str | None:
    verb = f"{change.how} in an intermediate commit" if change.passing else f"was {change.how}"
    rule = find_strictest(rules, change.path)
    if rule is not None and (rule.access is not PathAccess.NO_DELETE or _is_gone(change)):
        return f"{change.path} {verb}: {rule_words(rule)}"
    return _find_link_breach(change, rules) if change.leads_to is not None else None


def _is_gone(change: FileChange) -> bool:
    return change.how in (Touch.DELETED, Touch.REPLACED)


def _find_link_breach(change: FileChange, rules: Sequence[PathRule]) -> str | None:
    """Return the rule that a new link breaks, because it leads to a hidden path or replaces the folder of a
    protected path."""
    hidden = [rule for rule in rules if rule.access is PathAccess.NONE]
    rule = find_strictest(hidden, change.leads_to or "")
    if rule is not None:
        return f"{change.path} was made a link to {change.leads_to}: {rule_words(rule)}"
    rule = next((rule for rule in rules if could_hold(rule.pattern, change.path)), None)
    return (
        None
        if rule is None
        else f"{change.path} was replaced by a link, but has guarded paths below it: " + (rule_words(rule))
    )
