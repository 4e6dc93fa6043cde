"""Reads safety rules: built-in ones, those of the user's pansafety.yaml, and those of the repository's.

Rules only take away, so a repository's file can make a run stricter and never freer.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from node_agent.policy.rulefile import FILES, RuleError, read_rules, together
from node_agent.wire.policy import BUILT_IN, NO_RULES, PathAccess, PathRule, Rules
from pancode.config.documents import Document, read_document
from pancode.errors import ConfigError

OWN_RULES = Rules(
    paths=tuple(
        PathRule(
            pattern=f"./{name}",
            access=PathAccess.READ,
            reason="the rules that hold runs are changed by people",
            origin=BUILT_IN,
        )
        for name in FILES
    )
)
"""A run that could edit them would loosen the next one."""


@dataclass(frozen=True, slots=True)
class LoadedRules:
    """All rules in force, strictest reading of all files; `files`: those that were read."""

    rules: Rules
    files: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def rule_files(folder: Path) -> tuple[Path, ...]:
    """Those that are there, the one that counts first. A link that leads nowhere is there."""
    return tuple(folder / name for name in FILES if os.path.lexists(os.path.join(folder, name)))


def load_rules(home: Path, project: Path | None) -> LoadedRules:
    """All of them. ConfigError names file, line and rule: none is ever skipped."""
    several, files, warnings = [OWN_RULES], list[str](), list[str]()
    for whose, folder in (("your", home), ("project", project)):
        there = rule_files(folder) if folder is not None else ()
        if not there:
            continue
        several.append(_rules_of(there[0], whose))
        files.append(str(there[0]))
        warnings += [f"{other} is not read: {there[0].name} beside it counts" for other in there[1:]]
    try:
        rules = together(*several)
    except RuleError as wrong:
        raise ConfigError(f"{' and '.join(files)}: {wrong}", why=wrong.why, fix=wrong.fix) from wrong
    return LoadedRules(rules, tuple(files), tuple(warnings))


def _rules_of(path: Path, whose: str) -> Rules:
    document = read_document(path)
    if document is None:
        raise ConfigError(f"{path} cannot be read", why="it leads to nothing", fix=f"ls -l {path}")
    try:
        return (
            read_rules(document.data, lambda at: _origin(document, at, whose)) if document.data else NO_RULES
        )
    except RuleError as wrong:
        named = f" {wrong.path}:" if wrong.path else ""
        raise ConfigError(
            f"{document.at(wrong.path)}:{named} {wrong}", why=wrong.why, fix=wrong.fix
        ) from wrong


def _origin(document: Document, at: str, whose: str) -> str:
    """Without the folder: a node need not know where its owner's files lie on the coordinator."""
    return f"{whose} {os.path.basename(document.place)}{document.at(at).removeprefix(document.place)}"
