"""An interactive run of the native worker: words begin turns, which end in many ways; without a message it
rests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from node_agent.chat.dialect import Question, Trouble, make_trouble
from node_agent.chat.limits import Over
from node_agent.chat.messages import Answer, Answered, Asked, ToolResults
from node_agent.gateway.meter import Wire
from node_agent.gateway.requests import error_body
from node_agent.native.equipment import WorkerHeartbeat, pause
from node_agent.native.interactive_run import InteractiveRun, TurnOver
from node_agent.native.judge import Judge
from node_agent.native.loop import CANCELLED
from node_agent.native.voice import UserMessages
from node_agent.policy.commands.tree import take_elsewhere
from node_agent.runtimes.workerspec import GOES_ON
from node_agent.wire.failure import FailureKind
from node_agent.wire.identity import messages_in, seal_text, turn_control_file
from node_agent.wire.job import TurnTerms
from node_agent.wire.receipt import MOST_TURN_MESSAGES, TurnStop
from node_agent.workspace.homes import write_file
from tests.unit.node_agent.native.test_loop import Script, Stage, calls, says
from tests.unit.node_agent.native.test_words import SECRET, WHO, laid
from tests.unit.node_agent.native.tree_of import spec_of

TERMS = TurnTerms(idle_ms=60, turn_ms=60_000, by="ana")


class Talk(Stage):
    """An interactive run on a checkout. `between`: what happens, one after the other, when it waits for a
    message."""

    def __init__(self, folder: Path, script: Script, terms: TurnTerms = TERMS, **changes: Any) -> None:
        super().__init__(folder, script, **changes)
        self.home = folder / "home"
        self.home.mkdir()
        self.between: list[Callable[[], None]] = []
        words = UserMessages(str(self.home), WHO, SECRET, self.loop.voice)
        self.heartbeat = WorkerHeartbeat(self._slept)
        self.interactive_run = InteractiveRun(self.loop, words, terms, self.heartbeat)

    def _slept(self, seconds: float) -> None:
        if self.between:
            self.between.pop(0)()
        else:
            pause(seconds)

    def says(self, number: int, text: str) -> Callable[[], None]:
        return lambda: write_file(self.home, messages_in(WHO), str(number), laid(number, text))

    def wants(self, what: str, turn: int) -> Callable[[], None]:
        data = seal_text(SECRET, turn, what).encode()
        return lambda: write_file(self.home, messages_in(WHO), turn_control_file(what, turn), data)

    def turns(self) -> list[tuple[int, str, str]]:
        """(number, stop, why) of each turn; each was begun before."""
        begun = [one["number"] for one in self.told("turn")]
        ended = [(one["number"], one["stop"], one["why"]) for one in self.told("turn_end")]
        assert begun == [number for number, _, _ in ended] == list(range(1, len(begun) + 1))
        return ended


class Midway(Script):
    """Something happens while the model answers for the n-th time."""

    def __init__(self, *answers: Answer | Trouble) -> None:
        super().__init__(*answers)
        self.at: dict[int, Callable[[], object]] = {}

    def ask(self, question: Question) -> Answer:
        self.at.pop(len(self.questions) + 1, lambda: None)()
        return super().ask(question)


def test_words_begin_turns_and_without_words_it_rests(tmp_path: Path) -> None:
    talk = Talk(tmp_path, Script(says("one"), says("two")))
    talk.between = [talk.says(4, "and then?")]
    assert talk.interactive_run.run("the task") is None and talk.interactive_run.answer == "two"
    assert talk.turns() == [(1, "end_turn", ""), (2, "end_turn", "")]
    first, second = talk.told("turn")
    assert (first["words"], first["by"], first["text"]) == (0, "ana", "the task")
    assert (second["words"], second["by"], second["text"]) == (4, "Ana", "and then?")
    assert [one["why"] for one in talk.told("rests")] == ["idle"]
    assert talk.saved == [Asked("the task"), Answered("one"), Asked("and then?"), Answered("two")]
    kinds = [line.split('"')[3] for line in talk.file.read_text().splitlines()]
    assert kinds == ["turn", "usage", "turn_end", "turn", "usage", "turn_end", "rests"]


def test_words_of_one_turn_are_not_those_of_the_next(tmp_path: Path) -> None:
    script = Midway(calls("ls"), says("one"), says("two"))
    talk = Talk(tmp_path, script)
    script.at[1] = talk.says(1, "in the middle")
    talk.between = [talk.says(2, "behind it")]
    talk.interactive_run.run("the task")
    assert [one["number"] for one in talk.told("heard")] == [1]
    assert [one["words"] for one in talk.told("turn")] == [0, 2]


def test_a_turn_takes_no_more_words_than_its_record_holds(tmp_path: Path) -> None:
    talk = Talk(tmp_path, Script(says("ok")))
    for number in range(1, MOST_TURN_MESSAGES + 5):
        talk.says(number, "more")()
    talk.interactive_run.run("the task")
    assert len(talk.told("heard")) == MOST_TURN_MESSAGES + 4 - 1, "one began a turn"
    assert [one["words"] for one in talk.told("turn")] == [0, MOST_TURN_MESSAGES]


@pytest.mark.parametrize("midst", ["model", "command"])
def test_a_cancelled_turn_ends_and_the_interactive_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, midst: str
) -> None:
    script = Midway(
        Answer("", (*calls("ls").calls, *calls("ls").calls), "tool_call", says("").tokens), says("ok")
    )
    talk = Talk(tmp_path, script)

    def cancelled() -> None:
        talk.wants("cancel", 1)()
        talk.loop.voice.say("half an ans")
        talk.heartbeat()

    if midst == "model":
        script.at[1] = cancelled
    else:
        monkeypatch.setattr(talk.loop.deeds, "do", lambda call, number: cancelled())
    talk.between = [talk.says(1, "go on")]
    assert talk.interactive_run.run("the task") is None
    assert talk.turns() == [(1, "cancelled", ""), (2, "end_turn", "")]
    closed = talk.loop.talk[talk.loop.talk.index(Asked("go on")) - 1]
    assert isinstance(closed, Answered) and "half an ans" in closed.text, "the model knows what it had said"
    if midst == "command":
        results = talk.loop.talk[2]
        assert isinstance(results, ToolResults) and [one.text for one in results.results] == [CANCELLED] * 2


def test_a_cancel_of_another_turn_changes_nothing_and_one_to_come_is_cancelled(tmp_path: Path) -> None:
    script = Midway(says("one"), says("two"))
    talk = Talk(tmp_path, script)
    talk.wants("cancel", 2)()
    script.at = {1: lambda: talk.heartbeat(), 2: lambda: talk.heartbeat()}
    talk.between = [talk.says(1, "go on")]
    talk.interactive_run.run("the task")
    assert talk.turns() == [(1, "end_turn", ""), (2, "cancelled", "")]


def test_what_nobody_sealed_cancels_nothing(tmp_path: Path) -> None:
    script = Midway(says("one"))
    talk = Talk(tmp_path, script)
    write_file(talk.home, messages_in(WHO), turn_control_file("cancel", 1), b"cancel")
    write_file(
        talk.home, messages_in(WHO), turn_control_file("rest", 1), seal_text(SECRET, 1, "cancel").encode()
    )
    script.at = {1: lambda: talk.heartbeat()}
    talk.interactive_run.run("the task")
    assert talk.turns() == [(1, "end_turn", "")] and talk.told("rests")[0]["why"] == "idle"


@pytest.mark.parametrize(("what", "why"), [("rest", "asked"), ("cap", "cap")])
def test_it_rests_when_it_is_asked_to_behind_the_turn_at_work(tmp_path: Path, what: str, why: str) -> None:
    script = Midway(says("one"), says("two"))
    talk = Talk(tmp_path, script, TurnTerms(idle_ms=600_000, turn_ms=60_000))
    talk.between = [talk.says(1, "go on")]
    script.at[2] = talk.wants(what, 1)
    talk.interactive_run.run("the task")
    assert len(talk.turns()) == 2 and talk.told("rests") == [{"type": "rests", "why": why}]


def test_a_rest_behind_a_turn_to_come_waits_for_it(tmp_path: Path) -> None:
    talk = Talk(tmp_path, Script(says("ok")), TurnTerms(idle_ms=600_000, turn_ms=60_000))
    talk.between = [talk.wants("rest", 2), lambda: None, talk.says(1, "go on")]
    talk.interactive_run.run("the task")
    assert len(talk.turns()) == 2 and talk.told("rests")[0]["why"] == "asked"


@pytest.mark.parametrize(
    ("limits", "why"),
    [
        ({"tokens": 130}, "cap"),
        ({"output_bytes": 330}, "size"),
        ({"turns": 1}, "cap"),
        ({"answers": 1}, "cap"),
    ],
)
def test_near_a_limit_it_rests_behind_its_turn(tmp_path: Path, limits: dict[str, int], why: str) -> None:
    talk = Talk(tmp_path, Script(says("one")), TurnTerms(idle_ms=600_000, turn_ms=60_000), **limits)
    talk.says(1, "never heard")()
    talk.loop.words = str
    talk.interactive_run.run("the task")
    assert talk.turns() == [(1, "end_turn", "")] and talk.told("rests")[0]["why"] == why


def test_a_turn_that_fails_leaves_the_next_one_whole(tmp_path: Path) -> None:
    broken = Trouble("boom", 400)
    talk = Talk(tmp_path, Script(says("one"), broken, says("", "content_filter"), says(""), says("two")))
    talk.between = [talk.says(number, "go on") for number in range(1, 5)]
    assert talk.interactive_run.run("the task") is None
    stops = [stop for _, stop, _ in talk.turns()]
    assert stops == ["end_turn", "failed", "refusal", "failed", "end_turn"]
    kinds = [type(turn) for turn in talk.loop.talk]
    assert kinds == [Asked, Answered] * 5, "a user and the model take turns, whatever became of one"


def test_what_further_words_would_meet_again_ends_it(tmp_path: Path) -> None:
    talk = Talk(tmp_path, Script(Trouble("no such key", 401)))
    over = talk.interactive_run.run("the task")
    assert over is not None and over.kind is FailureKind.MODEL_AUTH
    assert [stop for _, stop, _ in talk.turns()] == ["failed"] and talk.told("rests") == []


def test_where_the_gateway_lets_no_more_through_the_turn_is_cut_and_it_rests(tmp_path: Path) -> None:
    body = error_body(Wire.CHAT, 403, "$2 is spent, the limit of this run is $2", "usd")
    past = make_trouble(403, body)
    talk = Talk(tmp_path, Script(says("one"), past))
    talk.between = [talk.says(1, "go on")]
    assert talk.interactive_run.run("the task") is None
    assert [stop for _, stop, _ in talk.turns()] == ["end_turn", "limit"]
    assert "the limit of this run" in talk.turns()[1][2] and talk.told("rests")[0]["why"] == "cap"
    fresh = Talk(tmp_path / "fresh", Script(past))
    over = fresh.interactive_run.run("the task")
    assert over is not None and over.kind is FailureKind.USD_LIMIT, "no turn has ended with an answer"


def test_a_turn_that_takes_too_long_ends_and_the_interactive_run_goes_on(tmp_path: Path) -> None:
    script = Midway(says("one"), says("two"))
    talk = Talk(tmp_path, script, TurnTerms(idle_ms=60, turn_ms=600))

    def late() -> None:
        pause(0.7)
        talk.heartbeat()

    script.at[1] = late
    talk.between = [talk.says(1, "go on")]
    assert talk.interactive_run.run("the task") is None
    assert [stop for _, stop, _ in talk.turns()] == ["limit", "end_turn"]


def test_no_answer_at_all_is_how_the_run_ends(tmp_path: Path) -> None:
    talk = Talk(tmp_path, Script(Trouble("boom", 400)))
    over = talk.interactive_run.run("the task")
    assert isinstance(over, Over) and over.kind is FailureKind.MODEL_REFUSED
    assert talk.told("rests")[0]["why"] == "idle"


def test_the_model_is_told_what_was_before(tmp_path: Path) -> None:
    script, terms = Script(says("ok")), TERMS.model_copy(update={"story": "we began"})
    talk = Talk(tmp_path, script, terms)
    talk.interactive_run.run("go on")
    assert (
        script.questions[0].turns == (Asked("we began\n\ngo on"),) and talk.told("turn")[0]["text"] == "go on"
    )
    again = Talk(tmp_path / "again", script, terms)
    again.loop.talk += [Asked("a"), Answered("b")]
    again.interactive_run.run("go on")
    assert script.questions[-1].turns[-1] == Asked(f"{GOES_ON}\n\ngo on")


def test_no_tool_takes_the_end_of_a_turn_for_its_own_fault() -> None:
    assert not issubclass(TurnOver, Exception) and TurnOver(TurnStop.CANCELLED).why == ""


@pytest.mark.parametrize("asks", [True, False])
def test_what_judges_commands_gets_ready_with_each_turn_where_a_user_may_be_asked(
    tmp_path: Path, asks: bool
) -> None:
    talk, begun = Talk(tmp_path, Midway(says("one"), says("two"))), list[int]()
    spec = spec_of(talk.top)
    talk.loop.deeds.box.judge = Judge(spec, "/home/somebody", (lambda text, rules: "") if asks else None)
    talk.between = [talk.says(1, "go on")]
    take_elsewhere(None, lambda: begun.append(len(talk.script.questions)))
    try:
        talk.interactive_run.run("the task")
    finally:
        take_elsewhere(None)
    assert begun == ([0, 1] if asks else []), "before its model is asked"


def test_a_refused_message_is_in_no_later_turn(tmp_path: Path) -> None:
    talk = Talk(tmp_path, Script(says("one"), says("two")))
    talk.between = [talk.says(1, "x" * 40_000), talk.says(2, "shorter")]
    assert talk.interactive_run.run("the task") is None
    assert [stop for _, stop, _ in talk.turns()] == ["end_turn", "failed", "end_turn"]
    assert talk.saved == [Asked("the task"), Answered("one"), Asked("shorter"), Answered("two")]


def test_a_first_message_that_is_refused_leaves_no_conversation(tmp_path: Path) -> None:
    talk = Talk(tmp_path, Script(says("one")))
    over = talk.interactive_run.run("x" * 40_000)
    assert over is not None and over.kind is FailureKind.CANNOT_START
    assert talk.saved == [] and not talk.loop.remembers
