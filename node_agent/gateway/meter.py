"""Reads token counts from model servers' answers in five APIs, streamed or not. Pure, bounded memory.
Standard library only, like all modules that the gateway's program imports."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Protocol

LINE_BYTES = 8 << 20
"""The maximum bytes of a stream's line that are read; a longer line is skipped. The longest seen: 300 KB."""
PLAIN_BYTES = 16 << 20
MOST = 2**53 - 1


class Wire(StrEnum):
    """The API of a model call."""

    ANTHROPIC = "anthropic"
    CHAT = "chat"
    RESPONSES = "responses"
    GEMINI = "gemini"
    OLLAMA = "ollama"


@dataclass(frozen=True, slots=True)
class TokenCount:
    """`input`: tokens not read from a cache; `cached`: read from a cache; `written`: written into one;
    `hour`: the part of `written` that is stored there for an hour."""

    input: int = 0
    cached: int = 0
    written: int = 0
    output: int = 0
    hour: int = 0

    def __add__(self, other: TokenCount) -> TokenCount:
        return TokenCount(
            self.input + other.input,
            self.cached + other.cached,
            self.written + other.written,
            self.output + other.output,
            self.hour + other.hour,
        )

    @property
    def total(self) -> int:
        """Return the tokens that count for limits: all but those read from a cache."""
        return self.input + self.written + self.output


@dataclass(frozen=True, slots=True)
class MeterReading:
    """The usage that an answer has reported so far. `whole`: all of it; `model`: the model that answered.
    `terms`: name and value of each text field that may change the price, such as the tier."""

    tokens: TokenCount = TokenCount()
    whole: bool = False
    model: str = ""
    terms: tuple[tuple[str, str], ...] = ()


class Meter(Protocol):
    """Reads an answer's bytes, split anywhere. Never raises. `heard`: the answer had readable data."""

    reading: MeterReading
    heard: bool

    def feed(self, chunk: bytes) -> None:
        """Process the next bytes."""

    def close(self) -> None:
        """Process the end of the answer."""


Reader = Callable[[MeterReading, dict[str, Any]], MeterReading]


class LineMeter:
    """Reads streams of server-sent events (`data: {...}`) or of JSON lines. Most lines are never parsed."""

    def __init__(self, read: Reader, mark: bytes) -> None:
        self.reading, self.heard = MeterReading(), False
        self._read, self._mark = read, mark
        self._rest: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> None:
        first, *others = chunk.split(b"\n")
        self._keep(first)
        for part in others:
            self._take_line()
            self._keep(part)

    def close(self) -> None:
        self._take_line()

    def _keep(self, part: bytes) -> None:
        self._size += len(part)
        if self._size <= LINE_BYTES:
            self._rest.append(part)
        else:
            self._rest.clear()

    def _take_line(self) -> None:
        line, self._rest, self._size = b"".join(self._rest), [], 0
        if self._mark in line or (not self.heard and b"{" in line):
            value = _parse_value(line.removeprefix(b"data:"))
            self.heard = self.heard or value is not None
            self.reading = _read_with(self._read, self.reading, value)


class PlainMeter:
    """Reads one JSON value, or a list of JSON values as Gemini streams them without `alt=sse`."""

    def __init__(self, read: Reader) -> None:
        self.reading, self.heard = MeterReading(), False
        self._read = read
        self._data = bytearray()

    def feed(self, chunk: bytes) -> None:
        if len(self._data) + len(chunk) <= PLAIN_BYTES:
            self._data += chunk
        else:  # truncated data is not JSON, so nothing is read from it
            del self._data[1:]
            self.heard = True

    def close(self) -> None:
        value = _parse_value(bytes(self._data))
        self.heard = self.heard or value is not None
        self.reading = _read_with(self._read, self.reading, value)


def meter_of(wire: Wire, content_type: str) -> Meter:
    """Return the meter for an answer of that type."""
    read, mark = _READERS[wire]
    streamed = any(kind in content_type.lower() for kind in ("event-stream", "ndjson", "jsonl"))
    return LineMeter(read, mark) if streamed else PlainMeter(read)


