"""An interactive run on an SDK: what becomes of a driver that heeds a cancel, that does not, and that is
gone."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from node_agent.wire.identity import MESSAGES_KEY, messages_in, seal_text, turn_control_file
from node_agent.wire.job import TurnTerms
from node_agent.workspace.homes import write_file
from tests.crowd import crowded
from tests.integration.node.node_world import until
from tests.integration.sdk.test_program import Stage
from tests.unit.node_agent.native.test_words import SECRET, laid

TERMS = TurnTerms(idle_ms=600_000, turn_ms=600_000)
CANCELS_S = 1.0
TALK = """
def note(words): open(told["folder"] + "/notes", "a").write(words + "\\n")
note("begun " + told["resume"])
async def work():
    line.listen()
    async for words in line.turns():
        used()
        await turn(words)
    note("left")
async def turn(words):
    stop = asyncio.Event()
    line.cancel = stop.set
    if "wait" in words:
        await stop.wait()
    line.cancel = None
    line.tell("done", result="heard " + words)
"""
WORK = "asyncio.run(work())\n"
DEAF = """
async def turn(words):
    line.cancel = lambda: None
    if "wait" in words:
        await asyncio.sleep(600)
    line.tell("done", result="heard")
"""
LATE = """
async def turn(words):
    stop = asyncio.Event()
    line.cancel = stop.set
    if "wait" not in words:
        return line.tell("done", result="heard")
    given = json.dumps({"command": "touch up; sleep 621"})
    note("answered " + await line.ask("call", id="1", name="bash", arguments=given))
    given = json.dumps({"path": "late.txt", "content": "x"})
    note("answered " + await line.ask("call", id="2", name="write", arguments=given))
    line.tell("said", text="words behind the cancel")
    line.tell("failed", failure="agent_failed", why="stopped")
"""
LEAVES = """
async def turn(words):
    if "leave" in words:
        return line.tell("failed", failure="agent_failed", why="its program is gone", leaves=True)
    if "die" in words:
        os._exit(4)
    line.tell("done", result="heard")
    if "then" in words:
        os._exit(5)
"""


class Sat(Stage):
    """An interactive run at work on a driver."""

    def sit(self, driver: str, terms: TurnTerms = TERMS) -> None:
        (self.home / MESSAGES_KEY).write_text(SECRET)
        self.process = self.start(TALK + driver + WORK, interactive_run=terms)

    def says(self, number: int, text: str) -> None:
        write_file(self.home, messages_in(""), str(number), laid(number, text))

    def wants(self, what: str, turn: int) -> None:
        data = seal_text(SECRET, turn, what).encode()
        write_file(self.home, messages_in(""), turn_control_file(what, turn), data)

    def told(self, kind: str) -> list[dict[str, Any]]:
        whole = (self.home / "out").read_text().rpartition("\n")[0]
        return [event for event in map(json.loads, whole.splitlines()) if event["type"] == kind]

    def ended(self, turn: int) -> tuple[str, str]:
        until(lambda: len(self.told("turn_end")) >= turn, f"turn {turn} ends")
        end = self.told("turn_end")[turn - 1]
        return end["stop"], end["why"]

    def cancelled(self, turn: int) -> float:
        """The seconds from a user's cancel to the end of the turn."""
        began = time.monotonic()
        self.wants("cancel", turn)
        assert self.ended(turn) == ("cancelled", "")
        return time.monotonic() - began

    def notes(self) -> list[str]:
        file = self.top / "notes"
        return file.read_text().splitlines() if file.exists() else []

    def rests(self) -> None:
        self.wants("rest", 1)
        verdict = self.verdict(self.process.wait(60 * crowded()))
        assert verdict.failure is None, verdict.reason


@pytest.fixture
def sat(tmp_path: Path) -> Iterator[Sat]:
    made = Sat(tmp_path)
    yield made
    if made.process.poll() is None:
        made.process.terminate()
        made.process.wait(10)


def test_one_driver_takes_all_turns_and_leaves_by_itself_at_the_end(sat: Sat) -> None:
    sat.sit("")
    assert sat.ended(1) == ("end_turn", "")
    sat.says(1, "wait")
    until(lambda: len(sat.told("turn")) == 2, "turn 2 begins")
    assert sat.cancelled(2) < CANCELS_S * crowded()
    sat.says(2, "go on")
    assert sat.ended(3) == ("end_turn", "")
    sat.rests()
    assert sat.notes() == ["begun ", "left"], "so it can keep its session"
    assert [one["turns"] for one in sat.told("usage")] == [1, 2, 3]


def test_one_that_does_not_heed_a_cancel_is_ended_and_started_again_with_its_session(sat: Sat) -> None:
    sat.sit(DEAF)
    assert sat.ended(1) == ("end_turn", "")
    sat.says(1, "wait")
    until(lambda: len(sat.told("turn")) == 2, "turn 2 begins")
    assert sat.cancelled(2) < CANCELS_S * crowded()
    sat.says(2, "go on")
    assert sat.ended(3) == ("end_turn", "")
    assert sat.notes() == ["begun ", "begun s-1"]
    sat.rests()


def test_behind_a_cancel_no_call_is_done_and_no_word_is_told(sat: Sat) -> None:
    sat.sit(LATE)
    assert sat.ended(1) == ("end_turn", "")
    sat.says(1, "wait")
    until((sat.top / "up").exists, "the command runs")
    assert sat.cancelled(2) < CANCELS_S * crowded()
    sat.says(2, "go on")
    assert sat.ended(3) == ("end_turn", "")
    no = "answered Not done: a user cancelled this turn."
    assert sat.notes() == ["begun ", no, no] and not (sat.top / "late.txt").exists()
    assert "behind the cancel" not in str(sat.told("said"))
    sat.rests()


@pytest.mark.parametrize(
    ("words", "stop"),
    [
        ("leave", ("failed", "its program is gone")),
        ("die", ("failed", "its driver ended unexpectedly, exit 4; see its output in the run's log")),
        ("and then", ("end_turn", "")),
    ],
)
def test_one_that_is_gone_is_started_again_with_the_next_words(
    sat: Sat, words: str, stop: tuple[str, str]
) -> None:
    sat.sit(LEAVES)
    assert sat.ended(1) == ("end_turn", "")
    sat.says(1, words)
    assert sat.ended(2) == stop
    sat.says(2, "go on")
    assert sat.ended(3) == ("end_turn", "") and sat.notes()[:2] == ["begun ", "begun s-1"]
    sat.rests()


def test_a_turn_that_takes_too_long_ends_and_the_next_words_are_answered(sat: Sat) -> None:
    sat.sit("", TERMS.model_copy(update={"turn_ms": 2_000}))
    assert sat.ended(1) == ("end_turn", "")
    sat.says(1, "wait")
    assert sat.ended(2)[0] == "limit"
    sat.says(2, "go on")
    assert sat.ended(3) == ("end_turn", "")
    sat.rests()
