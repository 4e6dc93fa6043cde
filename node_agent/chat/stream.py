"""A model server's answer, which arrives in pieces. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from node_agent.chat.dialect import json_of, words_of
from node_agent.chat.messages import Answer, Call, Extra, Tokens

DONE = "[DONE]"
"""The event that ends a stream."""
MOST_CALLS = 256
MOST_LEVELS = 32
"""The maximum nesting of a value that is stored to be sent back to the server."""
_FINISHES = {"tool_calls": "tool_call", "function_call": "tool_call"}
_THINKS, _THOUGHT = "<think>", "</think>"
"""The marks around thoughts, for servers that do not separate them from the text."""
_MESSAGE = ("role", "content", "tool_calls", "refusal", "function_call")
_CALL, _FUNCTION = ("index", "id", "type", "function"), ("name", "arguments")
_LABELS = ("index", "id", "type", "format", "role", "name", "object")
"""Keys whose whole text comes in each piece; the text of other keys is continued by the next piece."""


@dataclass(slots=True)
class Stream:
    """An answer as it arrives. `error`: the server's error within it; `garbled`: a part was not a JSON
    object.

    `thought`: whether the model thinks; `text` has no thoughts. `thinking`: the thought in the last event.
    `has_grown`: whether the last event had a token.
    """

    error: str = ""
    garbled: bool = False
    thought: bool = False
    thinking: str = ""
    finish: str = ""
    """The reason why the answer ended, according to the server; empty: not reported."""
    is_done: bool = False
    """Whether the server has reported the end of the stream."""
    model: str = ""
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    tokens: int | None = None
    has_grown: bool = False
    _text: list[str] = field(default_factory=list)
    _marked: _Marked = field(default_factory=lambda: _Marked())
    _calls: list[_OpenCall] = field(default_factory=list)
    _by_key: dict[int | str, _OpenCall] = field(default_factory=dict)
    _extra: list[Extra] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(self._text)

    @property
    def calls(self) -> tuple[Call, ...]:
        """Return the calls in the order of their start, without calls that have no name."""
        named = (one for one in self._calls if one.name)
        return tuple(
            Call(one.id, one.name, "".join(one.arguments), _select_sendable(one.extra)) for one in named
        )

    def take(self, data: str) -> str:
        """Process one event, or a whole answer in one piece; return the text in it. Raises nothing."""
        self.has_grown, self.thinking = False, ""
        if data.startswith(DONE):
            self.is_done = True
            return ""
        value = json_of(data)
        if not isinstance(value, dict):
            self.garbled = True
            return ""
        if value.get("error"):
            self.error = words_of(value, data)
        self.model = value["model"] if isinstance(value.get("model"), str) else self.model
        usage = value.get("usage")
        if isinstance(usage, dict):
            details = usage.get("prompt_tokens_details")
            self.prompt_tokens = _read_number(usage.get("prompt_tokens"), self.prompt_tokens)
            self.tokens = _read_number(usage.get("completion_tokens"), self.tokens)
            if isinstance(details, dict):
                self.cached_tokens = _read_number(details.get("cached_tokens"), self.cached_tokens)
        choices = value.get("choices")
        first = choices[0] if isinstance(choices, list) and choices else None
        return self._take_choice(first) if isinstance(first, dict) else ""

    @property
    def is_whole(self) -> bool:
        """Whether the answer is certainly complete. For servers that never report why an answer ended, the
        end of the stream or complete call arguments suffice."""
        calls = self.calls
        are_whole = bool(calls) and all(isinstance(json_of(one.arguments), dict) for one in calls)
        has_ended = bool(self.finish) or are_whole or (self.is_done and bool(self.text))
        return has_ended and not self.garbled

    def answer(self) -> Answer:
        """Return the answer so far."""
        prompt, cached = self.prompt_tokens or 0, self.cached_tokens or 0
        tokens = Tokens(max(prompt - cached, 0), cached, self.tokens or 0, reported=prompt > 0)
        finish = self.finish or ("tool_call" if self.calls else "stop")
        return Answer(self.text, self.calls, finish, tokens, self.model, _select_sendable(self._extra))

    def _take_choice(self, choice: Mapping[str, Any]) -> str:
        finish = choice.get("finish_reason")
        delta = choice.get("delta")
        if not delta and not self._text and not self._calls:  # the end may repeat the whole message
            delta = choice.get("message")
        text = self._take_delta(delta) if isinstance(delta, dict) else ""
        if isinstance(finish, str):
            self.finish = self.finish or _FINISHES.get(finish, finish)
            text += self._marked.rest()
        self._text.append(text)
        return text

    def _take_delta(self, delta: Mapping[str, Any]) -> str:
        content, calls = delta.get("content"), delta.get("tool_calls")
        if isinstance(content, list):  # the content is a list of parts, some of which are thoughts
            parts = [one for one in content if isinstance(one, dict)]
            self.thought = self.thought or any(one.get("type") in ("thinking", "reasoning") for one in parts)
            content = "".join(str(one.get("text")) for one in parts if one.get("type") == "text")
            self.thinking = "".join(one["thinking"] for one in parts if isinstance(one.get("thinking"), str))
        thought = delta.get("reasoning_content") or delta.get("reasoning")
        if delta.get("refusal"):
            self.finish = "content_filter"
        for call in calls if isinstance(calls, list) else ():
            if isinstance(call, dict):
                self._call(call)
        if extra := {key: value for key, value in delta.items() if key not in _MESSAGE}:
            self._extra.append(extra)
        content = content if isinstance(content, str) else ""
        text = self._marked.text(content)
        self.thinking += thought if isinstance(thought, str) else content * self._marked.is_thinking
        self.thought = self.thought or bool(thought) or self._marked.is_thought
        self.has_grown = bool(content or thought or calls)
        return text

    def _call(self, call: Mapping[str, Any]) -> None:
        """Add a piece of a tool call to the answer."""
        function: dict[str, Any] = call["function"] if isinstance(call.get("function"), dict) else {}
        name, arguments = function.get("name"), function.get("arguments")
        name = name if isinstance(name, str) else ""
        given = call["id"] if isinstance(call.get("id"), str) else ""
        found = self._open(call.get("index"), given, name)
        if found is None:
            return
        found.id = found.id or given
        if name != found.name:  # an equal text repeats the earlier piece
            found.name += name
        # some servers send an object
        text = json.dumps(arguments) if isinstance(arguments, dict) else arguments
        if isinstance(text, str) and not (text.startswith("{") and text == "".join(found.arguments)):
            found.arguments.append(text)  # an equal text at the end repeats the earlier pieces
        inner = {key: value for key, value in function.items() if key not in _FUNCTION}
        extra = {key: value for key, value in call.items() if key not in _CALL}
        found.extra.append({**extra, "function": inner} if inner else extra)

    def _open(self, index: object, id_: str, name: str) -> _OpenCall | None:
        """Return the call that a piece belongs to; None if there are too many calls.

        Some servers send no index; they send each call whole, or the pieces of one call after another. Some
        send index 0 for all calls of an answer; then each call begins with an identifier and a name.
        """
        digits = isinstance(index, str) and index.isdecimal() and len(index) < 10
        key = int(str(index)) if digits else index if isinstance(index, int) else id_
        found = self._by_key.get(key)
        if key == "" and self._calls and not name:
            found = self._calls[-1]
        if found is None or (id_ and name and found.id not in ("", id_)):
            if len(self._calls) >= MOST_CALLS:
                return None
            found = _OpenCall()
            self._calls.append(found)
            if key != "":
                self._by_key[key] = found
        return found


@dataclass(slots=True)
class _OpenCall:
    """A tool call as it arrives."""

    id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list)
    extra: list[Extra] = field(default_factory=list)


@dataclass(slots=True)
class _Marked:
    """Removes the thoughts between two marks. They may begin at the start of the text, in pieces of any size;
    later only if the first mark is a piece by itself, because a text may be about such a mark."""

    is_thinking: bool = False
    is_thought: bool = False
    _has_begun: bool = False
    _held: str = ""

    def text(self, piece: str) -> str:
        """Return the text of this piece, after any text that was held back before."""
        if self._has_begun and not self.is_thinking:
            if piece != _THINKS:
                return piece
            self.is_thinking = self.is_thought = True
            return ""
        self._held += piece
        if not self.is_thinking:
            start = self._held.lstrip()
            if start.startswith(_THINKS):
                self.is_thinking = self.is_thought = True
                self._held = start.removeprefix(_THINKS)
            elif _THINKS.startswith(start):
                return ""
            else:
                self._has_begun = True
                return self.rest()
        _, mark, after = self._held.partition(_THOUGHT)
        if not mark:
            self._held = self._held[1 - len(_THOUGHT) :]
            return ""
        self.is_thinking, self._held = False, ""
        return self.text(after) if after else ""

    def rest(self) -> str:
        """Return the text that is still held back at the end of an answer, without the model's thoughts."""
        held, self._held = self._held, ""
        return "" if self.is_thinking else held.lstrip() if self.is_thought else held


