"""How long the coordinator rests between two rounds."""

from __future__ import annotations

import pytest

from pancode.app.server.coordinator_thread import BUSY_MS, GATHER_MS, LISTEN_MS, pause_ms


@pytest.mark.parametrize(
    ("heard", "listened_ms", "ended_ms", "due"),
    [
        (True, 0, 0, GATHER_MS),
        (True, 0, BUSY_MS, 0),
        (False, LISTEN_MS, LISTEN_MS, 0),
        (False, 0, 0, LISTEN_MS),
        (False, LISTEN_MS - 5, LISTEN_MS, 5),
    ],
    ids=["a crowd", "a word after a pause", "silence", "nobody to listen to", "nearly the whole time"],
)
def test_a_round_follows_a_word_or_a_wait(heard: bool, listened_ms: int, ended_ms: int, due: int) -> None:
    assert pause_ms(heard, listened_ms, LISTEN_MS, ended_ms) == due
