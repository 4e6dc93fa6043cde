"""Builds a chain from the steps of a plan: the numbered list below the heading "Steps"."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pancode.kernel.errors import UsageError

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
        why = "the file has no heading '## Steps' with a numbered list" if not steps else "a step is empty"
        why = (
            f"the plan has {len(steps)} steps, but a chain has at most {MOST_STEPS}"
            if len(steps) > MOST_STEPS
            else why
        )
        what, fix = f"{name} does not contain a plan", "write the steps as: 1. ..."
        raise UsageError(what, why=why, fix=fix, code="no_plan")
    title = next((line[2:].strip() for line in text.splitlines() if line.startswith("# ")), name)
    return Plan(title, steps)


def chain_of(plan: Plan, file: str) -> str:
    """Return a workflow file: a builder step for each step in order, then a reviewer who checks the plan."""
    steps = []
    for number, step in enumerate(plan.steps, 1):
        task = f"Carry out step {number} of the plan in {file}, and no other:\n\n{as_words(step)}\n"
        steps.append({"name": f"step-{number}", "agent": "builder", "task": task})
    check = f"Compare the code with the plan in {file}. Report every difference, and what will go wrong.\n"
    steps.append({"name": "review", "agent": "reviewer", "task": check})
    return dump_chain(as_words(plan.title), steps)


def dump_chain(description: str, steps: Sequence[Mapping[str, object]]) -> str:
    """Write a workflow file with these steps."""
    import yaml

    chain = {"description": description[:200], "steps": steps}
    return str(yaml.safe_dump(chain, sort_keys=False, allow_unicode=True, width=100))


def as_words(text: str) -> str:
    """Return the text with the placeholders of workflows escaped, so that they stay plain text."""
    return _PLACES.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text)
