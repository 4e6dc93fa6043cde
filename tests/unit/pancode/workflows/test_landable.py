"""Which runs have the change to land: in the shapes of the shipped workflows, and where runs continue."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from node_agent.wire.failure import Outcome
from pancode.kernel.records import Run, RunState
from pancode.kernel.values import replace
from pancode.landing.hooks import needs_approval
from pancode.runs.life.conversation import find_beginning
from pancode.runs.receipts.trust import is_open
from pancode.workflows.records import Workflow, WorkflowKind, WorkflowStep, WorkflowStepState
from pancode.workflows.results import results_of
from tests.unit.pancode.runs.world import a_run

COMMIT = "c" * 40
Steps = dict[str, tuple[tuple[str, ...], tuple[str, ...]]]
"""By name: the steps that it needs, and the files that it has changed."""
READ: tuple[str, ...] = ()
VERDICT = ("verdict.json",)


def ended(name: str, *files: str, **more: Any) -> Run:
    result: dict[str, object] = {"files_changed": list(files), "commit": COMMIT if files else None}
    place = {"kind": "git", "repo": "p", "snapshot": "b" * 40}
    more = {"result": result, "workspace": place, "project": "/p", **more}
    return replace(a_run(name, 0, Decimal(0), state=RunState.ENDED, outcome=Outcome.DONE), **more)


def results(steps: Steps, winner: str | None = None, **states: WorkflowStepState) -> tuple[str, ...]:
    rows = [
        WorkflowStep(
            "w-1",
            number,
            name,
            needs,
            {},
            verdict={"file": "verdict.json", "schema": {}} if name in ("review", "check") else {},
            state=states.get(name, WorkflowStepState.DONE),
            run=f"r-{name}",
        )
        for number, (name, (needs, _)) in enumerate(steps.items())
    ]
    race: dict[str, object] = {"by": "first"} if winner else {}
    workflow = Workflow("w-1", 0, "ana", WorkflowKind.CHAIN, "any", "", None, race=race, winner=winner)
    return results_of(workflow, rows, {f"r-{n}": ended(f"r-{n}", *files) for n, (_, files) in steps.items()})


SHIPPED: dict[str, tuple[Steps, tuple[str, ...]]] = {
    "code-review": ({"build": ((), ("a",)), "review": (("build",), READ)}, ("r-build",)),
    "explore-then-build": ({"explore": ((), READ), "build": (("explore",), ("a",))}, ("r-build",)),
    "fix-the-tests": ({"fix": ((), ("a",)), "check": (("fix",), VERDICT)}, ("r-fix",)),
    "parallel-review": ({"quality": ((), READ), "report": (("quality",), READ)}, ()),
    "plan-build-verify": (
        {"plan": ((), READ), "build": (("plan",), ("a",)), "verify": (("plan", "build"), READ)},
        ("r-build",),
    ),
    "red-team": (
        {
            "attack": ((), READ),
            "repair": (("attack",), ("a",)),
            "attack-again": (("attack", "repair"), READ),
        },
        ("r-repair",),
    ),
    "research-dev": (
        {"research": ((), READ), "build": (("research",), ("a",)), "document": (("build",), ("b",))},
        ("r-document",),
    ),
    "review-loop": ({"build": ((), ("a",)), "review": (("build",), VERDICT)}, ("r-build",)),
    "review that also corrects": (
        {"build": ((), ("a",)), "review": (("build",), ("b", *VERDICT))},
        ("r-review",),
    ),
    "two ends": ({"plan": ((), ("p",)), "a": (("plan",), ("a",)), "b": (("plan",), ("b",))}, ("r-a", "r-b")),
    "batch": ({"a": ((), ("a",)), "b": ((), READ), "c": ((), ("c",))}, ("r-a", "r-c")),
}


@pytest.mark.parametrize("name", SHIPPED)
def test_the_result_is_the_last_change_however_many_steps_only_look_at_it(name: str) -> None:
    steps, expected = SHIPPED[name]
    assert results(steps) == expected


@pytest.mark.parametrize(
    "state", [state for state in WorkflowStepState if state is not WorkflowStepState.DONE]
)
def test_there_is_no_result_before_every_later_step_is_done(state: WorkflowStepState) -> None:
    assert results(SHIPPED["code-review"][0], review=state) == ()


def test_a_race_has_the_result_of_its_winner_alone() -> None:
    racers: Steps = {"a": ((), ("a",)), "b": ((), ("b",)), "c": ((), READ)}
    assert results(racers, winner="b") == ("r-b",)
    assert results(racers, winner="c") == ()


def continued(old: Run, **more: Any) -> Run:
    """A run that continues from the old one and changes nothing itself."""
    begins = find_beginning(old)
    assert begins is not None
    terms: dict[str, Any] = {"continues": old.id, "begins": begins.run, **more.pop("terms", {})}
    return ended("r-next", terms=terms | ({"carries": True} if begins.carries else {}), **more)


def test_a_run_that_only_explains_has_the_change_that_it_goes_on_with() -> None:
    next_one = continued(ended("r-old", "a"), terms={"autonomy": "supervised"})
    assert is_open(next_one, "/p") and needs_approval(next_one)
    assert is_open(continued(next_one), "/p"), "over any number of runs"


@pytest.mark.parametrize("old", [ended("r-old"), ended("r-old", "a", landed=COMMIT)])
def test_without_a_change_or_with_a_landed_one_there_is_nothing_to_go_on_with(old: Run) -> None:
    next_one = continued(old, terms={"autonomy": "supervised"})
    assert not is_open(next_one, "/p") and not needs_approval(next_one)
