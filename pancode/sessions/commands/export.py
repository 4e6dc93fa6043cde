"""Reads the conversation of a session over the API, and writes it to a new file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pancode.interfaces.client.client import Client
from pancode.interfaces.client.session import stored_log
from pancode.kernel.errors import UsageError
from pancode.runs.answers import RUN
from pancode.sessions import transcript
from pancode.sessions.answers import SESSION
from pancode.sessions.transcript import TalkRecord, TalkShape, format_markdown

__all__ = ["fetch_conversation", "format_markdown", "write_new"]


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


def write_new(path: Path, text: str) -> None:
    """Write a new file. UsageError if it already exists or cannot be created."""
    try:
        with open(path, "x", encoding="utf-8", errors="replace") as file:
            file.write(text)
    except FileExistsError as exc:
        raise UsageError(
            f"{path} already exists", fix="choose another file name", code="file_exists"
        ) from exc
    except OSError as exc:
        raise UsageError(f"cannot write {path}", why=str(exc), fix="choose another file") from exc
