"""The steps of a plan as a chain that a workflow takes."""

from __future__ import annotations

import pytest

from pancode.kernel.errors import UsageError
from pancode.workflows.files.chains import chain_of_plan, read_plan
from pancode.workflows.files.reader import check_workflow

PLAN = """# Limits for $INPUT

## Scope

1. This is no step.

## Steps

1. Count the calls
   of each {{ client }}.
2) Refuse the rest: answer `429`.

## Later

3. Nor is this.
"""


def test_each_item_below_the_head_is_a_step_and_its_words_are_words() -> None:
    plan = read_plan(PLAN, "plan.md")
    assert plan.steps == ("Count the calls of each {{ client }}.", "Refuse the rest: answer `429`.")
    checked = check_workflow(chain_of_plan(plan, "docs/x-plan.md"), "plan.yaml", "plan")
    assert not checked.problems, checked.problems
    text = chain_of_plan(plan, "docs/x-plan.md")
    assert text.count("agent: builder") == 2 and text.count("agent: reviewer") == 1
    assert "{{" not in text and "$INPUT" not in text and "docs/x-plan.md" in text


@pytest.mark.parametrize("text", ["", "# x\n\n1. one\n", "## Steps\n\nnone\n", "## Steps\n1. \n2. two\n"])
def test_what_has_no_steps_is_no_plan(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_plan(text, "plan.md")
    assert caught.value.code == "no_plan"


def test_a_plan_of_too_many_steps_is_refused() -> None:
    with pytest.raises(UsageError, match="not contain a plan") as caught:
        read_plan("## Steps\n" + "".join(f"{n}. do it\n" for n in range(51)), "plan.md")
    assert "50" in caught.value.why
