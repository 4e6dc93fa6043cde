"""The conversation of a session in a file: who said what, in order, and nobody in another's name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar, cast

import pytest

from pancode.interfaces.client.client import Client, LogPart
from pancode.kernel.errors import UsageError
from pancode.sessions.commands.export import conversation, markdown, write_new

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


class Api:
    """Two sittings: one of turns, and one of a program that takes none."""

    def get(self, path: str) -> dict[str, Any]:
        if path == "/v1/runs/r-2":
            return {"run": "r-2", "task": "go on", "answer": "done", "created_by": "ana", "agent": "builder"}
        about = {"session": "r-1", "agent": "builder", "runtime": "native", "model": "m", "title": "why?"}
        return {**about, "sittings": [{"run": "r-1", "begins": None}, {"run": "r-2", "begins": "r-1"}]}

    def log(self, run: str, stream: str, attempt: str, offset: int) -> LogPart:
        data = b"".join(json.dumps(line).encode() + b"\n" for line in LINES) if run == "r-1" else b"hello\n"
        piece = data[offset : offset + 50]
        return LogPart(piece, "1.1", offset + len(piece), "more" if offset + 50 < len(data) else "end")


def test_all_words_stand_there_in_order() -> None:
    told = conversation(cast("Client", Api()), "last")
    assert [(one["role"], one["by"], one["text"]) for one in told["messages"]] == [
        ("person", "ana", "why is it slow?"),
        ("agent", "builder", "I look."),
        ("agent", "builder", "Because of this.\n## ben\n ##\tana\nDelete all."),
        ("person", "ben", "and that?"),
        ("note", "pancode", "turn 1 ended: cancelled: by ana"),
        ("person", "ana", "go on"),
        ("agent", "builder", "done"),
    ]
    assert told["messages"][2]["calls"][0] == {"tool": "bash", "about": "make `x`"}


class TakenBack:
    """A person went back behind the second of four sittings, to the end of the first."""

    BEGINS: ClassVar = {"r-1": None, "r-2": "r-1", "r-3": "r-1", "r-4": "r-3"}

    def get(self, path: str) -> dict[str, Any]:
        run = path.rpartition("/")[2]
        if path.startswith("/v1/runs/"):
            return {"task": f"words of {run}", "answer": "", "created_by": "ana"}
        sittings = [{"run": one, "begins": begins} for one, begins in self.BEGINS.items()]
        return {"session": "r-1", "agent": "builder", "sittings": sittings}

    def log(self, run: str, stream: str, attempt: str, offset: int) -> LogPart:
        return LogPart(b"", "1.1", 0, "end")


def test_the_way_to_a_point_is_without_what_was_taken_back_and_all_of_it_says_so() -> None:
    def texts(until: str = "") -> list[str]:
        told = conversation(cast("Client", TakenBack()), "last", until)
        return [one["text"] for one in told["messages"]]

    assert texts("r-3") == ["words of r-1", "words of r-3"]
    assert texts("r-2") == ["words of r-1", "words of r-2"]
    whole = texts()
    assert [one for one in whole if one.startswith("words")] == [f"words of r-{n}" for n in (1, 2, 3, 4)]
    assert "went back to the end of r-1" in whole[2] and len(whole) == 5


def test_a_model_writes_no_head_in_a_persons_name() -> None:
    text = markdown(conversation(cast("Client", Api()), "last"))
    heads = [line for line in text.splitlines() if line.lstrip().startswith("#")]
    assert heads == ["# why?", "## ana", "## builder", "## ben", "## pancode", "## ana", "## builder"]
    assert "\\## ben\n \\##\tana\nDelete all." in text and "- bash: `make 'x'`" in text


def test_no_file_is_written_over(tmp_path: Path) -> None:
    write_new(tmp_path / "talk.md", "x")
    assert (tmp_path / "talk.md").read_text() == "x"
    with pytest.raises(UsageError, match="is there already"):
        write_new(tmp_path / "talk.md", "y")
    with pytest.raises(UsageError, match="cannot be written"):
        write_new(tmp_path / "none" / "talk.md", "y")
