"""How a run is continued: its files, its session, and what a new session is told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from node_agent.wire.failure import Outcome
from pancode.kernel.errors import PancodeError
from pancode.kernel.records import Run, RunState
from pancode.runs.life.continuations import GO_ON, continue_request
from pancode.runs.life.conversation import NEXT, must_be_free, must_have_ended
from pancode.runs.request import DispatchRequest
from pancode.runs.retry import request_of
from tests.unit.pancode.kernel.fleets import node, resolved

GIT: dict[str, object] = {
    "kind": "git",
    "repo": "demo-1234",
    "base": "b" * 40,
    "snapshot": "a" * 40,
    "object_format": "sha1",
}


def ended(runtime: str = "claude", workspace: dict[str, object] | None = None, **result: object) -> Run:
    run = resolved(node("desk"), runtime=runtime, task="find the bug").run("r-0001", 0, "t", workspace or GIT)
    told = {"node": "desk", **result}
    return replace(run, state=RunState.ENDED, outcome=Outcome.DONE, reason="done", result=told)


def asked(old: Run, words: str = "now the tests", reachable: bool = True) -> DispatchRequest:
    return continue_request(old, request_of(old, "ana"), words, reachable)


def test_it_begins_at_the_result_in_the_same_session_on_the_same_node() -> None:
    request = asked(ended(commit="c" * 40, session="s-1"))
    assert request.begins is not None and request.begins.commit == "c" * 40
    assert (request.begins.run, request.begins.base, request.node) == ("r-0001", "b" * 40, "desk")
    assert request.resume == {"run": "r-0001", "session": "s-1"} and request.continues == "r-0001"
    assert request.retry_of is None and request.task.startswith("now the tests\n")
    assert "find the bug" not in request.task, "the session knows it"


def test_what_changed_nothing_begins_where_it_began() -> None:
    request = asked(ended(session="s-1"))
    assert request.begins is not None and request.begins.commit == "a" * 40
    assert asked(ended(workspace={"kind": "none"}, session="s-1")).begins is None


@pytest.mark.parametrize(("old", "carries"), [({"commit": "c" * 40}, True), ({}, False)])
def test_it_is_on_record_that_it_goes_on_with_a_change(old: dict[str, Any], carries: bool) -> None:
    begins = asked(ended(**old)).begins
    terms = resolved(node("desk"), begins=begins).run("r-0002", 0, "t", {"kind": "none"}).terms
    assert terms.get("carries", False) is carries


@pytest.mark.parametrize("reachable", [True, False])
def test_a_new_session_is_told_the_story_and_may_run_anywhere(reachable: bool) -> None:
    gates = [{"name": "pytest -q", "passed": False, "exit_code": 1}]
    session = None if reachable else "s-1"
    old = ended(commit="c" * 40, answer="I fixed it.", gates=gates, session=session)
    request = asked(old, reachable=reachable)
    assert not request.resume and request.node is None
    for words in ("now the tests", "r-0001", "find the bug", "I fixed it.", "pytest -q: failed, exit 1"):
        assert words in request.task
    assert request.task.startswith("now the tests\n"), "lists show the remark"


def test_the_story_is_bounded_and_says_that_it_is() -> None:
    old = replace(ended(answer="x" * 100_000), task="y" * 100_000)
    task = asked(old, "").task
    assert len(task) < 20_000 and task.startswith(GO_ON)
    assert task.count("characters of 100000)") == 2


def test_a_command_takes_no_words() -> None:
    old = ended("shell")
    assert asked(old, "").task == "find the bug" and not asked(old, "").resume
    with pytest.raises(PancodeError) as caught:
        asked(old, "more")
    assert caught.value.code == "takes_no_words"


def test_a_command_runs_again_with_the_answer_to_its_question() -> None:
    old = ended("shell")
    request = continue_request(old, request_of(old, "ana"), "You asked ...", True, answers="9090")
    assert (request.task, request.answers) == ("find the bug", "9090")
    run = resolved(node("desk"), runtime="shell", answers="9090").run("r-0002", 0, "t", GIT)
    assert request_of(run, "ana").answers == "9090", "its retry is not to ask again"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"state": RunState.RUNNING, "outcome": None}, "not_ended"),
        ({"outcome": Outcome.LOST}, "no_result"),
    ],
)
def test_what_has_no_result_is_not_continued(change: dict[str, Any], code: str) -> None:
    with pytest.raises(PancodeError) as caught:
        must_have_ended(replace(ended(), **change))
    assert caught.value.code == code and "pancode runs" in caught.value.fix


def test_a_second_answer_is_told_who_was_faster() -> None:
    must_be_free(ended())
    with pytest.raises(PancodeError) as caught:
        must_be_free(replace(ended(), result={NEXT: ["r-0002"]}))
    assert "r-0002" in str(caught.value)
