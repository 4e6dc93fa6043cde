"""Decides from which results a step begins, and which results those began from."""

from __future__ import annotations

from collections.abc import Mapping

from pancode.core.records import WorkflowStep
from pancode.workflow.plan import ancestors


def sides(name: str, steps: Mapping[str, WorkflowStep], commits: Mapping[str, str]) -> tuple[str, ...]:
    """The needs that have left a result, without those whose result another of them goes on from."""
    needs = [need for need in steps[name].needs if need in commits]
    carried = {one for need in needs for one in _carried(need, steps, commits) - {need}}
    return tuple(need for need in needs if need not in carried)


def history(
    name: str, steps: Mapping[str, WorkflowStep], commits: Mapping[str, str]
) -> dict[str, tuple[str, ...]]:
    """For each earlier step with a result: the steps from whose results it began.

    Each comes after those from which it began.
    """
    every = tuple(steps.values())
    before = [one for one in ancestors(name, every) if one in commits]
    before.sort(key=lambda one: (len(ancestors(one, every)), one))
    return {one: sides(one, steps, commits) for one in before}


def _carried(name: str, steps: Mapping[str, WorkflowStep], commits: Mapping[str, str]) -> set[str]:
    """The steps whose results are in this one's; a step without a result hands none on."""
    found, left = set[str](), [name]
    while left:
        one = left.pop()
        if one not in found and one in commits:
            found.add(one)
            left += steps[one].needs
    return found
