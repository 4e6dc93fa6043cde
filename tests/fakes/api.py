"""The API's client without a coordinator: it answers from a table, and keeps what it was asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Self

import pytest

from pancode.interfaces.cli.output import Face
from pancode.interfaces.client.client import Client, LogPart, ServerEvent, path_of
from pancode.kernel.route import Route, path_in

Json = dict[str, Any]
PIECE = 65_536


def _read(path: str, answer: Any) -> Any:
    return path.read(answer) if isinstance(path, Route) else answer


class FakeApi(Client):
    """Answers by "METHOD /v1/path", in which `*` stands for anything; the first entry that fits counts.

    An answer is a value, an exception that is raised, or a function of the path and of what was sent. Those
    of a list are given one after the other. A request that has none fails the test.
    """

    def __init__(self, answers: Mapping[str, Any]) -> None:
        super().__init__(Path("/nowhere"), starts=False)
        self.answers = dict(answers)
        self.asked: list[tuple[str, Json]] = []
        """Each request: its path, and its query or body."""
        self.posted: list[tuple[str, Json]] = []
        """Those of them that change something."""
        self.keys: list[str] = []
        """The idempotency key of each request that changes something; empty where it has none."""

    def serves(self, monkeypatch: pytest.MonkeyPatch) -> Self:
        """Be the client of every command."""
        monkeypatch.setattr(Face, "client", lambda face, **_: self)
        return self

    def get(self, path: str, **query: object) -> Any:
        return _read(path, self._told("GET", path_in(path), query))

    def post(self, path: str, body: Json | None = None, wait_s: float = 0, key: str = "") -> Any:
        self.keys.append(key)
        return _read(path, self._told("POST", path_in(path), body or {}))

    def post_work(self, path: str, body: Json, told: object, wait_s: float = 0, key: str = "") -> Any:
        return self.post(path, body, key=key)

    def raw(self, path: str, **query: object) -> bytes:
        return bytes(self.get(path, **query))

    def log(self, run: str, stream: str, attempt: str, offset: int) -> LogPart:
        """The answer is the whole log, which comes in pieces, or a function that returns one of them."""
        query: Json = {"stream": stream, "attempt": attempt, "offset": offset}
        told = self.get(path_of("runs", run, "log"), **query)
        if isinstance(told, LogPart):
            return told
        data = bytes(told[offset : offset + PIECE])
        end = offset + len(data)
        return LogPart(data, "1.1", end, "more" if end < len(told) else "end")

    def events(
        self,
        method: str,
        path: str,
        body: Json | None = None,
        query: Mapping[str, object] | None = None,
        wanted: Callable[[], bool] = lambda: True,
    ) -> Iterator[ServerEvent]:
        yield from self._told(method, path, {**(query or {}), **(body or {})})

    def _told(self, method: str, path: str, sent: Json) -> Any:
        self.asked.append((path, sent))
        if method == "POST":
            self.posted.append((path, sent))
        request = f"{method} {path}"
        found = [answer for pattern, answer in self.answers.items() if fnmatchcase(request, pattern)]
        if not found or found[0] == []:
            pytest.fail(f"{request} has no answer")
        answer = found[0].pop(0) if isinstance(found[0], list) else found[0]
        if isinstance(answer, Exception):
            raise answer
        return answer(path, sent) if callable(answer) else answer
