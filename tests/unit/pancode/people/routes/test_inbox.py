"""The inbox over the API: a question is listed, answered once, or denied; each is told in feed and audit."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from node_agent.wire.failure import FailureKind, Outcome
from node_agent.wire.node import RuntimeFact
from node_agent.wire.policy import Isolation
from node_agent.wire.receipt import UserQuestion
from pancode.kernel.records import Audit, FeedEvent, Run
from pancode.kernel.values import replace
from pancode.runs.inbox_answers import list_inbox
from tests.unit.pancode.interfaces.http.world import World
from tests.unit.pancode.runs.world import facts, failed


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def blocked(world: World, question: str = "Which?", **more: Any) -> str:
    run = str(world.dispatch(**more)["run"])
    job = world.claim()
    world.node.start(job)
    asked = UserQuestion(question=question, choices=("left", "right")) if question else None
    world.node.deliver(job, question=asked, **failed(FailureKind.NEEDS_USER, Outcome.BLOCKED))
    world.context.turn()
    return run


def items(world: World) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = world.http.get("/v1/inbox").json()["items"]
    return found


def kinds(world: World, run: str) -> list[str]:
    return [event.kind.value for event in world.context.rows(FeedEvent) if event.run == run]


def test_a_question_is_listed_until_it_is_answered_once(world: World) -> None:
    assert items(world) == []
    run = blocked(world, task="# Move the shop\nall of it")
    (item,) = items(world)
    assert (item["run"], item["kind"], item["words"]) == (run, "question", "Which?")
    assert item["title"] == "Move the shop"
    assert item["choices"] == ["left", "right"] and run in item["command"]
    assert "inbox.item" in kinds(world, run)
    told = world.problem("POST", f"/v1/runs/{run}/approve", {})
    assert told["code"] == "other_kind" and len(items(world)) == 1, "it still waits"
    done = world.http.post(f"/v1/runs/{run}/answer", {"text": "2"}).json()
    assert items(world) == [], "a script hears the answer in its next attempt"
    told = world.problem("POST", f"/v1/runs/{run}/answer", {"text": "2"})
    assert told["code"] == "already_continued" and done["run"] in told["message"]


def test_who_answers_second_is_told_who_was_first(world: World) -> None:
    run = blocked(world)
    done = world.http.post(f"/v1/runs/{run}/continue", {"by": "ana"}).json()
    assert items(world) == [] and "inbox.answered" in kinds(world, run)
    told = world.problem("POST", f"/v1/runs/{run}/answer", {"text": "1", "by": "bob"})
    assert told["code"] == "already_continued" and done["run"] in told["message"]
    assert world.context.row(Run, done["run"]).created_by == "ana"


def test_no_is_an_end_and_on_record(world: World) -> None:
    run = blocked(world, question="")
    assert items(world)[0]["kind"] == "permission"
    shown = world.http.post(f"/v1/runs/{run}/deny", {"by": "bob"}).json()
    assert shown["outcome"] == "blocked" and items(world) == []
    asked, row = [row for row in world.context.rows(Audit, run=run) if row.domain == "people"]
    assert asked.what == "waiting for a user"
    assert (row.what, row.detail["by"]) == ("denied", "bob")
    assert world.problem("POST", f"/v1/runs/{run}/deny", {})["code"] == "nothing_asked"
    assert world.problem("POST", f"/v1/runs/{run}/answer", {"text": "x"})["code"] == "nothing_asked"


def test_it_never_times_out(world: World) -> None:
    blocked(world)
    for _ in range(5):
        world.context.turn(7 * 24 * 3_600_000)
    assert len(items(world)) == 1
    world.context.restart()
    assert len(list_inbox(world.context.core)) == 1


HELD = {"status": "held", "why": "Makefile: runs next", "fix": "", "yes": ["--with-commands"], "held": 1}


def held(world: World) -> str:
    """A change of a supervised agent, held for a yes to files that decide what runs next."""
    commit = "c" * 40
    run = str(world.dispatch()["run"])
    job = world.claim()
    keep(world, replace(world.context.row(Run, run), terms={"autonomy": "supervised"}))
    world.context.depot.commits.add(commit)
    world.node.carry_out(job, commit=commit, change="change", files_changed=("Makefile",))
    keep(world, replace(world.context.row(Run, run), landing=HELD))
    return run


def keep(world: World, run: Run) -> None:
    with world.context.ledger.transaction() as tx:
        tx.put(run)


def test_the_answer_that_was_sent_is_told_back(world: World) -> None:
    world.node.facts = facts(isolation=Isolation.SANDBOX, runtimes=(RuntimeFact(name="claude", state="ok"),))
    world.node.breathe()
    run = blocked(world, runtime="claude", task="build it")
    done = world.http.post(f"/v1/runs/{run}/answer", {"text": "RIGHT", "by": "ana"}).json()
    assert done["answer"] == "right", done
    assert world.context.row(Run, done["run"]).terms["answers"] == "right"


@pytest.mark.parametrize(("scope", "said"), [("once", "this once"), ("run", "rest of this work")])
def test_a_permission_is_approved_once_or_for_the_rest(world: World, scope: str, said: str) -> None:
    world.node.facts = facts(isolation=Isolation.SANDBOX, runtimes=(RuntimeFact(name="claude", state="ok"),))
    world.node.breathe()
    run = blocked(world, question="", runtime="claude", task="build it")
    assert items(world)[0]["kind"] == "permission"
    done = world.http.post(f"/v1/runs/{run}/approve", {"by": "ana", "scope": scope}).json()
    assert said in world.context.row(Run, done["run"]).terms["answers"] and items(world) == []
    told = world.problem("POST", f"/v1/runs/{run}/approve", {})
    assert told["code"] == "already_continued" and done["run"] in told["message"]


def test_two_who_continue_one_question_at_once(world: World) -> None:
    run = blocked(world)
    with ThreadPoolExecutor(2) as both:
        said = list(
            both.map(lambda by: world.http.post(f"/v1/runs/{run}/continue", {"by": by}), ("ana", "ben"))
        )
    assert sorted(one.status_code for one in said) == [201, 409]
    (made,) = [one.json()["run"] for one in said if one.status_code == 201]
    (told,) = [one.json() for one in said if one.status_code == 409]
    assert (told["code"], made in told["message"]) == ("already_continued", True)
    assert len(world.context.rows(Run)) == 2