def _select_sendable(pieces: Iterable[Extra]) -> Extra:
    """Return the keys of all pieces that can be sent back to the server, without null values."""
    flat = ({key: one for key, one in piece.items() if _is_flat(one)} for piece in pieces)
    whole = {key: value for key, value in _merge(flat).items() if value is not None}
    try:
        json.dumps(whole, allow_nan=False, ensure_ascii=False).encode()
    except ValueError:  # such as 1e999 or half of a surrogate pair
        return {}
    return whole


def _merge(pieces: Iterable[Mapping[str, Any]]) -> Extra:
    """Merge the objects into one, joining the values of each key."""
    values: dict[str, list[Any]] = {}
    for piece in pieces:
        for key, value in piece.items():
            values.setdefault(key, []).append(value)
    return {key: _join(found, key in _LABELS) for key, found in values.items()}


def _join(pieces: list[Any], is_label: bool = False) -> Any:
    """Join the pieces of one value: concatenate texts, lists and objects; otherwise use the last piece."""
    given = [one for one in pieces if one is not None]
    if len(given) < 2 or is_label:
        return given[-1] if given else None
    if all(isinstance(one, str) for one in given):
        return "".join(given)
    if all(isinstance(one, dict) for one in given):
        return _merge(given)
    if not all(isinstance(one, list) for one in given):
        return given[-1]
    groups: dict[object, list[Any]] = {}
    for number, item in enumerate(item for one in given for item in one):
        at = item.get("index") if isinstance(item, dict) else None
        groups.setdefault(number if at is None else ("index", str(at)), []).append(item)
    return [_join(group) for group in groups.values()]


def _is_flat(value: Any, levels: int = MOST_LEVELS) -> bool:
    """Whether the value is nested at most so many levels deep, because other code walks it recursively."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels > 0 and all(_is_flat(one, levels - 1) for one in inner)


def _read_number(value: Any, otherwise: int | None) -> int | None:
    is_count = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53
    return value if is_count else otherwise
