"""OpenAI's chat dialect, which every model server speaks: requests, and how a refusal is read. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, assert_never

from node_agent.chat.messages import Answer, Answered, Asked, Call, Tokens, ToolForm, ToolResults, Turn
from node_agent.wire.endpoint import Sampling

_ROOM = re.compile(r"n_ctx\D{1,4}(\d+)|context (?:length|window|size)\D{1,40}?(\d{3,})", re.IGNORECASE)
_TOO_LONG = ("exceed_context_size", "context_length_exceeded", "maximum context length", "context size")
MOST_WORDS = 500

Fields = dict[str, Any]


class Trouble(Exception):
    """There is no answer. `status`: HTTP, if there was one; `passing`: the question may be asked again.

    `reached`: a server took the connection. `too_long`: the prompt did not fit; `room` is the size that the
    server names. `retry_after`: the seconds that it asks us to wait. `limit`: the run's limit (tokens, usd,
    requests) at which its model gateway refuses calls; empty: none.
    """

    def __init__(
        self, why: str, status: int | None = None, *, passing: bool = False, reached: bool = True
    ) -> None:
        super().__init__(why)
        self.status, self.passing, self.reached = status, passing, reached
        self.retry_after: float | None = None
        self.too_long = False
        self.room: int | None = None
        self.limit = ""


@dataclass(frozen=True, slots=True)
class Question:
    """One call of the model. `until_s`: the most seconds it may take. `thinks`: the effort, if set."""

    system: str
    turns: Sequence[Turn]
    tools: Sequence[ToolForm]
    max_tokens: int
    until_s: float
    thinks: str = ""


def request_of(question: Question, model: str, sampling: Sampling | None, newest: bool) -> Fields:
    """The body. `newest`: the server is OpenAI's own, whose newest models have another name for the limit."""
    body: Fields = {
        "model": model,
        "messages": [{"role": "system", "content": question.system}, *_messages(question.turns)],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_completion_tokens" if newest else "max_tokens": question.max_tokens,
    }
    if question.tools:
        body |= {"tools": [_tool(one) for one in question.tools], "tool_choice": "auto"}
    if question.thinks:
        body["reasoning_effort"] = question.thinks
    return body if sampling is None else body | sampled(sampling)


def sampled(sampling: Sampling) -> Fields:
    """The settings that are not None, as JSON."""
    given = sampling.model_dump(exclude_none=True)
    return {name: value if name == "top_k" else float(value) for name, value in given.items()}


def _tool(form: ToolForm) -> Fields:
    function = {"name": form.name, "description": form.words, "parameters": form.schema}
    return {"type": "function", "function": function}


def _messages(turns: Sequence[Turn]) -> list[Fields]:
    out: list[Fields] = []
    for turn in turns:
        match turn:
            case Asked(text):
                out.append({"role": "user", "content": text})
            case Answered(text, calls):
                message: Fields = {"role": "assistant", "content": text or None}
                out.append({**message, "tool_calls": [_call(one) for one in calls]} if calls else message)
            case ToolResults(results):
                out += [{"role": "tool", "tool_call_id": one.id, "content": one.text} for one in results]
            case _:
                assert_never(turn)
    return out


def _call(call: Call) -> Fields:
    function = {"name": call.name, "arguments": call.arguments or "{}"}
    return {"id": call.id, "type": "function", "function": function}


def refusal(status: int, body: bytes, retry_after: float | None = None) -> Trouble:
    """Return the Trouble for an answer with another status than 200."""
    told = json_of(body)
    made = Trouble(words_of(told) or f"status {status}", status, passing=status == 429 or status >= 500)
    made.retry_after = retry_after
    made.limit = _limit_in(told) if status == 403 else ""
    if status in (400, 413):
        _measure(made, body.decode("utf-8", "replace"))
    return made


def _limit_in(told: Any) -> str:
    """The run's own limit, in a refusal of our model gateway."""
    error = told.get("error") if isinstance(told, dict) else None
    ours = isinstance(error, dict) and error.get("type") == "pancode_gateway"
    return str(error.get("param") or "") if ours and isinstance(error, dict) else ""


def broken_off(words: str) -> Trouble:
    """Return the Trouble for a stream in which the server reports an error."""
    made = Trouble(words, passing=True)
    _measure(made, words)
    return made


def _measure(trouble: Trouble, text: str) -> None:
    trouble.too_long = any(mark in text for mark in _TOO_LONG)
    if trouble.too_long and (found := _ROOM.search(text)):
        trouble.room = int(found[1] or found[2])


def words_of(value: Any) -> str:
    """The error message of a server, clipped; empty where it has none."""
    if not isinstance(value, dict):
        return ""
    error = value.get("error", value.get("detail", value.get("message")))
    words = error.get("message") if isinstance(error, dict) else error
    if isinstance(words, str):
        return " ".join(words.split())[:MOST_WORDS]
    return "it tells an error" if error else ""


def json_of(data: bytes | str) -> Any:
    """Parse JSON; None for other data."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


MOST_CALLS = 256
_FINISHES = {"tool_calls": "tool_call", "function_call": "tool_call"}
_THINKS, _THOUGHT = "<think>", "</think>"
"""The tokens that mark the begin and the end of thoughts, from a server that does not separate them."""


@dataclass(slots=True)
class Stream:
    """An answer as it comes. `error`: the server's words in the middle of it; `garbled`: a part was no JSON
    object.

    `thought`: the model thinks; its thoughts are not kept. `stated_speed`: tokens per second, as the server
    says. `has_grown`: there was a token in the last event.
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
        """Return the calls in the order of their start; one without a name does not count."""
        return tuple(Call(*parts) for parts in self._calls.values() if parts[1])

    def take(self, data: str) -> str:
        """Take one event, or an answer in one piece; return the text in it. Raises nothing."""
        self.has_grown = False
        value = json_of(data)
        if not isinstance(value, dict):
            self.garbled = True
            return ""
        if value.get("error"):
            self.error = words_of(value)
        self.model = value["model"] if isinstance(value.get("model"), str) else self.model
        usage, timings = value.get("usage"), value.get("timings")
        if isinstance(usage, dict):
            details = usage.get("prompt_tokens_details")
            self.prompt_tokens = _number(usage.get("prompt_tokens"), self.prompt_tokens)
            self.tokens = _number(usage.get("completion_tokens"), self.tokens)
            if isinstance(details, dict):
                self.cached_tokens = _number(details.get("cached_tokens"), self.cached_tokens)
        if isinstance(timings, dict) and isinstance(timings.get("predicted_per_second"), int | float):
            self.stated_speed = float(timings["predicted_per_second"])
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
        """Take a part of a call. Servers that name no index send each call whole."""
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
