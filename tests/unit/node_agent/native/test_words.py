"""A person's words that come while the worker works: each is given once, with the next turn."""

from __future__ import annotations

from pathlib import Path

import pytest

from node_agent.chat.messages import Asked
from node_agent.native.voice import PersonWords
from node_agent.shim.process import MARKER
from node_agent.wire.identity import ATTEMPT, words_in
from node_agent.workspace.homes import lay
from tests.unit.node_agent.native.test_loop import Script, Stage, calls, says

WHO = "r-0001.1.1"


def test_the_name_of_the_attempt_is_that_which_its_processes_have() -> None:
    assert ATTEMPT == MARKER


def stage(folder: Path, script: Script) -> tuple[Stage, Path]:
    found = Stage(folder, script)
    home = folder / "home"
    home.mkdir()
    found.loop.words = PersonWords(str(home), WHO, found.loop.voice).new
    return found, home


def test_words_come_in_order_after_the_results_of_its_calls(tmp_path: Path) -> None:
    script = Script(calls("ls"), says("done"))
    found, home = stage(tmp_path, script)
    for number in (10, 9):
        lay(home, words_in(WHO), str(number), f"word {number}".encode())
    lay(home, words_in("r-0001.1.2"), "1", b"for another attempt")
    lay(home, words_in(WHO), "notes.txt", b"not a number")
    assert found.loop.run("the task") == "done"
    (added,) = [turn for turn in script.questions[1].turns if isinstance(turn, Asked)][1:]
    assert added.text == ("A person adds, while you work: word 9\n\nA person adds, while you work: word 10")
    assert [one["number"] for one in found.told("heard")] == [9, 10]


def test_words_during_its_last_answer_are_heard_still(tmp_path: Path) -> None:
    script = Script(says("done"), says("done again"))
    found, home = stage(tmp_path, script)
    lay(home, words_in(WHO), "1", b"and the docs")
    assert found.loop.run("the task") == "done again" and len(script.questions) == 2


def test_no_link_of_the_agents_is_followed(tmp_path: Path) -> None:
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    home.mkdir()
    elsewhere.mkdir()
    (home / words_in(WHO)).symlink_to(elsewhere)
    with pytest.raises(OSError):
        lay(home, words_in(WHO), "1", b"x")
    (home / words_in(WHO)).unlink()
    lay(home, words_in(WHO), "1", b"first")
    (home / words_in(WHO) / ".1").symlink_to(elsewhere / "stolen")
    lay(home, words_in(WHO), "1", "größer\n'\"$(x)".encode())
    assert (home / words_in(WHO) / "1").read_text() == "größer\n'\"$(x)"
    assert list(elsewhere.iterdir()) == []
