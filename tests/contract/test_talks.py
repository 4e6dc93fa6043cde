"""The golden streams of conversations: Python's reader and the console's make the same turns of them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import playwright
import pytest

from pancode.conversation.model import (
    HeardMessage,
    Part,
    Said,
    SessionTalk,
    TalkCall,
    TalkNote,
    TalkThought,
    Turn,
)
from pancode.conversation.parts import PartsReader
from tests.contract.transcripts import GOLDEN, cases, output

Json = dict[str, Any]
HERE = Path(__file__).parent
NODE = Path(playwright.__file__).parent / "driver/node"
CUTS = (1, 7, 1 << 20)
STREAMS = {path.stem: json.loads(path.read_text()) for path in sorted((GOLDEN / "talk").glob("*.json"))}


def golden(name: str) -> list[Json]:
    """Its output, attempt by attempt, as bytes."""
    streams = STREAMS[name]["streams"]
    lines = (b"".join(json.dumps(line).encode() + b"\n" for line in one["lines"]) for one in streams)
    return [{**one, "data": data} for one, data in zip(streams, lines, strict=True)]


def recorded(case: str) -> list[Json]:
    return [{"run": "r-1", "attempt": "1.1", "data": output("native", case)}]


def pieces(streams: list[Json], cut: int) -> Iterator[Json]:
    for one in streams:
        for at in range(0, len(one["data"]), cut):
            piece = one["data"][at : at + cut]
            yield {"run": one["run"], "attempt": one["attempt"], "next": at + len(piece), "data": piece}


def turns(streams: list[Json], cut: int) -> list[Json]:
    """As Python reads it. What stands before the first turn of a run is in one without a number."""
    talk, told = SessionTalk(), list[Json]()
    calls: dict[TalkCall, list[Any]] = {}
    for piece in pieces(streams, cut):
        for part in talk.feed(piece["run"], piece["attempt"], piece["data"], "native"):
            match part:
                case HeardMessage(begins=True, turn=Turn(number=number)):
                    head = {"number": number, "by": part.by, "text": part.text, "at": part.at_ms}
                    told.append({"run": part.run, **head, "stop": "", "parts": []})
                    continue
                case TalkNote(kind="over"):
                    continue
            if not told or told[-1]["run"] != talk.run:
                head = {"number": 0, "by": "somebody", "text": "", "at": 0}
                told.append({"run": talk.run, **head, "stop": "", "parts": []})
            _add(told[-1], part, calls)
    return told


def _add(turn: Json, part: Part, calls: dict[TalkCall, list[Any]]) -> None:
    parts = turn["parts"]
    match part:
        case HeardMessage(by=by, text=text):
            parts.append(["words", by, text])
        case Said(text=text) if parts and parts[-1][0] == "text":
            parts[-1][1] += text
        case Said(text=text):
            parts.append(["text", text])
        case TalkThought(text=text):
            parts.append(["thought", text])
        case TalkCall(number=number) if number:
            if part not in calls:
                parts.append(calls.setdefault(part, []))
            calls[part][:] = ["call", part.tool, part.about, part.state, part.why, part.diff or part.answer]
        case TalkNote(kind=kind, text=text):
            kind = "noted" if kind == "asks" else kind
            parts.append(["note", kind, text if kind in ("noted", "compacted") else ""])
        case Turn(stop=stop):
            turn["stop"] = stop
            parts += [["note", "ended", ""]] if part.ending else []


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("cut", CUTS)
def test_a_stream_is_read_as_its_golden_turns_however_it_is_cut(name: str, cut: int) -> None:
    assert turns(golden(name), cut) == STREAMS[name]["turns"]


def test_the_console_reads_the_same_turns() -> None:
    streams = [*map(golden, STREAMS), *map(recorded, cases("native"))]
    asked = [list(_sent(pieces(stream, cut))) for stream in streams for cut in CUTS[1:]]
    done = subprocess.run(
        [NODE, HERE / "talk.mjs"], input=json.dumps(asked), capture_output=True, text=True, check=True
    )
    told = iter(json.loads(done.stdout))
    for stream in streams:
        for cut in CUTS[1:]:
            assert next(told) == turns(stream, cut), stream


def _sent(told: Iterator[Json]) -> Iterator[Json]:
    """As the API sends it."""
    reader = PartsReader()
    for piece in told:
        parts = reader.read(piece["run"], piece["attempt"], piece["data"], "native")
        yield {**piece, "data": None, "parts": parts}
