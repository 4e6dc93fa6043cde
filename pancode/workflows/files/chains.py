"""Builds a chain from the numbered steps of a plan, or from the open tasks of a Beads file."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pancode.kernel.errors import UsageError, describe_cause
from pancode.kernel.formatting import first_few

_HEAD = re.compile(r"^##\s+Steps\s*$", re.MULTILINE | re.IGNORECASE)
_NEXT = re.compile(r"^#{1,2}\s", re.MULTILINE)
_ITEM = re.compile(r"^[0-9]{1,3}[.)]\s+", re.MULTILINE)
MOST_STEPS = 50
_PLACES = re.compile(r"\$(?=INPUT|ORIGINAL)|\{\{")
"""Placeholders of workflows; in a plan they are plain text."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan: its title, and the text of each step."""

    title: str
    steps: tuple[str, ...]


def read_plan(text: str, name: str) -> Plan:
    """Read a plan. UsageError `no_plan` if it has no steps or too many."""
    head = _HEAD.search(text)
    below = "" if head is None else text[head.end() :]
    after = _NEXT.search(below)
    below = below[: after.start()] if after else below
    steps = tuple(" ".join(part.split()) for part in _ITEM.split(below)[1:])
    if not steps or len(steps) > MOST_STEPS or not all(steps):
        why = "it has no heading '## Steps' with a numbered list" if not steps else "a step is empty"
        why = (
            f"it has {len(steps)} steps, but a chain has at most {MOST_STEPS}"
            if len(steps) > MOST_STEPS
            else why
        )
        what, fix = f"{name} does not contain a plan", "write the steps as: 1. ..."
        raise UsageError(what, why=why, fix=fix, code="no_plan")
    title = next((line[2:].strip() for line in text.splitlines() if line.startswith("# ")), name)
    return Plan(title, steps)


def chain_of_plan(plan: Plan, file: str) -> str:
    """Return the workflow file: a builder per step in order, and a reviewer who checks the plan."""
    steps = []
    for number, step in enumerate(plan.steps, 1):
        task = f"Carry out step {number} of the plan in {file}, and no other:\n\n{as_words(step)}\n"
        steps.append({"name": f"step-{number}", "agent": "builder", "task": task})
    check = f"Compare the code with the plan in {file}. Report every difference, and what will go wrong.\n"
    steps.append({"name": "review", "agent": "reviewer", "task": check})
    return dump_chain(as_words(plan.title), steps)


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
            why = f"line {number} is not a Beads entry: {describe_cause(exc)}"
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


def chain_of_beads(beads: Sequence[Bead], file: str) -> str:
    """Return the workflow file: one builder step per task."""
    names = {one.id: one.step for one in beads}
    steps = []
    for one in beads:
        words = f"{one.title}\n\n{one.text}".strip()
        task = f"Carry out task {one.id} of {file}, and no other task of it:\n\n{words}\n"
        needs = {"needs": [names[key] for key in one.needs]}
        steps.append({"name": one.step, "agent": "builder", "task": as_words(task), **needs})
    return dump_chain(f"the open tasks of {file}", steps)


def dump_chain(description: str, steps: Sequence[Mapping[str, object]]) -> str:
    """Write a workflow file with these steps."""
    import yaml

    chain = {"description": description[:200], "steps": steps}
    return str(yaml.safe_dump(chain, sort_keys=False, allow_unicode=True, width=100))


def as_words(text: str) -> str:
    """Return the text with the placeholders of workflows escaped."""
    return _PLACES.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text)
