"""Builds a chain from the open tasks of a Beads file: each starts when the tasks that block it are done."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pancode.kernel.errors import UsageError
from pancode.kernel.formatting import first_few
from pancode.workflows.commands.plan_steps import MOST_STEPS, as_words, dump_chain

OPEN = ("open", "in_progress", "blocked", "hooked")
_NO_WORK = ("epic", "message", "merge-request", "molecule", "gate", "event")
"""Kinds of entries that need no work: they group other entries, or are announcements."""
_BLOCKS = ("blocks", "conditional-blocks")


@dataclass(frozen=True, slots=True)
class Bead:
    """An open task. `needs`: the open tasks that block it."""

    id: str
    title: str
    text: str
    priority: int
    needs: tuple[str, ...] = ()

    @property
    def step(self) -> str:
        """Return the step's name in a workflow."""
        return re.sub(r"[^a-z0-9_-]+", "-", self.id.lower()).strip("-")[:60] or "task"


def read_beads(text: str, name: str, only: Collection[str] = ()) -> tuple[Bead, ...]:
    """Return the open tasks, most urgent first, but each after the tasks that block it.

    `only`: return only these tasks and their blockers. UsageError `no_beads` if the text is not a Beads file,
    has no open task, or has a task that waits for itself or for one that is neither open nor closed.
    """
    # If an entry has several lines, the last one counts.
    rows: dict[str, dict[str, Any]] = {}
    for number, line in enumerate(filter(str.strip, text.splitlines()), 1):
        try:
            row = json.loads(line)
            rows[str(row["id"])] = {**row, "id": str(row["id"]), "title": str(row["title"])}
        except (ValueError, TypeError, KeyError) as exc:
            why = f"line {number} is not a Beads entry: {type(exc).__name__}"
            raise _make_beads_error(name, why) from exc
    found = {row["id"]: _make_bead(row, rows, name) for row in rows.values() if _is_open(row)}
    wanted = _with_needs(only, found, name) if only else set(found)
    left, order = {key: one for key, one in found.items() if key in wanted}, list[Bead]()
    while left:
        ready = [one for one in left.values() if not any(need in left for need in one.needs)]
        if not ready:
            raise _make_beads_error(name, f"{first_few(tuple(left), 5)} block each other in a cycle")
        order.append(min(ready, key=lambda one: (one.priority, one.id)))
        del left[order[-1].id]
    if not order or len(order) > MOST_STEPS:
        many = f"the file has {len(order)} open tasks, but a chain has at most {MOST_STEPS} steps"
        raise _make_beads_error(name, many if order else "the file has no open tasks")
    return tuple(order)


def _is_open(row: Mapping[str, Any]) -> bool:
    return row.get("status", "open") in OPEN and row.get("issue_type", "task") not in _NO_WORK


def _make_bead(row: Mapping[str, Any], rows: Mapping[str, Mapping[str, Any]], name: str) -> Bead:
    before = [
        str(one.get("depends_on_id"))
        for one in row.get("dependencies") or ()
        if one.get("type", one.get("dep_type")) in _BLOCKS
    ]
    away = [key for key in before if key not in rows or not (_is_open(rows[key]) or _is_over(rows[key]))]
    if away:
        why = f"{row['id']} waits for {first_few(away, 5)}, which is neither open nor closed in the file"
        raise _make_beads_error(name, why)
    needs = tuple(dict.fromkeys(key for key in before if _is_open(rows[key])))
    priority = row.get("priority")
    text = str(row.get("description") or "")
    return Bead(row["id"], row["title"], text, priority if isinstance(priority, int) else 2, needs)


def _is_over(row: Mapping[str, Any]) -> bool:
    return row.get("status") in ("closed", "tombstone")


def _with_needs(only: Collection[str], found: Mapping[str, Bead], name: str) -> set[str]:
    missing = [one for one in only if one not in found]
    if missing:
        raise _make_beads_error(name, f"{first_few(missing, 5)} is not an open task of the file")
    wanted, left = set[str](), list(only)
    while left:
        one = left.pop()
        if one not in wanted:
            wanted.add(one)
            left += found[one].needs
    return wanted


def _make_beads_error(name: str, why: str) -> UsageError:
    fix = "pancode workflow plan --beads FILE --only ID"
    return UsageError(f"{name} cannot be turned into a chain", why=why, fix=fix, code="no_beads")


def chain_of(beads: Sequence[Bead], file: str) -> str:
    """Return a workflow file with one step of agent builder for each task."""
    names = {one.id: one.step for one in beads}
    steps = []
    for one in beads:
        words = f"{one.title}\n\n{one.text}".strip()
        task = f"Carry out task {one.id} of {file}, and no other task of it:\n\n{words}\n"
        needs = {"needs": [names[key] for key in one.needs]}
        steps.append({"name": one.step, "agent": "builder", "task": as_words(task), **needs})
    return dump_chain(f"the open tasks of {file}", steps)
