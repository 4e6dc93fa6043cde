"""Reads the conversation of a session over the API."""

from __future__ import annotations

from collections.abc import Iterator

from pancode.conversation import transcript
from pancode.conversation.answers import SESSION
from pancode.conversation.transcript import TalkRecord, TalkShape, format_markdown
from pancode.interfaces.client.client import Client
from pancode.interfaces.client.session import stored_log
from pancode.runs.answers import RUN

__all__ = ["fetch_conversation", "format_markdown"]


def fetch_conversation(client: Client, session: str) -> TalkShape:
    """Return the session and its messages in order: who wrote what when, and what the agent did."""
    shape = client.get(SESSION.at(session))
    return transcript.build_conversation(shape, _ApiTalk(client), shape["interactive_runs"])


class _ApiTalk:
    """The runs of a session as the API returns them; a `TalkSource`."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def output(self, run: str) -> Iterator[tuple[str, bytes]]:
        for piece in stored_log(self._client, run, "out"):
            yield piece.attempt, piece.data

    def words(self, run: str) -> None:
        return None

    def record(self, run: str) -> TalkRecord:
        found = self._client.get(RUN.at(run))
        return TalkRecord(found["created_by"], found["task"], found["agent"], found["answer"])
