"""Reads the owner's files in a node's home: the ceiling and the safety rules. The node accepts no jobs while
a file is unreadable, because it may restrict them. YAML is imported only if needed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from node_agent.attempt.accept import Ceiling, read_ceiling
from node_agent.policy.rulefile import FILES, RuleError, read_rules
from node_agent.vault.vault import LOOK_MS, read_stamp
from node_agent.wire.clock import Clock
from node_agent.wire.policy import NO_RULES, Rules

CEILING = "ceiling.json"
MOST_BYTES = 1_000_000
MOST_DEPTH = 10
MOST_MEMORY = (3, 4)
MOST_DISK = 20 << 30
MOST_PROCESSES = 1_000
"""The maximum number of processes and threads of a run: agents have dozens, builds at most one per core and
file."""


class OwnersFiles:
    """The owner's files in `home`. Unchanged files are not read again. Thread-safe."""

    def __init__(self, home: Path, clock: Clock) -> None:
        self._home, self._clock = home, clock
        self._looked = -LOOK_MS
        self._paths = [home / name for name in (CEILING, *FILES)]
        self._known: tuple[object, Ceiling] | None = None

    def ceiling(self) -> Ceiling:
        """Return the limits that the files currently set."""
        known, at = self._known, self._clock.mono_ms()
        if known is not None and at - self._looked < LOOK_MS:
            return known[1]
        now = [read_stamp(path) for path in self._paths]
        if known is None or known[0] != now:
            known = self._known = (now, self._read())
        self._looked = at
        return known[1]

    def _read(self) -> Ceiling:
        ceiling = default_ceiling(read_ceiling(self._home / CEILING))
        path = next((self._home / name for name in FILES if os.path.lexists(self._home / name)), None)
        if path is None or ceiling.closed:
            return ceiling
        try:
            return ceiling.model_copy(update={"rules": rules_of(path)})
        except RuleError as wrong:
            words = "; ".join(part for part in (str(wrong), wrong.why, f"fix: {wrong.fix}") if part)
            return ceiling.model_copy(update={"closed": f"the owner's rules: {wrong.path}: {words}"})


def default_ceiling(ceiling: Ceiling) -> Ceiling:
    """Return the ceiling with defaults for limits that the node's owner has not set: most of the node, but
    not all of it."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * MOST_MEMORY[0] // MOST_MEMORY[1]
    own = {"memory": ceiling.memory or memory, "processes": ceiling.processes or MOST_PROCESSES}
    return ceiling.model_copy(update={**own, "disk": ceiling.disk or MOST_DISK})


def rules_of(path: Path) -> Rules:
    """Return the rules of one file. The path in a RuleError begins with the file and line."""
    import yaml

    lines: dict[str, int] = {}

    def at(where: str) -> int:
        while where and where not in lines:
            where = where.rpartition(".")[0]
        return lines.get(where, 1)

    try:
        with path.open("rb") as file:
            text = file.read(MOST_BYTES + 1)
        if len(text) > MOST_BYTES:
            raise RuleError("", f"the file is larger than {MOST_BYTES} bytes", fix="make it smaller")
        top = yaml.compose(text, yaml.SafeLoader)
        if top is None:
            return NO_RULES
        return read_rules(
            _to_plain_values(top, "", lines), lambda where: f"node owner's {path.name}:{at(where)}"
        )
    except RuleError as wrong:
        line = f"{path}:{at(wrong.path)}" + (f" {wrong.path}" if wrong.path else "")
        raise RuleError(line, str(wrong), wrong.why, wrong.fix) from wrong
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as exc:
        words = " ".join(str(exc).split())[:300]
        raise RuleError(f"{path}", "it cannot be read", words, "correct that file, or remove it") from exc


def _to_plain_values(node: Any, path: str, lines: dict[str, int]) -> object:
    """Return plain values; store the line of each value by its dotted path. Aliases are followed to a limited
    depth."""
    import yaml

    lines.setdefault(path, node.start_mark.line + 1)
    if path.count(".") > MOST_DEPTH:
        raise RuleError(
            path, "the file is nested too deeply", fix="see the format in the guide on safety rules"
        )
    if isinstance(node, yaml.SequenceNode):
        return [_to_plain_values(item, f"{path}.{number}", lines) for number, item in enumerate(node.value)]
    if isinstance(node, yaml.MappingNode):
        return _read_mapping(node, path, lines)
    scalar: object = yaml.SafeLoader("").construct_object(node)
    return scalar


def _read_mapping(node: Any, path: str, lines: dict[str, int]) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in node.value:
        name, below = str(key.value), f"{path}.{key.value}".lstrip(".")
        lines[below] = key.start_mark.line + 1
        if name in found:
            raise RuleError(below, f"{name} appears twice", fix="keep only one of them")
        found[name] = _to_plain_values(value, below, lines)
    return found
