"""A workflow's text that is not right: which task, how many more problems; and its receipt, to be read."""

from __future__ import annotations

from typing import Any

import pytest

from pancode.kernel.errors import ConfigError
from pancode.workflows.commands.begin import tasks_of
from pancode.workflows.commands.group import _format_receipt
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


def test_the_receipt_of_a_workflow_is_words_and_a_table() -> None:
    """It printed JSON, cut with dots."""
    runs = [{"run": "r-1", "outcome": "done", "commit": "c" * 40, "receipt": "d" * 64}]
    steps = [{"name": "plan", "needs": [], "state": "done", "reason": "", "round": 1, "runs": runs}]
    said: dict[str, Any] = {
        "kind": "chain",
        "name": "release",
        "state": "done",
        "created_by": "ana",
        "steps": steps,
    }
    said |= {"cost_usd": "0.3", "unknown_costs": 1}
    checks = [{"what": "signature", "ok": True, "detail": "by the coordinator's key"}]
    answer: Any = {
        "workflow": "w-7f3k2x",
        "verdict": "PASS",
        "checks": checks,
        "envelope": {"payload": "e" * 900},
    }
    text = _format_receipt(answer | {"statement": {"predicate": said}})
    assert text.startswith("PASS  w-7f3k2x\n  ok  signature: by the coordinator's key\n")
    assert "chain release: done, begun by ana, $0.30 and 1 run of unknown cost\n" in text
    assert "plan  r-1  done     cccccccccccc\n" in text
    assert "{" not in text and "..." not in text
