"""Joins one answer of a model from its stream as it arrives, whatever the stream contains. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from node_agent.chat.dialect import json_of, words_of
from node_agent.chat.messages import Answer, Call, Tokens

MOST_CALLS = 256
_FINISHES = {"tool_calls": "tool_call", "function_call": "tool_call"}
_THINKS, _THOUGHT = "<think>", "</think>"
"""Tokens by which a server that knows nothing of thoughts shows where they begin and end."""


@dataclass(slots=True)
class Stream:
    """`error`: the server's words in the middle of its answer; `garbled`: a part of it was no JSON object.

    `thought`: it thinks, of which nothing is kept. `stated_speed`: tokens a second, as the server says.
    `has_grown`: there was a token in the last event.
    """

    error: str = ""
    garbled: bool = False
    thought: bool = False
    finish: str = ""
    model: str = ""
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    tokens: int | None = None
    stated_speed: float | None = None
    has_grown: bool = False
    _text: list[str] = field(default_factory=list)
    _calls: dict[int | str, list[str]] = field(default_factory=dict)
    _is_thinking: bool = False

    @property
    def text(self) -> str:
        return "".join(self._text)

    @property
    def calls(self) -> tuple[Call, ...]:
        """The calls in the order of their start; one without a name is none."""
        return tuple(Call(*parts) for parts in self._calls.values() if parts[1])

    def take(self, data: str) -> str:
        """One event, or an answer that came in one piece; the text in it. Raises nothing."""
        self.has_grown = False
        value = json_of(data)
        if not isinstance(value, dict):
            self.garbled = True
            return ""
        if value.get("error"):
            self.error = words_of(value)
        self.model = value["model"] if isinstance(value.get("model"), str) else self.model
        self._count(value)
        choices = value.get("choices")
        first = choices[0] if isinstance(choices, list) and choices else None
        return self._choice(first) if isinstance(first, dict) else ""

    def answer(self) -> Answer:
        """The answer so far."""
        prompt, cached = self.prompt_tokens or 0, self.cached_tokens or 0
        tokens = Tokens(max(prompt - cached, 0), cached, self.tokens or 0, told=prompt > 0)
        return Answer(self.text, self.calls, self.finish, tokens, self.model)

    def _choice(self, choice: Mapping[str, Any]) -> str:
        delta, finish = choice.get("delta") or choice.get("message"), choice.get("finish_reason")
        if isinstance(finish, str):
            self.finish = self.finish or _FINISHES.get(finish, finish)
        return self._delta(delta) if isinstance(delta, dict) else ""

    def _delta(self, delta: Mapping[str, Any]) -> str:
        content, calls = delta.get("content"), delta.get("tool_calls")
        thought = delta.get("reasoning_content") or delta.get("reasoning")
        if delta.get("refusal"):
            self.finish = "content_filter"
        for number, call in enumerate(calls if isinstance(calls, list) else ()):
            if isinstance(call, dict):
                self._call(call, number)
        text = self._spoken(content) if isinstance(content, str) else ""
        self.thought = self.thought or bool(thought)
        self.has_grown = bool(content or thought or calls)
        return text

    def _spoken(self, content: str) -> str:
        """The text without the thoughts between their marks, each of which is a token by itself."""
        if content == (_THOUGHT if self._is_thinking else _THINKS):
            self._is_thinking = not self._is_thinking
            self.thought = True
            return ""
        if self._is_thinking:
            return ""
        self._text.append(content)
        return content

    def _call(self, call: Mapping[str, Any], number: int) -> None:
        """Servers that name no index send each call whole."""
        at, id_ = call.get("index"), call.get("id")
        given = id_ if isinstance(id_, str) else ""
        key = at if isinstance(at, int) else given or number
        if key not in self._calls and len(self._calls) >= MOST_CALLS:
            return
        name, arguments = _parts(call.get("function"))
        parts = self._calls.setdefault(key, ["", "", ""])
        parts[0] = parts[0] or given
        parts[1] += name
        parts[2] += arguments

    def _count(self, value: Mapping[str, Any]) -> None:
        usage, timings = value.get("usage"), value.get("timings")
        if isinstance(usage, dict):
            details = usage.get("prompt_tokens_details")
            self.prompt_tokens = _number(usage.get("prompt_tokens"), self.prompt_tokens)
            self.tokens = _number(usage.get("completion_tokens"), self.tokens)
            if isinstance(details, dict):
                self.cached_tokens = _number(details.get("cached_tokens"), self.cached_tokens)
        if isinstance(timings, dict) and isinstance(timings.get("predicted_per_second"), int | float):
            self.stated_speed = float(timings["predicted_per_second"])


def _parts(function: Any) -> tuple[str, str]:
    """(name, arguments); some servers send the arguments as an object."""
    if not isinstance(function, dict):
        return "", ""
    name, arguments = function.get("name"), function.get("arguments")
    text = json.dumps(arguments) if isinstance(arguments, dict) else arguments
    return name if isinstance(name, str) else "", text if isinstance(text, str) else ""


def _number(value: Any, otherwise: int | None) -> int | None:
    is_count = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53
    return value if is_count else otherwise
