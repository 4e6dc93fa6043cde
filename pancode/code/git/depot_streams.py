"""Answers requests on a log stream: a JSON line asks, bytes may follow, a JSON line answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BufferedRWPair
from typing import Any

from pancode.code.git.grants import Grant
from pancode.code.git.streams import LogStreams, StreamRefused

LINE_MAX = 16 * 1024
Ask = Mapping[str, Any]
Answer = dict[str, Any]


class BadRequest(Exception):
    """The node does not keep to the protocol; the stream ends."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """One granted stream. Requests follow each other until the node closes it.

    log:      {"op":"size","name"} -> {"ok":true,"size"}
              {"op":"append","name","offset","length"} -> {"ok":true,"go":true}, bytes -> {"ok":true,"size"}
              {"op":"digest","name"} -> {"ok":true,"size","sha256"}
    A refusal is {"ok":false,"why","size"?}.
    """

    streams: LogStreams
    grant: Grant
    file: BufferedRWPair

    def serve(self) -> None:
        """Serve until the node closes the stream; BadRequest, TornStream and OSError end it."""
        while (ask := read_line(self.file)) is not None:
            try:
                self._say(self._handler(ask)(ask))
            except StreamRefused as refused:
                self._say({"ok": False, "why": str(refused), "size": refused.size})

    def _handler(self, ask: Ask) -> Callable[[Ask], Answer]:
        match self.grant.verb, ask.get("op"):
            case "log", "size":
                return self._size
            case "log", "append":
                return self._append
            case "log", "digest":
                return self._digest
            case verb, op:
                raise BadRequest(f"{op!r} is no request on a {verb} stream")

    def _size(self, ask: Ask) -> Answer:
        return {"ok": True, "size": self.streams.size(self.grant.identity, _text(ask, "name"))}

    def _digest(self, ask: Ask) -> Answer:
        size, sha256 = self.streams.digest(self.grant.identity, _text(ask, "name"))
        return {"ok": True, "size": size, "sha256": sha256}

    def _append(self, ask: Ask) -> Answer:
        name, offset, length = _text(ask, "name"), _count(ask, "offset"), _count(ask, "length")
        stored = self.streams.size(self.grant.identity, name)
        if offset > stored:
            raise StreamRefused(f"gap: {stored} bytes are stored, {offset} was offered", stored)
        if self.streams.others(self.grant.identity, name) + offset + length > self.grant.max_bytes:
            raise StreamRefused(f"larger than the {self.grant.max_bytes} bytes granted", stored)
        self.streams.must_have_room(offset + length - stored)
        self._say({"ok": True, "go": True})
        size = self.streams.append(self.grant.identity, name, offset, length, self.file.read)
        return {"ok": True, "size": size}

    def _say(self, answer: Answer) -> None:
        write_line(self.file, answer)


def read_line(file: BufferedRWPair) -> Ask | None:
    """One JSON object; None at the end. BadRequest for anything else."""
    line = file.readline(LINE_MAX)
    if not line:
        return None
    try:
        asked = json.loads(line)
    except (ValueError, RecursionError) as exc:
        raise BadRequest("not a line of JSON") from exc
    if not line.endswith(b"\n") or not isinstance(asked, dict):
        raise BadRequest("not one JSON object on one line")
    return asked


def write_line(file: BufferedRWPair, answer: Answer) -> None:
    file.write(json.dumps(answer, separators=(",", ":")).encode() + b"\n")
    file.flush()


def _text(ask: Ask, key: str) -> str:
    value = ask.get(key)
    if not isinstance(value, str):
        raise BadRequest(f"{key} is not a text")
    return value


def _count(ask: Ask, key: str) -> int:
    value = ask.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise BadRequest(f"{key} is not a count")
    return value
