"""Decides which of an agent's changes break a path rule. Pure: names and kinds, no files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from node_agent.policy.globs import could_hold, strictest
from node_agent.wire.policy import PathAccess, PathRule, rule_words

SHOWN = 20


class Touch(StrEnum):
    """The kind of change of a path."""

    ADDED = "added"
    CHANGED = "changed"
    DELETED = "deleted"
    REPLACED = "replaced"
    """A file was replaced by a link, or the other way round."""
    MODE = "given another mode"


@dataclass(frozen=True, slots=True)
class FileChange:
    """The change of one path against the snapshot. A rename is a deletion and an addition.

    `leads_to`: the target of a new link, from the workspace's top or absolute. `passing`: one of the agent's
    commits made the change, even if a later commit took it back.
    """

    path: str
    how: Touch
    leads_to: str | None = None
    passing: bool = False


def breaches(changes: Iterable[FileChange], rules: Sequence[PathRule]) -> tuple[str, ...]:
    """The broken rules in words, each once; the first ones, and the number of the others."""
    if not rules:
        return ()
    found = dict.fromkeys(word for change in changes if (word := _breach(change, rules)) is not None)
    words = list(found)
    more = [f"and {len(words) - SHOWN} more paths that rules cover"] if len(words) > SHOWN else []
    return (*words[:SHOWN], *more)


def _breach(change: FileChange, rules: Sequence[PathRule]) -> str | None:
    verb = f"{change.how} in a commit on the way" if change.passing else f"was {change.how}"
    rule = strictest(rules, change.path)
    if rule is not None and (rule.access is not PathAccess.NO_DELETE or _is_gone(change)):
        return f"{change.path} {verb}: {rule_words(rule)}"
    return _planted(change, rules) if change.leads_to is not None else None


def _is_gone(change: FileChange) -> bool:
    return change.how in (Touch.DELETED, Touch.REPLACED)


def _planted(change: FileChange, rules: Sequence[PathRule]) -> str | None:
    """A link to a hidden path, or one that replaces a folder with a guarded path."""
    hidden = [rule for rule in rules if rule.access is PathAccess.NONE]
    rule = strictest(hidden, change.leads_to or "")
    if rule is not None:
        return f"{change.path} was made a link to {change.leads_to}: {rule_words(rule)}"
    rule = next((rule for rule in rules if could_hold(rule.pattern, change.path)), None)
    return (
        None
        if rule is None
        else f"{change.path} was made a link, and guarded paths lie below it: " + (rule_words(rule))
    )
