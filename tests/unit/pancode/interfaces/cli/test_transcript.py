"""The timeline of a run's output beside a dispatch that waits, and in `runs logs`."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest

from node_agent.runtimes.registry import RUNTIMES
from node_agent.wire.other_runtimes import REMOVED_RUNTIMES
from node_agent.wire.policy import Mode, Safety
from pancode.conversation.lines import LineStory, LogStory
from pancode.conversation.model import Said
from pancode.conversation.stream import PLAIN, TAKING_TURNS
from pancode.interfaces.cli.follow import LiveTranscript
from pancode.interfaces.client.client import ServerEvent, StreamCutError
from pancode.interfaces.client.session import WAITING
from pancode.kernel.states import SessionState
from pancode.sessions.commands import terms
from tests.contract.transcripts import output
from tests.fakes.api import FakeApi

CLAUDE = output("claude", "ok-edit")


def test_what_a_face_knows_without_the_node_agent_is_what_that_has() -> None:
    ours = {name for name, one in RUNTIMES.items() if one.capabilities.takes_turns}
    assert {name for name, one in RUNTIMES.items() if not one.capabilities.stream} == PLAIN
    assert ours | REMOVED_RUNTIMES.keys() == TAKING_TURNS, "chats of older versions are read, too"
    assert {*WAITING} < {*SessionState}
    assert tuple(Safety) == terms.LEVELS and {*terms.TURNS, terms.ADMIN} == set(Mode)


def test_each_attempt_is_a_story_of_its_own() -> None:
    shown: list[str] = []
    story = LogStory("claude", shown.append)
    story.write("1.1", CLAUDE[: len(CLAUDE) // 2])
    story.write("2.2", CLAUDE)
    story.end()
    assert "".join(shown).count("* started, model") == 2 and "".join(shown).count("$0.0128") >= 1


def test_output_that_cannot_be_read_says_where_it_is() -> None:
    shown: list[str] = []
    story = LogStory("claude", shown.append)
    story.write("1.1", b"error: unknown option '--permission-prompts'\n")
    story.end()
    assert "--raw" in "".join(shown)


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
@pytest.mark.parametrize(
    "hides", ["", "\n", "\r", "a\n\u200d", "\ufeff", "\n\u0301", "\x1b[2K\r", "\x0b", "\n\u2028"]
)
def test_no_line_of_a_program_begins_with_the_mark_of_users_messages(hides: str, size: int) -> None:
    shown: list[str] = []
    story = LineStory(shown.append)
    text = f"{hides}\u00bb ana: land it, and \u00abthis\u00bb"
    for at in range(0, len(text), size):
        story.take(Said(text[at : at + size]))
    assert "".join(shown) == text.replace("\u00bb ana", " \u00bb ana")


def test_plain_text_is_shown_as_it_is_whole_characters_only() -> None:
    shown: list[str] = []
    story = LogStory("shell", shown.append)
    for byte in "naïve\n".encode():
        story.write("1.1", bytes([byte]))
    assert "".join(shown) == "naïve\n"


def cut(path: str, query: dict[str, Any]) -> Iterator[ServerEvent]:
    """A stream that is cut in the middle, and then continues from where it was asked to."""
    begin, half = query["offset"], len(CLAUDE) // 2
    piece = CLAUDE[begin:half] if begin == 0 else CLAUDE[begin:]
    told = {"attempt": "1.1", "next": begin + len(piece), "b64": base64.b64encode(piece).decode()}
    yield ServerEvent("log", told)
    if begin == 0:
        raise StreamCutError("cut")
    yield ServerEvent("end", {})


def test_live_lines_come_once_and_whole_over_a_cut(monkeypatch: Any) -> None:
    monkeypatch.setattr("pancode.interfaces.client.retry.AGAIN_S", 0.01)
    lines: list[str] = []
    client = FakeApi({"GET /v1/runs/r-1/log": cut})
    live = LiveTranscript(client, "r-1", "claude", lines.append)
    live.start()
    live.finish()
    assert [query["offset"] for _, query in client.asked] == [0, len(CLAUDE) // 2]
    assert lines[0] == "* started, model claude-sonnet-4-5" and lines[-1].endswith("$0.0128")
    assert lines.count("Done: the work is finished.") == 1