def _parse_value(data: bytes) -> Any:
    """Parse an object or a list; return None for other data."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError, MemoryError):
        return None
    return value if isinstance(value, dict | list) else None


def _read_with(read: Reader, before: MeterReading, value: Any) -> MeterReading:
    for event in value if isinstance(value, list) else [value]:
        if isinstance(event, dict):
            terms = {**dict(before.terms), **terms_of(event)}
            before = replace(read(before, event), terms=tuple(sorted(terms.items())))
    return before


_USAGES = ("usage", "usageMetadata")
_ASKED = ("service_tier", "serviceTier", "speed", "inference_geo")


def terms_of(values: dict[str, Any]) -> dict[str, str]:
    """Return the fields of a request or an answer that may change its price: tier and texts in its usage."""
    found = dict[str, str]()
    for place in (values, _to_dict(values.get("response")), _to_dict(values.get("message"))):
        words = {name: place.get(name) for name in _ASKED}
        for name in _USAGES:
            words |= _to_dict(place.get(name))
        found |= {name[:40]: one[:40] for name, one in words.items() if isinstance(one, str)}
    return found


def _read_anthropic(before: MeterReading, event: dict[str, Any]) -> MeterReading:
    """Read an event. The first event has the input, the last delta the output, each as the answer's total."""
    message = _to_dict(event.get("message")) if event.get("type") == "message_start" else event
    usage = _to_dict(message.get("usage"))
    if not usage:
        return before
    was = before.tokens
    tokens = TokenCount(
        _read_number(usage, "input_tokens", was.input),
        _read_number(usage, "cache_read_input_tokens", was.cached),
        _read_number(usage, "cache_creation_input_tokens", was.written),
        _read_number(usage, "output_tokens", was.output),
        _read_number(_to_dict(usage.get("cache_creation")), "ephemeral_1h_input_tokens", was.hour),
    )
    whole = before.whole or event.get("type") in ("message_delta", "message")
    return MeterReading(tokens, whole, _read_model(message, "model") or before.model, before.terms)


def _read_chat(before: MeterReading, event: dict[str, Any]) -> MeterReading:
    usage = _to_dict(event.get("usage"))
    model = _read_model(event, "model") or before.model
    if "prompt_tokens" not in usage:
        return replace(before, model=model)
    details = _to_dict(usage.get("prompt_tokens_details"))
    cached = _read_number(details, "cached_tokens")
    fresh = max(_read_number(usage, "prompt_tokens") - cached, 0)
    return MeterReading(TokenCount(fresh, cached, 0, _read_number(usage, "completion_tokens")), True, model)


def _read_responses(before: MeterReading, event: dict[str, Any]) -> MeterReading:
    answer = _to_dict(event.get("response")) or event
    usage = _to_dict(answer.get("usage"))
    if not usage:
        return before
    details = _to_dict(usage.get("input_tokens_details"))
    cached = _read_number(details, "cached_tokens")
    written = _read_number(details, "cache_write_tokens")
    fresh = max(_read_number(usage, "input_tokens") - cached - written, 0)
    tokens = TokenCount(fresh, cached, written, _read_number(usage, "output_tokens"))
    return MeterReading(tokens, True, _read_model(answer, "model") or before.model)


def _read_gemini(before: MeterReading, event: dict[str, Any]) -> MeterReading:
    """Read a piece of the answer: every piece has the totals so far; one with a finish reason is final."""
    usage = _to_dict(event.get("usageMetadata"))
    if not usage:
        return before
    cached = _read_number(usage, "cachedContentTokenCount")
    fresh = max(_read_number(usage, "promptTokenCount") - cached, 0) + _read_number(
        usage, "toolUsePromptTokenCount"
    )
    output = _read_number(usage, "candidatesTokenCount") + _read_number(usage, "thoughtsTokenCount")
    whole = before.whole or _has_finished(event)
    model = _read_model(event, "modelVersion") or before.model
    return MeterReading(TokenCount(fresh, cached, 0, output), whole, model)


def _has_finished(event: dict[str, Any]) -> bool:
    candidates = event.get("candidates")
    each = candidates if isinstance(candidates, list) else []
    blocked = "blockReason" in _to_dict(event.get("promptFeedback"))
    return blocked or any("finishReason" in _to_dict(one) for one in each)


def _read_ollama(before: MeterReading, event: dict[str, Any]) -> MeterReading:
    if event.get("done") is not True:
        return before
    tokens = TokenCount(_read_number(event, "prompt_eval_count"), 0, 0, _read_number(event, "eval_count"))
    return MeterReading(tokens, True, _read_model(event, "model"))


_READERS: dict[Wire, tuple[Reader, bytes]] = {
    Wire.ANTHROPIC: (_read_anthropic, b'"usage"'),
    Wire.CHAT: (_read_chat, b'"usage"'),
    Wire.RESPONSES: (_read_responses, b'"usage"'),
    Wire.GEMINI: (_read_gemini, b'"usageMetadata"'),
    Wire.OLLAMA: (_read_ollama, b'"done"'),
}


def _to_dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _read_number(values: dict[str, Any], name: str, default: int = 0) -> int:
    value = values.get(name)
    good = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST
    return int(value) if good and value is not None else default


def _read_model(values: dict[str, Any], name: str) -> str:
    value = values.get(name)
    return value[:200] if isinstance(value, str) else ""
