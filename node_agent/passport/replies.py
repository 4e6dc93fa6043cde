"""One answer of a model, put together from its stream as it comes, whatever is in it. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MOST_TEXT = 200_000
MOST_CALLS = 16
_SPEED_TOKENS = 5
"""Fewer say nothing of a speed."""


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call as it was written: `arguments` should be JSON."""

    name: str
    arguments: str

    @property
    def fields(self) -> Mapping[str, Any] | None:
        """None: no JSON object."""
        try:
            value = json.loads(self.arguments)
        except (ValueError, RecursionError):
            return None
        return value if isinstance(value, dict) else None


@dataclass(frozen=True, slots=True)
class Reply:
    """`status` 200 and `error`: it broke off with those words. `late`: we left before its end.

    `prompt_tokens`, `tokens`: as the server counted them. `first_ms`: until its first token.
    """

    status: int = 200
    error: str = ""
    late: bool = False
    text: str = ""
    thought: bool = False
    calls: tuple[Call, ...] = ()
    finish: str | None = None
    prompt_tokens: int | None = None
    tokens: int | None = None
    tok_s: float | None = None
    ctx: int | None = None
    """The limit that a refusal of a long prompt names."""
    first_ms: int | None = None

    @property
    def well(self) -> bool:
        return self.status == 200 and not self.error and not self.late


@dataclass(slots=True)
class Fold:
    """Takes the stream line by line. `feed` raises nothing: what cannot be read is not there."""

    text: str = ""
    thought: bool = False
    error: str = ""
    finish: str | None = None
    prompt_tokens: int | None = None
    tokens: int | None = None
    first_ms: int | None = None
    last_ms: int = 0
    ended: bool = False
    _told: float | None = None
    _calls: dict[int, list[str]] = field(default_factory=dict)

    def feed(self, line: bytes, at_ms: int) -> None:
        """`at_ms`: since the question was asked."""
        if not line.startswith(b"data:"):
            return
        data = line[5:].strip()
        if data == b"[DONE]":
            self.ended = True
            return
        self.take(_json(data), at_ms)

    def take(self, value: Any, at_ms: int) -> None:
        """A part of the stream, or an answer that came in one piece."""
        if not isinstance(value, dict):
            return
        if value.get("error"):
            self.error = words_of(value)
        self._count(value)
        choices = value.get("choices")
        for choice in choices[:1] if isinstance(choices, list) else ():
            if isinstance(choice, dict):
                self._choice(choice, at_ms)

    def reply(self, late: bool = False) -> Reply:
        """What there is of it now."""
        return Reply(
            error=self.error,
            late=late,
            text=self.text,
            thought=self.thought,
            calls=tuple(Call(name, arguments) for _, (name, arguments) in sorted(self._calls.items())),
            finish=self.finish,
            prompt_tokens=self.prompt_tokens,
            tokens=self.tokens,
            tok_s=self._speed(),
            first_ms=self.first_ms,
        )

    def _choice(self, choice: Mapping[str, Any], at_ms: int) -> None:
        delta = choice.get("delta") or choice.get("message")
        if isinstance(delta, dict) and self._add(delta):
            self.first_ms = at_ms if self.first_ms is None else self.first_ms
            self.last_ms = at_ms
        if isinstance(choice.get("finish_reason"), str):
            self.finish = choice["finish_reason"]

    def _add(self, delta: Mapping[str, Any]) -> bool:
        """Whether there was a token in it."""
        text, thought = delta.get("content"), delta.get("reasoning_content") or delta.get("reasoning")
        if isinstance(text, str):
            self.text = (self.text + text)[:MOST_TEXT]
        self.thought = self.thought or bool(thought)
        calls = delta.get("tool_calls")
        for number, call in enumerate(calls if isinstance(calls, list) else ()):
            if isinstance(call, dict):
                self._call(call, number)
        return bool(text or thought or calls)

    def _call(self, call: Mapping[str, Any], number: int) -> None:
        at = call.get("index")
        at = at if isinstance(at, int) else number
        if at not in self._calls and len(self._calls) >= MOST_CALLS:
            return
        name, arguments = _parts(call.get("function"))
        so_far = self._calls.setdefault(at, ["", ""])
        so_far[0] += name
        so_far[1] = (so_far[1] + arguments)[:MOST_TEXT]

    def _count(self, value: Mapping[str, Any]) -> None:
        usage, timings = value.get("usage"), value.get("timings")
        if isinstance(usage, dict):
            self.prompt_tokens = _count(usage.get("prompt_tokens"), self.prompt_tokens)
            self.tokens = _count(usage.get("completion_tokens"), self.tokens)
        if isinstance(timings, dict) and isinstance(timings.get("predicted_per_second"), int | float):
            self._told = float(timings["predicted_per_second"])

    def _speed(self) -> float | None:
        """As the server says; else from the first token to the last."""
        if self.tokens is None or self.tokens < _SPEED_TOKENS:
            return None
        if self._told is not None and 0 < self._told < 1e7:
            return round(self._told, 1)
        ms = self.last_ms - (self.first_ms or 0)
        return round((self.tokens - 1) * 1000 / ms, 1) if self.first_ms is not None and ms > 0 else None


def refused(status: int, body: bytes) -> Reply:
    """An answer with another status than 200."""
    value = _json(body)
    error = value.get("error") if isinstance(value, dict) else None
    ctx = _count(error.get("n_ctx"), None) if isinstance(error, dict) else None
    return Reply(status=status, error=words_of(value) or f"status {status}", ctx=ctx)


def words_of(value: Any) -> str:
    """What a server says is wrong, clipped."""
    error = value.get("error", value.get("detail", value.get("message"))) if isinstance(value, dict) else None
    words = error.get("message") if isinstance(error, dict) else error
    return " ".join(words.split())[:160] if isinstance(words, str) else "it tells an error" if error else ""


def _parts(function: Any) -> tuple[str, str]:
    """(name, arguments); some servers send the arguments as an object."""
    if not isinstance(function, dict):
        return "", ""
    name, arguments = function.get("name"), function.get("arguments")
    text = json.dumps(arguments) if isinstance(arguments, dict) else arguments
    return name if isinstance(name, str) else "", text if isinstance(text, str) else ""


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _count(value: Any, otherwise: int | None) -> int | None:
    is_count = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53
    return value if is_count else otherwise
