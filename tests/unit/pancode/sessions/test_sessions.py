"""Sessions over the API: begun, talked with, cancelled, at rest, continued with, ended; and the stream."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
from collections.abc import AsyncGenerator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from node_agent.wire.control import TurnControl, UserAnswers, UserMessage
from node_agent.wire.event import Marked, MessagesHeard, Turned, UserAsked
from node_agent.wire.failure import FailureKind, Outcome
from node_agent.wire.identity import AttemptId, Mark
from node_agent.wire.job import Job
from node_agent.wire.model import MOST
from node_agent.wire.node import RuntimeFact
from node_agent.wire.policy import CallAsked, Isolation
from node_agent.wire.receipt import SuspendReason, TurnMessage, TurnRecord, TurnStop, Usage
from pancode.fleet import inventory
from pancode.kernel.records import Action, ActionKind, FeedEvent, Run, Setting, StoredMessage
from pancode.kernel.values import replace
from pancode.runs.unit_of_work import unit_of_work
from pancode.runs.user_environment import Surroundings
from pancode.sessions.routes.sessions import _yield_events
from pancode.sessions.service import GoingOn
from pancode.sessions.stream import SessionPlace
from pancode.store.shape import shape_of
from tests.unit.pancode.interfaces.http.test_tcp import ListenerWorld, code_of
from tests.unit.pancode.interfaces.http.world import World, app_of, events_of
from tests.unit.pancode.runs.world import Puppet, facts, failed

MODEL = "anthropic/claude-sonnet-4-5"


@pytest.fixture
def world(tmp_path: Path) -> ListenerWorld:
    made = ListenerWorld(tmp_path)
    names = ("native", "claude", "shell")
    runtimes = tuple(RuntimeFact(name=name, state="ok") for name in names)
    made.node.facts = facts(isolation=Isolation.SANDBOX, runtimes=runtimes)
    made.node.breathe()
    return made


def begin(world: World, **more: Any) -> dict[str, Any]:
    words = {"task": "hello", "runtime": "native", "model": MODEL, "workspace": "none", "by": "ana"}
    answer = world.http.post("/v1/sessions", {**words, **more})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def session(world: World, run: str) -> Any:
    answer = world.http.get(f"/v1/sessions/{run}")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def say(world: World, run: str, text: str, by: str = "ana") -> dict[str, Any]:
    answer = world.http.post(f"/v1/sessions/{run}/words", {"text": text, "by": by})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def interactive_run(world: World) -> Job:
    """The job of the newest run, at work."""
    job = world.claim()
    world.node.start(job)
    world.context.turn()
    return job


def record(number: int, *words: int, stop: TurnStop = TurnStop.END_TURN) -> TurnRecord:
    told = tuple(TurnMessage(number=one, by="ana", sha256="4" * 64) for one in words)
    return TurnRecord(number=number, words=told, stop=stop, usage=Usage())


def turned(world: World, job: Job, turn: TurnRecord) -> None:
    world.node.say(job.identity, Turned(turn=turn, bytes=10 * turn.number))
    world.context.turn()


def rested(world: World, job: Job, *turns: TurnRecord) -> None:
    world.node.deliver(job, session="s-1", turns=turns, rests=SuspendReason.ASKED, answer="hi")
    world.context.turn()


def sent(world: World) -> list[Any]:
    kinds = UserMessage | TurnControl | UserAnswers
    return [one.body for one in world.node.controls() if isinstance(one.body, kinds)]


def test_the_same_call_under_one_key_makes_one_session_and_one_message(world: World) -> None:
    """As a face sends it again whose answer was lost."""
    words = {"task": "hello", "runtime": "native", "model": MODEL, "workspace": "none", "by": "ana"}
    first, again = (world.http.post("/v1/sessions", words, {"Idempotency-Key": "k-1"}) for _ in range(2))
    assert first.status_code == again.status_code == 201 and first.content == again.content
    assert len(world.http.get("/v1/sessions").json()["sessions"]) == 1
    run, job = first.json()["run"], interactive_run(world)
    turned(world, job, record(1, 0))
    more, path = {"text": "more", "by": "ana"}, f"/v1/sessions/{run}/words"
    first, again = (world.http.post(path, more, {"Idempotency-Key": "k-2"}) for _ in range(2))
    assert first.status_code == 200 and first.content == again.content
    assert [one.text for one in sent(world)] == ["more"] and session(world, run)["waiting"] == 1


def test_a_chat_works_in_a_workspace_and_is_one_of_its_runs(world: World, tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path / "shop")], check=True)
    place = {"by": "ana", "name": "login", "cwd": str(tmp_path / "shop"), "node": "n1"}
    assert world.http.post("/v1/workspaces", place).status_code == 201
    first = world.dispatch(workspace="login")["run"]
    job = world.node.carry_out()
    unknown = world.problem("POST", "/v1/sessions", {"task": "hi", "workspace": "logn", "by": "ana"})
    assert unknown["code"] == "workspace_not_found"
    run = begin(world, workspace="login")["run"]
    row: Run = world.context.row(Run, run)
    assert (row.project, row.node, row.terms["continues"]) == (place["cwd"], "n1", first)
    assert session(world, run)["session"] == run
    taken = world.problem("POST", "/v1/runs", world.shell(workspace="login"))
    assert taken["code"] == "workspace_taken" and run in taken["message"]
    assert taken["fix"] == f"pancode sessions rest {run}"
    job = interactive_run(world)
    turned(world, job, record(1, 0))
    rested(world, job, record(1, 0))
    rows = world.http.get("/v1/workspaces/login").json()["runs"]
    assert [(one["run"], one["talk"]) for one in rows] == [(first, None), (run, run)]
    assert world.context.row(Run, world.dispatch(workspace="login")["run"]).terms["continues"] == run


def test_a_session_from_its_first_words_to_the_next_interactive_run(world: World) -> None:
    begun = begin(world)
    run = begun["run"]
    assert (begun["agent"], begun["chosen"]) == ("builder", "because no agent was named")
    assert session(world, run)["state"] == "starts", "its job is signed at once"
    job = interactive_run(world)
    assert job.turns is not None and (job.turns.by, job.task) == ("ana", "hello")
    assert (job.turns.idle_ms, job.turns.turn_ms) == (600_000, 1_800_000)
    assert session(world, run)["state"] == "works"
    turned(world, job, record(1, 0))
    shown = session(world, run)
    assert (shown["state"], shown["turn"]["number"], shown["turn"]["stop"]) == (
        "waits for you",
        1,
        "end_turn",
    )
    assert "run.turn" in [event.kind.value for event in world.context.rows(FeedEvent)]
    assert world.problem("POST", "/v1/runs/running/stop", {})["code"] == "run_not_found", "it is idle"
    assert world.problem("GET", "/v1/sessions/nope")["code"] == "session_not_found"
    assert say(world, run, "and more", "ben")["how"] == "sent"
    (words,) = sent(world)
    assert (words.number, words.text, words.by) == (1, "and more", "ben")
    assert session(world, run)["state"] == "works", "words that no turn has ended with are worked on"
    world.node.say(job.identity, MessagesHeard(numbers=(1,)))
    turned(world, job, record(2, 1))
    assert session(world, run)["state"] == "waits for you"
    asked = world.http.post(f"/v1/sessions/{run}/turn", {"what": "rest", "by": "ana"})
    assert asked.status_code == 200
    (rest,) = sent(world)
    assert (rest.what, rest.number) == ("rest", 2)
    rested(world, job, record(1, 0), record(2, 1))
    assert session(world, run)["state"] == "rests"
    said = say(world, run, "go on", "ben")
    assert said["how"] == "begins" and said["run"] != run
    next_one = interactive_run(world)
    assert next_one.turns is not None and next_one.turns.by == "ben"
    assert (next_one.task, next_one.identity.run) == ("go on", said["run"])
    assert next_one.resume is not None and (next_one.resume.run, next_one.resume.session) == (run, "s-1")
    assert "hello" in next_one.turns.story, "where the node has not kept its memory"
    whole = session(world, said["run"])
    assert (whole["session"], whole["run"]) == (run, said["run"])
    assert [one["turns"] for one in whole["interactive_runs"]] == [2, 0]
    assert session(world, run) == whole, "by any of its runs"
    listed = world.http.get("/v1/sessions").json()["sessions"]
    assert [one["session"] for one in listed] == [run]
    assert world.http.get("/v1/sessions/last").json()["session"] == run


@pytest.mark.parametrize("number", [MOST, 10_001, 3])
def test_a_turn_that_cannot_be_the_next_is_none(world: World, number: int) -> None:
    """A node that lies hides no turn that comes, and leaves the session as it is."""
    run = begin(world)["run"]
    job = interactive_run(world)
    turned(world, job, record(1, 0))
    world.node.say(job.identity, Turned(turn=record(number, 0), bytes=10))
    world.context.turn()
    assert session(world, run)["turn"]["number"] == 1
    turned(world, job, record(2, 0))
    assert session(world, run)["turn"]["number"] == 2
    for path, what in (("turn", {"what": "cancel"}), ("turn", {"what": "rest"}), ("end", {})):
        answer = world.http.post(f"/v1/sessions/{run}/{path}", {**what, "by": "ana"})
        assert answer.status_code == 200, answer.text


def test_words_before_its_program_is_there_are_sent_when_it_is(world: World) -> None:
    run = begin(world)["run"]
    job = world.claim()
    assert say(world, run, "soon")["how"] == "sent", "its program gets them as soon as it is there"
    assert session(world, run)["waiting"] == 1
    world.node.start(job)
    world.context.turn()
    (words,) = sent(world)
    assert words.text == "soon"


def test_no_interactive_run_begins_by_itself_behind_one_that_broke_a_rule(world: World) -> None:
    run = begin(world)["run"]
    job = interactive_run(world)
    assert say(world, run, "and the docs, please")["how"] == "sent"
    broke = failed(FailureKind.RULE_BROKEN, Outcome.POLICY_VIOLATION)
    world.node.deliver(job, session="s-1", turns=(record(1, 0),), rests=SuspendReason.IDLE, **broke)
    world.context.turn()
    assert not [one for one in world.context.rows(Action) if one.kind is ActionKind.GO_ON]
    shown = session(world, run)
    assert (shown["goes_on"], shown["waiting"]) == (False, 1), "its words wait for a user, who decides"
    assert say(world, run, "leave infra as it was")["run"] != run


def test_words_that_came_too_late_begin_the_next_interactive_run_by_themselves(world: World) -> None:
    run = begin(world)["run"]
    job = interactive_run(world)
    turned(world, job, record(1, 0))
    assert say(world, run, "too late", "ben")["how"] == "sent"
    rested(world, job, record(1, 0))
    (action,) = [one for one in world.context.rows(Action) if one.kind is ActionKind.GO_ON]
    doer = GoingOn(world.context.core, world.coordinator.around)
    assert session(world, run)["goes_on"] is True, "a face waits for that interactive run"
    doer.do(action.run, lambda: False)
    assert session(world, run)["goes_on"] is False
    shown = session(world, run)
    assert shown["run"] != run and world.context.row(Run, shown["run"]).task == "too late"
    assert world.context.row(Run, shown["run"]).created_by == "ben"
    doer.do(action.run, lambda: False)
    assert session(world, run)["run"] == shown["run"], "once"
    assert not [one for one in world.context.rows(Action) if one.kind is ActionKind.GO_ON]


def test_an_end_while_the_next_interactive_run_is_being_begun_is_not_lost(world: World) -> None:
    run = begin(world)["run"]
    job = interactive_run(world)
    turned(world, job, record(1, 0))
    say(world, run, "too late")
    rested(world, job, record(1, 0))

    def around(settings: Mapping[str, object], preset: str | None = None) -> Surroundings:
        """The doer has seen that the session is open."""
        assert world.http.post(f"/v1/sessions/{run}/end", {"by": "ben"}).status_code == 200
        return world.coordinator.around(settings)

    GoingOn(world.context.core, around).do(run, lambda: False)
    shown = session(world, run)
    assert (shown["run"], shown["state"], shown["waiting"]) == (run, "ended", 1)
    assert not world.context.rows(Action)
    assert say(world, run, "go on")["how"] == "begins", "a user may"


def test_what_a_stopped_session_did_not_get_waits_for_a_user(world: World) -> None:
    run = begin(world)["run"]
    job = interactive_run(world)
    turned(world, job, record(1, 0))
    say(world, run, "never heard")
    world.http.post(f"/v1/runs/{run}/stop", {})
    world.node.deliver(job, **failed(FailureKind.STOPPED, Outcome.INTERRUPTED))
    world.context.turn()
    assert not [one for one in world.context.rows(Action) if one.kind is ActionKind.GO_ON]
    assert session(world, run)["waiting"] == 1
    again = say(world, run, "and this")
    assert world.context.row(Run, again["run"]).task == "never heard\n\nand this"


def test_a_lost_turn_is_shown_and_the_next_words_go_on(world: World) -> None:
    run = begin(world)["run"]
    job = interactive_run(world)
    world.node.deliver(
        job,
        turns=(record(1, 0, stop=TurnStop.LOST),),
        **failed(FailureKind.PROCESS_VANISHED, Outcome.INFRA),
    )
    world.context.turn()
    assert session(world, run)["state"] == "turn lost"
    assert world.problem("POST", f"/v1/runs/{run}/retry", {})["code"] == "is_interactive"
    assert say(world, run, "once more")["how"] == "begins"


def test_two_who_speak_at_once_to_a_session_at_rest_share_one_interactive_run(world: World) -> None:
    run = begin(world)["run"]
    job = interactive_run(world)
    rested(world, job, record(1, 0))
    first = say(world, run, "one", "ana")
    second = say(world, run, "two", "ben")
    assert first["how"] == "begins" and second["run"] == first["run"]
    answer = world.http.post(f"/v1/runs/{run}/continue", {"text": "three", "by": "cy"})
    assert answer.json()["run"] == first["run"], "runs continue and tell are words for a session"
    told = world.http.post(f"/v1/runs/{run}/tell", {"text": "four"}).json()
    assert told["run"] == first["run"]


def test_of_two_who_begin_the_next_interactive_run_at_once_one_does(world: World) -> None:
    run = begin(world)["run"]
    rested(world, interactive_run(world), record(1, 0))
    with ThreadPoolExecutor(4) as all_at_once:
        said = list(all_at_once.map(lambda text: say(world, run, text), "abcd"))
    assert len({one["run"] for one in said}) == 1 and [one["how"] for one in said].count("begins") == 1
    told = world.context.row(Run, said[0]["run"])
    heard = told.task + " ".join(word.text for word in world.context.rows(StoredMessage, run=told.id))
    assert all(text in heard for text in "abcd")


def test_a_question_is_answered_by_its_number_and_never_by_words(world: World) -> None:
    run = begin(world)["run"]
    job = interactive_run(world)
    question = CallAsked(call=16 * "a", command="git push", pattern=r"^git push")
    world.node.say(job.identity, UserAsked(asked=question, why="a rule asks"))
    world.context.turn()
    shown = session(world, run)
    assert (shown["state"], shown["asks"]["call"], shown["asks"]["kind"]) == ("asks", 1, "call")
    say(world, run, "yes")
    assert session(world, run)["state"] == "asks" and isinstance(sent(world)[0], UserMessage)
    world.http.post(f"/v1/runs/{run}/approve", {"call": 1, "by": "ben"})
    (answer,) = sent(world)
    assert isinstance(answer, UserAnswers) and (answer.allow, answer.by) == (True, "ben")


def test_a_change_that_its_agent_proposes_is_a_card_of_the_session(world: World) -> None:
    run = begin(world)["run"]
    job = interactive_run(world)
    world.coordinator.inside = (AttemptId(run=run, attempt=1, lease=1),)
    asked = world.http.post("/v1/config/propose", {"kind": "budget", "target": "day", "value": "25"}).json()
    world.coordinator.inside = ()
    shown = session(world, run)
    assert (shown["state"], shown["asks"]["kind"]) == ("works", "change"), "its turn continues"
    turned(world, job, record(1, 0))
    shown = session(world, run)
    assert (shown["state"], shown["asks"]["run"], shown["asks"]["call"]) == ("asks", asked["id"], None)
    assert shown["asks"]["words"].startswith("budget day: $10 -> $25; requested by ")
    say(world, run, "yes")
    assert session(world, run)["asks"] is not None, "words are never a yes"
    assert world.http.post(f"/v1/runs/{asked['id']}/approve", {"by": "ana"}).status_code == 200
    assert session(world, run)["asks"] is None


def test_a_question_waits_in_its_turn_alone(world: World) -> None:
    run = begin(world)["run"]
    job = interactive_run(world)
    question = CallAsked(call=16 * "a", command="git push", pattern=r"^git push")
    world.node.say(job.identity, UserAsked(asked=question, why="a rule asks"))
    world.context.turn()
    assert session(world, run)["state"] == "asks"
    turned(world, job, record(1, 0, stop=TurnStop.CANCELLED))
    assert session(world, run)["state"] == "waits for you", "nobody waits for that yes any more"
    say(world, run, "something else")
    later = question.model_copy(update={"call": 16 * "b"})
    world.node.say(job.identity, UserAsked(asked=later, why="a rule asks"))
    world.context.turn()
    assert session(world, run)["asks"]["call"] == 2, "a later turn may ask, too"


def test_an_interactive_run_that_waits_for_a_yes_is_ended_too(world: World) -> None:
    run = begin(world, ask=True)["run"]
    assert session(world, run)["state"] == "asks"
    for _ in range(2):
        ended = world.http.post(f"/v1/sessions/{run}/end", {"by": "ana"})
        assert ended.json()["state"] == "ended"
    assert world.context.row(Run, run).reason == "ana ended its session"
    assert not world.context.rows(Action), "nobody is asked about it any more"


def test_what_fails_before_its_first_turn_keeps_its_words_and_its_memory(world: World) -> None:
    run = begin(world)["run"]
    rested(world, interactive_run(world), record(1, 0))
    second = say(world, run, "go on")["run"]
    job = world.claim()
    world.node.deliver(job, **failed(FailureKind.WORKSPACE, Outcome.INFRA))
    world.context.turn()
    assert session(world, second)["state"] == "rests"
    third = say(world, run, "and now")["run"]
    job = interactive_run(world)
    assert (job.identity.run, job.task) == (third, "go on\n\nand now")
    assert job.resume is not None and (job.resume.run, job.resume.session) == (run, "s-1")
    assert job.turns is not None and run in job.turns.story, "the story of before"


def test_words_begin_nothing_that_lands_without_the_right_to_land(world: ListenerWorld) -> None:
    run = begin(world)["run"]
    rested(world, interactive_run(world), record(1, 0))
    second = say(world, run, "go on")["run"]
    rested(world, interactive_run(world), record(1, 0))
    made(world, second, land=True)
    token = world.token("answer", "dispatch")
    for path in (f"sessions/{run}/words", f"runs/{run}/tell", f"runs/{run}/continue"):
        answer = world.ask("POST", f"/v1/{path}", token, {"text": "land it"})
        assert code_of(answer, 403) == "wrong_scope", path
    assert session(world, run)["run"] == second
    made(world, second, land=True, landed="c" * 40)
    assert world.ask("POST", f"/v1/runs/{run}/tell", token, {"text": "go on"}).status_code == 200
    assert session(world, run)["run"] != second


def made(world: World, run: str, **changes: Any) -> None:
    row = world.context.row(Run, run)
    with unit_of_work(world.context.core) as work:
        work.tx.put(replace(row, **changes))


def test_a_rehearsal_of_an_earlier_version_goes_on_as_any_other_session(world: World) -> None:
    """A home may hold runs with the term `rehearses` and settings `decomposes:MODEL`: nothing reads them."""
    run = begin(world)["run"]
    stored = json.dumps({**world.context.row(Run, run).terms, "rehearses": "chain"})
    (column,) = (one for one in shape_of(Run).columns if one.name == "terms")
    assert column.decode is not None
    made(world, run, terms=column.decode(stored))
    with unit_of_work(world.context.core) as work:
        work.tx.put(Setting(f"decomposes:{MODEL}", {"chain": run}, 0, "ana"))
    rested(world, interactive_run(world), record(1, 0))
    again = world.context.row(Run, say(world, run, "go on")["run"])
    assert again.session == run and "rehearses" not in again.terms
    for path in ("/v1/models", "/v1/config", f"/v1/runs/{run}", "/v1/sessions"):
        assert world.http.get(path).status_code == 200, path


def test_the_retry_of_a_lost_interactive_run_has_what_its_session_had(world: World) -> None:
    run = begin(world)["run"]
    rested(world, interactive_run(world), record(1, 0))
    lost = say(world, run, "go on", "ben")["run"]
    before = interactive_run(world)
    say(world, run, "and this", "cy")
    for _ in range(100):
        world.context.turn(10_000)
    assert session(world, run)["state"] == "turn lost"
    refused = world.problem("POST", f"/v1/sessions/{run}/words", {"text": "hello?"})
    assert refused["code"] == "no_result"
    assert refused["fix"] == f"pancode runs retry {lost}"
    world.node.breathe()
    made = world.http.post(f"/v1/runs/{lost}/retry", {"by": "ana"})
    assert made.status_code == 201, made.text
    again = world.context.row(Run, made.json()["run"])
    assert again.task == "ben said: go on\n\ncy said: and this" and again.created_by == "ana"
    assert before.turns is not None and again.terms["story"] == before.turns.story
    assert again.terms["resume"] == {"run": run, "session": "s-1"}, "its node is there again"
    shown = session(world, run)
    assert [one["run"] for one in shown["interactive_runs"]] == [run, lost, again.id]
    assert session(world, again.id) == shown and shown["waiting"] == 0
    twice = world.problem("POST", f"/v1/runs/{lost}/retry", {"by": "ben"})
    assert twice["code"] == "already_continued"


def test_a_session_whose_machine_has_left_the_fleet_goes_on_elsewhere(world: World) -> None:
    run = begin(world, node="n1")["run"]
    rested(world, interactive_run(world), record(1, 0))
    second = say(world, run, "go on")["run"]
    rested(world, interactive_run(world), record(1, 0))
    assert world.context.row(Run, second).node == "n1"
    other = Puppet(world.context, "n2")
    other.facts = world.node.facts
    other.breathe()
    inventory.revoke(world.context.core, "n1")
    third = world.context.row(Run, say(world, run, "and now")["run"])
    assert third.node is None and "resume" not in third.terms, "no node has its memory"
    assert third.task == "and now" and "go on" in third.terms["story"]


def test_words_to_a_machine_that_is_off_wait_for_it_and_its_memory(world: World) -> None:
    run = begin(world, node="n1")["run"]
    rested(world, interactive_run(world), record(1, 0))
    other = Puppet(world.context, "n2")
    other.facts = world.node.facts
    for _ in range(world.context.rules.deadlines.unreachable_ms // world.context.rules.heartbeat_ms + 2):
        other.breathe()
    second = say(world, run, "go on")["run"]
    kept = world.context.row(Run, second)
    assert kept.node == "n1" and kept.terms["resume"] == {"run": run, "session": "s-1"}
    shown = session(world, second)
    assert shown["state"] == "waits for a slot" and "n1" in shown["reason"], shown
    assert "your message is delivered when the node is heard again" in shown["reason"]
    world.node.breathe()
    world.context.turn()
    job = interactive_run(world)
    assert job.resume is not None and job.resume.session == "s-1"


def test_words_of_several_users_name_who_said_them(world: World) -> None:
    run = begin(world)["run"]
    job = interactive_run(world)
    turned(world, job, record(1, 0))
    say(world, run, "not yet", "ben")
    world.http.post(f"/v1/runs/{run}/stop", {})
    world.node.deliver(job, **failed(FailureKind.STOPPED, Outcome.INTERRUPTED))
    world.context.turn()
    again = say(world, run, "now", "ana")["run"]
    assert world.context.row(Run, again).task == "ben said: not yet\n\nana said: now"


def test_the_end_cancels_and_rests_and_words_begin_it_again(world: World) -> None:
    run = begin(world)["run"]
    job = interactive_run(world)
    world.http.post(f"/v1/sessions/{run}/end", {"by": "ana"})
    cancel, rest = sent(world)
    assert [(one.what, one.number) for one in (cancel, rest)] == [("cancel", 1), ("rest", 1)]
    world.http.post(f"/v1/sessions/{run}/end", {"by": "ben"})
    assert sent(world) == [], "once"
    rested(world, job, record(1, 0, stop=TurnStop.CANCELLED))
    assert session(world, run)["state"] == "ended"
    assert world.problem("POST", f"/v1/sessions/{run}/turn", {"what": "rest"})["code"] == "no_turn"
    assert say(world, run, "hello again")["how"] == "begins"
    assert session(world, run)["state"] == "starts"
    world.http.post(f"/v1/sessions/{run}/end", {"by": "ana"})
    stopping = session(world, run)["run"]
    assert world.context.row(Run, stopping).stop_asked == "ana ended its session"


def test_a_cancel_ends_only_the_turn_that_its_user_saw(world: World) -> None:
    run = begin(world)["run"]
    job = interactive_run(world)
    turned(world, job, record(1, 0))
    say(world, run, "and more", "ben")
    sent(world)
    late = world.http.post(f"/v1/sessions/{run}/turn", {"what": "cancel", "turn": 1})
    assert late.status_code == 200 and sent(world) == [], "turn 1 is over, and turn 2 is another one"
    for body, number in (({"turn": 2}, 2), ({}, 2)):
        world.http.post(f"/v1/sessions/{run}/turn", {"what": "cancel", **body})
        (cancel,) = sent(world)
        assert (cancel.what, cancel.number) == ("cancel", number)
    assert world.http.post(f"/v1/sessions/{run}/turn", {"what": "cancel", "turn": 0}).status_code == 400


def test_what_takes_no_turns_says_what_does(world: World) -> None:
    told = world.problem("POST", "/v1/sessions", {"task": "x", "runtime": "shell", "workspace": "none"})
    assert told["code"] == "takes_no_turns" and "--runtime native" in told["fix"]
    nothing = world.problem("POST", "/v1/sessions", {"task": " ", "runtime": "native", "model": MODEL})
    assert nothing["code"] == "bad_words"
    run = world.dispatch()["run"]
    assert session(world, run)["takes_turns"] is False
    assert world.problem("POST", f"/v1/sessions/{run}/end", {})["code"] == "no_session"


def test_a_finished_run_is_talked_with_and_takes_turns_from_then_on(world: World) -> None:
    body = {"task": "do it", "runtime": "native", "model": MODEL, "workspace": "none"}
    run = world.http.post("/v1/runs", body).json()["run"]
    job = interactive_run(world)
    world.node.deliver(job, session="s-9")
    world.context.turn()
    assert session(world, run)["state"] == "ended"
    said = say(world, run, "why so?")
    next_one = interactive_run(world)
    assert next_one.turns is not None and next_one.resume is not None and next_one.task == "why so?"
    assert session(world, said["run"])["session"] == run


def stream(world: World, run: str, **query: str) -> list[tuple[str, Any]]:
    return events_of(world.http.get(f"/v1/sessions/{run}/stream", **query))


def test_the_stream_goes_on_at_the_number_over_interactive_runs(world: World) -> None:

    run = begin(world)["run"]
    job = interactive_run(world)
    world.coordinator.streams.put(job.identity, "out", b"first turn\n")
    rested(world, job, record(1, 0))
    second = say(world, run, "go on")["run"]
    after = interactive_run(world)
    world.coordinator.streams.put(after.identity, "out", b"second turn\n")
    world.http.post(f"/v1/sessions/{run}/end", {})
    rested(world, after, record(1, 0))
    found = stream(world, run)
    logs = [data for kind, data in found if kind == "log"]
    assert [(one["run"], one["next"], base64.b64decode(one["b64"])) for one in logs] == [
        (run, 11, b"first turn\n"),
        (second, 12, b"second turn\n"),
    ]
    assert [kind for kind, _ in found][-1] == "end" and found[-2][1]["state"] == "ended"
    rest = [one for one in stream(world, run, since=f"{run}:6") if one[0] == "log"]
    assert b"".join(base64.b64decode(data["b64"]) for _, data in rest) == b"turn\nsecond turn\n"
    assert [kind for kind, _ in stream(world, run, since=f"{second}:12")] == ["session", "end"]
    for wrong in ("x", f"{run}", "r-9999:0", f"{run}:-1"):
        told = world.problem("GET", f"/v1/sessions/{run}/stream?since={wrong}")
        assert told["code"] == "bad_value", wrong


def test_output_that_grows_is_told_without_a_look_into_the_ledger(world: World) -> None:
    """The bell has rung for the log alone, and only those that read this run have heard it."""
    run = begin(world)["run"]
    job = interactive_run(world)
    world.coordinator.streams.put(job.identity, "out", b"one ")
    context = app_of(world.coordinator)[1]
    ledger, looks = context.core.ports.ledger, []

    def transaction() -> Any:
        looks.append(1)
        return ledger.transaction()

    async def told() -> list[str]:
        events = _yield_events(context, SessionPlace(run))
        kinds = [await anext(events), await anext(events)]
        with context.bell.listening() as other:
            other.run = "r-other"
            coming = asyncio.ensure_future(anext(events))
            counted = SimpleNamespace(transaction=transaction)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(context.core, "ports", replace(context.core.ports, ledger=counted))
                await asyncio.to_thread(world.coordinator.streams.put, job.identity, "out", b"two")
                kinds.append(await coming)
            assert not other._rung.is_set()
        assert isinstance(events, AsyncGenerator)
        await events.aclose()
        return kinds

    kinds = asyncio.run(told())
    assert [kind.partition("event: ")[2].split()[0] for kind in kinds] == ["log", "session", "log"]
    assert base64.b64encode(b"two").decode() in kinds[2] and not looks


def test_an_interactive_run_that_ends_its_program_is_still_at_work(world: World) -> None:
    run = begin(world)["run"]
    job = interactive_run(world)
    turned(world, job, record(1, 0))
    world.node.say(job.identity, Marked(mark=Mark.EXITED))
    world.context.turn()
    assert session(world, run)["state"] == "works", "its result is on the way"
    assert say(world, run, "late")["how"] == "kept"


def test_a_program_at_work_on_a_machine_that_is_not_heard_is_said_to_be_so(world: World) -> None:
    run = begin(world)["run"]
    assert session(world, run)["heard"], "it waits for a slot"
    interactive_run(world)
    assert session(world, run)["heard"]
    world.context.clock.ms += 60_000
    shown = session(world, run)
    assert (shown["state"], shown["heard"]) == ("works", False)
