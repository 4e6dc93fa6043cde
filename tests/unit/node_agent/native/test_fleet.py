"""Tools of the fleet in the native worker: asked for by a line, answered by a sealed file alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from node_agent.chat.messages import ToolResults
from node_agent.native.fleet import FleetChannel, begun_by, fleet_forms, words_of_call
from node_agent.native.interactive_run import TurnOver
from node_agent.native.tools.offer import Deeds
from node_agent.native.voice import UserMessages
from node_agent.wire.fleet import MOST_ARGUMENTS, FleetTerms, FleetTool, LaidFleetAnswer, fleet_answer_file
from node_agent.wire.identity import messages_in, seal_text
from node_agent.wire.receipt import TurnStop
from node_agent.workspace.homes import write_file
from tests.unit.node_agent.native.test_loop import Script, Stage, calls, says
from tests.unit.node_agent.native.test_words import SECRET, WHO, laid

DISPATCH = FleetTool(name="dispatch", description="hand over", parameters='{"type": "object"}')
TERMS = FleetTerms(tools=(DISPATCH,))


class Asking(Stage):
    """A loop whose program may dispatch. `while_it_waits`: what happens meanwhile, one after the other."""

    def __init__(self, folder: Path, script: Script, *while_it_waits: Callable[[], None]) -> None:
        super().__init__(folder, script)
        self.home = folder / "home"
        self.home.mkdir()
        self.meanwhile = list(while_it_waits)
        words = UserMessages(str(self.home), WHO, SECRET, self.loop.voice)
        desk = FleetChannel(TERMS, self.loop.voice, words, self._slept)
        self.loop.deeds = Deeds(self.loop.box, self.loop.voice, desk)

    def _slept(self, seconds: float) -> None:
        self.meanwhile.pop(0)()

    def answers(self, number: int, text: str, ok: bool = True, seal: int | None = None) -> None:
        data = seal_text(
            SECRET, -number if seal is None else seal, LaidFleetAnswer(ok=ok, text=text).model_dump_json()
        )
        write_file(self.home, messages_in(WHO), fleet_answer_file(number), data.encode())

    def results(self) -> list[str]:
        asked = self.script.questions[-1].turns
        return [one.text for turn in asked if isinstance(turn, ToolResults) for one in turn.results]


def test_a_call_waits_for_its_sealed_answer_and_for_no_other(tmp_path: Path) -> None:
    stage = Asking(tmp_path, Script(calls("dispatch", task="build it"), says("It runs.")))
    stage.meanwhile = [
        lambda: stage.answers(1, "forged: sealed as messages of a user are", seal=1),
        lambda: write_file(
            stage.home, messages_in(WHO), fleet_answer_file(1), laid(1, "words that were copied")
        ),
        lambda: stage.answers(2, "of another call"),
        lambda: stage.answers(1, '{"run": "r-0002"}'),
    ]
    assert stage.loop.run("build it") == "It runs." and not stage.meanwhile
    assert stage.results() == ['{"run": "r-0002"}']
    assert stage.told("asks_fleet") == [
        {
            "type": "asks_fleet",
            "number": 1,
            "tool": "dispatch",
            "about": "build it",
            "arguments": {"task": "build it"},
        }
    ]
    assert [one["number"] for one in stage.told("fleet_over")] == [1]
    assert stage.told("ran")[-1]["ok"] is True and stage.loop.deeds.denied == 0


def test_a_refusal_is_told_to_the_model_as_a_call_that_failed(tmp_path: Path) -> None:
    stage = Asking(tmp_path, Script(calls("dispatch", task="x"), says("I was refused.")))
    stage.meanwhile = [lambda: stage.answers(1, "Dispatch blocked", ok=False)]
    stage.loop.run("x")
    assert stage.results() == ["Dispatch blocked"] and stage.told("ran")[-1]["ok"] is False


def test_what_is_not_offered_is_for_the_coordinator_to_refuse(tmp_path: Path) -> None:
    hostile = [
        calls("land", run="r-0001"),
        calls("Land it", run="r-0001"),
        calls("dispatch", task="x" * 1_000_000),
    ]
    stage = Asking(tmp_path, Script(*hostile, says("Nothing worked.")))
    stage.meanwhile = [lambda: stage.answers(1, "land is not a tool of this interactive run", ok=False)]
    stage.loop.run("x")
    assert [one["tool"] for one in stage.told("asks_fleet")] == ["land"], "its audit has the attempt"
    told = [one["why"] for one in stage.told("denied")]
    assert (
        told[0] == "land is not a tool of this interactive run"
        and "Land it is not a tool of this run" in told[1]
    )
    assert f"limit for a fleet tool is {MOST_ARGUMENTS}" in told[2] and stage.loop.deeds.denied == 3


def test_a_turn_that_ends_gives_the_call_up(tmp_path: Path) -> None:
    stage = Asking(tmp_path, Script(calls("dispatch", task="x"), says("never said")))

    def cancelled() -> None:
        raise TurnOver(TurnStop.CANCELLED)

    stage.meanwhile = [cancelled]
    try:
        stage.loop.run("x")
    except TurnOver as over:
        assert over.stop is TurnStop.CANCELLED
    assert [one["number"] for one in stage.told("fleet_over")] == [1], "nobody waits for it any more"


def test_the_model_is_shown_the_schema_of_the_job() -> None:
    (form,) = fleet_forms(TERMS)
    shown: Any = json.loads(DISPATCH.parameters)
    assert (form.name, form.words, form.schema) == ("dispatch", "hand over", shown)
    assert fleet_forms(None) == []


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"agent": "builder", "node": "n2", "task": "build\n it"}, "builder on n2: build it"),
        ({"tasks": [{"task": "a"}, {"task": "b"}]}, "2 tasks"),
        ({"questions": ["where is it?", "who calls it?"]}, "where is it?; who calls it?"),
        ({"run": "r-1"}, "r-1"),
        ({"task": 7, "agent": None}, ""),
    ],
)
def test_a_call_says_whom_it_sends_where_with_what(given: dict[str, Any], words: str) -> None:
    assert words_of_call(given) == words


@pytest.mark.parametrize(
    ("answer", "begun"), [('{"run": "r-1"}', "r-1"), ('{"workflow": "w-1"}', "w-1"), ("[1]", ""), ("{", "")]
)
def test_an_answer_says_what_was_begun(answer: str, begun: str) -> None:
    assert begun_by(answer) == begun
