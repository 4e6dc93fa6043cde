"""How a model server's refusal is read: its words, whether to ask again, and the room that it names."""

from __future__ import annotations

import pytest

from node_agent.chat.dialect import refusal


@pytest.mark.parametrize(
    ("body", "words", "room"),
    [
        (b'{"error": {"message": "exceeds the available context size", "n_ctx": 4096}}', "exceeds the", 4096),
        (b'{"error": "model \\"q\\" not found"}', 'model "q" not found', None),
        (b'{"detail": "no"}', "no", None),
        (b'{"message": "no\\n such"}', "no such", None),
        (b"<html>Bad Request</html>", "status 400", None),
        (b'{"error": {"n_ctx": "many"}}', "it tells an error", None),
    ],
)
def test_a_refusal_in_the_servers_words(body: bytes, words: str, room: int | None) -> None:
    trouble = refusal(400, body)
    assert str(trouble).startswith(words) and (trouble.status, trouble.room) == (400, room)
    assert trouble.too_long is (room is not None) and not trouble.passing


@pytest.mark.parametrize(
    ("status", "passing"), [(401, False), (404, False), (429, True), (500, True), (503, True)]
)
def test_what_may_be_asked_again(status: int, passing: bool) -> None:
    assert refusal(status, b"").passing is passing
