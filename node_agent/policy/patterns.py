"""Decides which texts a regular expression matches, and which paths a pattern covers; reads no disk.

RE2 is linear in time. It is loaded with the first expression, so a node without command rules never loads it.

In a pattern of paths `*` and `?` stay within one folder, `**` matches any number of folders, and no other
character is special. A pattern covers the paths that it matches and everything below them. A pattern without
a slash before its end (`.env`, `dist/`) applies in every folder. A pattern with a slash inside
(`config/prod.yaml`, `./Makefile`) applies from the workspace's top. `/...` and `~/...` are paths on the node.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from node_agent.wire.policy import PathAccess, PathRule

MOST_MEMORY = 1 << 20
"""The maximum bytes of one compiled expression."""


def regex_fault(pattern: str) -> str | None:
    """Return the reason why the expression cannot be used; None if it can be used."""
    import re2

    try:
        _compile_pattern(pattern)
    except UnicodeEncodeError:
        return "it is not valid UTF-8"
    except re2.error as wrong:
        reason = wrong.args[0] if wrong.args else wrong
        return reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
    return None


def has_match(pattern: str, text: str) -> bool:
    """Whether the expression matches anywhere in the text. Half a surrogate pair in the text counts as
    `?`."""
    clean = text.encode("utf-8", "replace").decode()
    return _compile_pattern(pattern).search(clean) is not None


@lru_cache(maxsize=512)
def _compile_pattern(pattern: str) -> Any:
    import re2

    options = re2.Options()
    options.log_errors = False
    options.max_mem = MOST_MEMORY
    return re2.compile(pattern, options)


ANY_DEPTH = "**"
_STRICTNESS = {PathAccess.NONE: 2, PathAccess.READ: 1, PathAccess.NO_DELETE: 0}


def pattern_fault(pattern: str) -> str | None:
    """Return the error in a pattern; None if it is valid."""
    parts = pattern.removeprefix("~/").split("/")
    if not pattern.strip() or pattern.strip() != pattern:
        return "it is empty, or begins or ends with a space"
    if not pattern.isprintable():
        return "the pattern contains a control character"
    if ".." in parts:
        return "`..` leads out of the folder where the pattern starts"
    if pattern.startswith("~") and not pattern.startswith("~/"):
        return "`~` is supported only in `~/`, the home of the agent's user"
    if not [part for part in parts if part not in ("", ".")]:
        return "the pattern would cover everything"
    return None


def is_plain(pattern: str) -> bool:
    """Whether the pattern names exactly one path, which a mount can cover."""
    return _is_placed(pattern) and "*" not in pattern and "?" not in pattern


def is_covering(pattern: str, path: str, home: str = "~") -> bool:
    """Whether the pattern covers a path, which is absolute or relative to the workspace's top, with `..`
    resolved. `home`: the path for `~` in both."""
    here = _resolve_path(path, home)
    return (
        _is_absolute(pattern) == here.startswith("/")
        and _walk(_split_pattern(pattern, home), _split_path(here))[0]
    )


def could_hold(pattern: str, folder: str, home: str = "~") -> bool:
    """Whether the pattern may cover a path below this folder, decided by the pattern only."""
    steps, here = _split_pattern(pattern, home), _resolve_path(folder, home)
    if _is_absolute(pattern) != here.startswith("/") or steps[0] == ANY_DEPTH:
        return False  # `**` covers any folder, so this match proves nothing
    return _walk(steps, _split_path(here))[1]


def find_strictest(rules: Iterable[PathRule], path: str, home: str = "~") -> PathRule | None:
    """Return the strictest rule for the path, the first among equals; None if no rule covers the path."""
    found = [rule for rule in rules if is_covering(rule.pattern, path, home)]
    return max(found, key=lambda rule: _STRICTNESS[rule.access], default=None)


def is_matching(pattern: str, name: str) -> bool:
    """Whether a name matches one step of a pattern. The time is at most the product of their lengths."""
    at = star = mark = 0
    open_star = False
    for_name = 0
    while for_name < len(name):
        if at < len(pattern) and pattern[at] == "*":
            open_star, star, mark = True, at, for_name
            at += 1
        elif at < len(pattern) and pattern[at] in (name[for_name], "?"):
            at, for_name = at + 1, for_name + 1
        elif open_star:
            mark += 1
            at, for_name = star + 1, mark
        else:
            return False
    return not pattern[at:].strip("*")


def _is_absolute(pattern: str) -> bool:
    return pattern.startswith(("/", "~/"))


def _is_placed(pattern: str) -> bool:
    return _is_absolute(pattern) or "/" in pattern.rstrip("/")


def _split_pattern(pattern: str, home: str) -> list[str]:
    whole = _at_home(pattern, home)
    steps = _split_path(whole)
    return steps if _is_placed(pattern) else [ANY_DEPTH, *steps]


def _resolve_path(path: str, home: str) -> str:
    return posixpath.normpath(_at_home(path, home))


def _at_home(path: str, home: str) -> str:
    """Return the path with `~` resolved; if the home is unknown, `~` is left as a folder name."""
    root = home if home.startswith("/") else "/~"
    return root + path[1:] if path == "~" or path.startswith("~/") else path


def _split_path(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def _walk(steps: list[str], parts: list[str]) -> tuple[bool, bool]:
    """Return (whether the path or a folder above it matches, whether a path below it may match)."""
    there = _expand_steps(steps, {0})
    for part in parts:
        there = _expand_steps(steps, {after for at in there for after in _advance_step(steps, at, part)})
        if len(steps) in there:
            return True, True
    return False, bool(there)


def _advance_step(steps: list[str], at: int, part: str) -> tuple[int, ...]:
    if at == len(steps):
        return ()
    if steps[at] == ANY_DEPTH:
        return (at,)
    return (at + 1,) if is_matching(steps[at], part) else ()


def _expand_steps(steps: list[str], there: set[int]) -> set[int]:
    """Return the reachable steps, including those after each `**`, because `**` may match no folder."""
    for at in sorted(there):
        while at < len(steps) and steps[at] == ANY_DEPTH:
            at += 1
            there.add(at)
    return there
