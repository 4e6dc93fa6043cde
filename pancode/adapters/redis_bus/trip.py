"""Round trips of a few commands each, over connections that the library makes and we keep.

A client's own way of asking looks up its pool, its metrics and its retries for each command: four fifths of
what a round of the coordinator spent on Redis.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from hashlib import sha1
from typing import Any

import hiredis
import redis
from redis import exceptions as raised


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script by its digest; a server that does not know it is sent the text."""

    text: str
    digest: str

    def call(self, *args: str | bytes | int | float) -> Call:
        return Call(self, args)


@dataclass(frozen=True, slots=True)
class Call:
    """A script with its arguments."""

    script: Script
    args: tuple[str | bytes | int | float, ...]

    def by_digest(self) -> Words:
        return "EVALSHA", self.script.digest, 0, *self.args

    def by_text(self) -> Words:
        return "EVAL", self.script.text, 0, *self.args


Words = tuple[str | bytes | int | float, ...]
Command = Words | Call


def script(text: str) -> Script:
    return Script(text, sha1(text.encode(), usedforsecurity=False).hexdigest())


class Trips:
    """Thread-safe. Nothing is sent twice but a script that the server did not know, which did nothing."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._idle: list[Any] = []

    def ask(self, *commands: Command) -> list[Any]:
        """All sent at once; their answers. The first refusal is raised, when all are read."""
        link = self._take()
        try:
            answers = _asked(link, [c.by_digest() if isinstance(c, Call) else c for c in commands])
            for place, answer in enumerate(answers):
                command = commands[place]
                if isinstance(answer, raised.NoScriptError) and isinstance(command, Call):
                    answers[place] = _asked(link, [command.by_text()])[0]
        except BaseException:
            link.disconnect()  # whatever is still to come on it is nobody's answer
            raise
        with self._lock:
            self._idle.append(link)
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return answers

    def close(self) -> None:
        """Those that are used now stay. They come back when used again."""
        with self._lock:
            idle, self._idle = self._idle, []
        for link in idle:
            link.disconnect()

    def _take(self) -> Any:
        """One on which something waits, or that was ended meanwhile, is opened anew."""
        with self._lock:
            link = self._idle.pop() if self._idle else None
        if link is None:
            pool = self._client.connection_pool
            link = pool.connection_class(**pool.connection_kwargs)
        link.connect()
        try:
            fit = not link.can_read()
        except (raised.ConnectionError, raised.TimeoutError, OSError):
            fit = False
        if not fit:
            link.disconnect()
            link.connect()
        return link


def _asked(link: Any, commands: list[Words]) -> list[Any]:
    """Their answers, refusals among them."""
    packed: list[bytes] = [hiredis.pack_command(words) for words in commands]  # type: ignore[arg-type]
    link.send_packed_command([b"".join(packed)], check_health=False)
    return [_answer(link) for _ in commands]


def _answer(link: Any) -> Any:
    try:
        return link.read_response()
    except raised.ResponseError as refusal:
        return refusal
