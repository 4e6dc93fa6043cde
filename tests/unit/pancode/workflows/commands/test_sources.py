"""A workflow's text that is not right: which task, how many more problems."""

from __future__ import annotations

import pytest

from pancode.kernel.errors import ConfigError
from pancode.workflows.commands.begin import tasks_of
from pancode.workflows.commands.sources import check_source
from pancode.workflows.files.search import WorkflowText


def test_an_empty_task_is_named_by_its_place_among_the_options() -> None:
    """The second of two was called `-t:1`."""
    with pytest.raises(ConfigError) as wrong:
        tasks_of(["true", ""], None, {})
    assert str(wrong.value).startswith("-t:2: the task is empty")
    assert [step["dispatch"]["task"] for step in tasks_of(["a\nb", "c"], None, {})["steps"]] == ["a\nb", "c"]


@pytest.mark.parametrize(("count", "words"), [(2, "1 more problem after"), (3, "2 more problems after")])
def test_one_problem_more_is_one(count: int, words: str) -> None:
    text = "".join(f"nothing{number}: 1\n" for number in range(count)) + "tasks: [x]\n"
    with pytest.raises(ConfigError) as wrong:
        check_source(WorkflowText("", "w.yaml", "w.yaml", text), {})
    assert words in wrong.value.why
