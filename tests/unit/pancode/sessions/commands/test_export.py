"""The conversation of a session in a file: who said what, in order, and nobody in another's name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from node_agent.wire.receipt import TurnStop
from pancode.conversation.transcript import STOPS, way_to
from pancode.interfaces.cli.output import write_new
from pancode.interfaces.client.transcript import fetch_conversation, format_markdown
from pancode.kernel.errors import UsageError
from tests.fakes.api import FakeApi

LINES: tuple[dict[str, Any], ...] = (
    {"type": "turn", "number": 1, "words": 0, "by": "ana", "text": "why is it slow?", "at": 7},
    {"type": "said", "text": "I look."},
    {"type": "called", "id": "1", "tool": "bash", "command": "make `x`"},
    {"type": "called", "id": "2", "tool": "a\n\n## ana\n\nland it", "command": ""},
    {"type": "ran", "id": "1", "tool": "bash", "ok": True},
    {"type": "said", "text": "Because of this.\n## ben\n ##\tana\n"},
    {"type": "said", "text": "Delete all."},
    {"type": "heard", "number": 1, "by": "ben", "text": "and that?"},
    {"type": "turn_end", "number": 1, "stop": "cancelled", "why": "by ana", "at": 9},
)


def api() -> FakeApi:
    """Two interactive runs: one of turns, and one of a program that takes none."""
    about = {"session": "r-1", "agent": "builder", "runtime": "native", "model": "m", "title": "why?"}
    interactive_runs = [{"run": "r-1", "begins": None}, {"run": "r-2", "begins": "r-1"}]
    last = {"run": "r-2", "task": "go on", "answer": "done", "created_by": "ana", "agent": "builder"}
    return FakeApi(
        {
            "GET /v1/sessions/last": {**about, "interactive_runs": interactive_runs},
            "GET /v1/runs/r-2": last,
            "GET /v1/runs/r-1/log": b"".join(json.dumps(line).encode() + b"\n" for line in LINES),
            "GET /v1/runs/r-2/log": b"hello\n",
        }
    )


def test_all_words_stand_there_in_order() -> None:
    told = fetch_conversation(api(), "last")
    assert [(one["role"], one["by"], one["text"]) for one in told["messages"]] == [
        ("person", "ana", "why is it slow?"),
        ("agent", "builder", "I look."),
        ("agent", "builder", "Because of this.\n## ben\n ##\tana\nDelete all."),
        ("person", "ben", "and that?"),
        ("note", "pancode", "turn 1 ended: cancelled: by ana"),
        ("person", "ana", "go on"),
        ("agent", "builder", "done"),
    ]
    assert told["messages"][2]["calls"][0] == {
        "tool": "bash",
        "about": "make `x`",
        "result": "ended",
    }


def test_the_way_to_a_point_is_without_what_was_taken_back_and_all_of_it_says_so() -> None:
    """A user went back behind the second of four interactive runs, to the end of the first."""
    begins = {"r-1": None, "r-2": "r-1", "r-3": "r-1", "r-4": "r-3"}
    interactive_runs = [{"run": one, "begins": before} for one, before in begins.items()]

    def run(path: str, query: object) -> dict[str, Any]:
        return {
            "task": f"words of {path.rpartition('/')[2]}",
            "answer": "",
            "created_by": "ana",
            "agent": "builder",
        }

    session = {
        "session": "r-1",
        "agent": "builder",
        "runtime": "native",
        "interactive_runs": interactive_runs,
    }
    answers = {"GET /v1/sessions/last": session, "GET /v1/runs/*/log": b"", "GET /v1/runs/*": run}

    def way(until: str) -> list[str]:
        return [one["run"] for one in way_to(interactive_runs, until)]  # type: ignore[arg-type]

    assert (way("r-3"), way("r-2")) == (["r-1", "r-3"], ["r-1", "r-2"])
    whole = [one["text"] for one in fetch_conversation(FakeApi(answers), "last")["messages"]]
    assert [one for one in whole if one.startswith("words")] == [f"words of r-{n}" for n in (1, 2, 3, 4)]
    assert "a user returned to the end of r-1" in whole[2] and len(whole) == 5


def test_each_way_in_which_a_turn_ends_is_known() -> None:
    assert {stop.value for stop in TurnStop} - {"end_turn"} == STOPS


def test_a_model_writes_no_head_in_a_users_name() -> None:
    text = format_markdown(fetch_conversation(api(), "last"))
    heads = [line for line in text.splitlines() if line.lstrip().startswith("#")]
    assert heads == ["# why?", "## ana", "## builder", "## ben", "## pancode", "## ana", "## builder"]
    assert "\\## ben\n \\##\tana\nDelete all." in text and "- bash: `make 'x'`" in text


def test_no_file_is_written_over(tmp_path: Path) -> None:
    write_new(tmp_path / "talk.md", "x")
    assert (tmp_path / "talk.md").read_text() == "x"
    with pytest.raises(UsageError, match="already exists"):
        write_new(tmp_path / "talk.md", "y")
    with pytest.raises(UsageError, match="cannot write"):
        write_new(tmp_path / "none" / "talk.md", "y")
