"""From one task a prompt for each window: what is left out has its job, and the task is never left out."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from node_agent.wire.policy import Mode, PathAccess, PathRule, Rules, Safety
from pancode.agents.endpoints import context_of
from pancode.agents.prompts import SHORTENED, Category, Situation, fit_prompt, is_within_context
from pancode.config.agents.definitions import load_agents
from pancode.config.schema import Settings

GOLDEN = Path(__file__).parent / "golden"
SHIPPED = load_agents(Path("/nonexistent"), Settings(), {}).agents
RULES = Rules(paths=(PathRule(pattern="db/", access=PathAccess.READ),))
NOTES = tuple(
    f"Run r-note{number}, builder, {number} days ago, commit {number}{number}: changed the search.\n"
    f"RESULT: step {number} of the search works.\nOPEN: its limit. " + "It is counted in one place. " * 10
    for number in range(1, 4)
)
LINES = [f"{n}. Endpoint number {n} answers 429 above its limit, with Retry-After." for n in range(1, 155)]
TASK = "Build rate limiting for the search. Each line is one case, and each gets its test.\n" + "\n".join(
    LINES
)
SITUATION = Situation(Mode.BUILD, Safety.AUTO_EDIT, "native", RULES, notes=NOTES)
WINDOWS = {"8k": 8_192, "frontier": 200_000}


@pytest.mark.parametrize("name", WINDOWS)
def test_from_one_task_a_prompt_for_a_small_and_for_a_large_window(name: str) -> None:
    """To change one: look at the difference, then write the new text into the file."""
    told = fit_prompt(SHIPPED["builder"], SITUATION, TASK, WINDOWS[name])
    left_out = "".join(f"left out: {words}\n" for words in told.left_out)
    whole = f"{left_out}{told.prompt.text}\n\n=== the task\n{TASK}\n"
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("GOLDEN_PROMPTS") == "write":
        path.write_text(whole)
    assert whole == path.read_text()
    assert context_of("native", told.prompt.text, TASK) <= WINDOWS[name] // 2


def test_what_is_left_out_has_its_order() -> None:
    """From a large window to one in which nothing fits: ever more is left out, and nothing comes back."""
    steps: list[tuple[str, ...]] = []
    for window in range(12_000, 200, -10):
        left_out = fit_prompt(SHIPPED["builder"], SITUATION, TASK[:6_000], window).left_out
        if not steps or steps[-1] != left_out:
            steps.append(left_out)
    notes = [(), *((f"{n} note{'s' if n > 1 else ''} of earlier runs",) for n in (1, 2, 3))]
    first, second = SHORTENED.values()
    assert steps == [*notes, (*notes[-1], first), (*notes[-1], first, second)]


def test_the_first_notes_are_the_last_to_go() -> None:
    whole = fit_prompt(SHIPPED["builder"], SITUATION, TASK, None).prompt.text
    just_too_small = 2 * context_of("native", whole, TASK) - 2
    told = fit_prompt(SHIPPED["builder"], SITUATION, TASK, just_too_small)
    assert told.left_out == ("1 note of earlier runs",)
    assert NOTES[1] in told.prompt.text and NOTES[2] not in told.prompt.text


def test_who_may_do_what_is_told_in_the_smallest_window() -> None:
    builder = SHIPPED["builder"]
    least, most = fit_prompt(builder, SITUATION, TASK, 1), fit_prompt(builder, SITUATION, TASK, None)
    shown = {piece.category: piece.text for piece in least.prompt.pieces}
    whole = {piece.category: piece.text for piece in most.prompt.pieces}
    same = set(Category) - {Category.IDENTITY, Category.CONTEXT, Category.REPORT}
    assert {one: shown[one] for one in same} == {one: whole[one] for one in same}
    assert shown[Category.IDENTITY].startswith("You are builder. ")
    assert "SCOPE, FILES CHANGED, RESULT, DECIDED, OPEN" in shown[Category.REPORT]
    assert Category.CONTEXT not in shown and most.left_out == ()
    assert not is_within_context(least.prompt, TASK, "native", 1)


def test_an_agent_without_a_prompt_of_its_own_has_none_to_lose() -> None:
    bare = replace(SHIPPED["builder"], prompt="")
    assert fit_prompt(bare, replace(SITUATION, notes=()), TASK, 1).left_out == (SHORTENED[Category.REPORT],)
