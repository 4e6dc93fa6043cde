"""OpenAI's chat dialect, which every model server speaks: requests, and how a refusal is read. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, assert_never

from node_agent.chat.messages import Answered, Asked, Call, ToolForm, ToolResults, Turn
from node_agent.wire.endpoint import Sampling

_ROOM = re.compile(r"n_ctx\D{1,4}(\d+)|context (?:length|window|size)\D{1,40}?(\d{3,})", re.IGNORECASE)
_TOO_LONG = ("exceed_context_size", "context_length_exceeded", "maximum context length", "context size")
MOST_WORDS = 500

Fields = dict[str, Any]


class Trouble(Exception):
    """There is no answer. `status`: HTTP, if there was one; `passing`: it may be asked again.

    `reached`: a server took the connection. `too_long`: the prompt did not fit, and `room` is what the server
    says that it has. `retry_after`: in seconds, as it asked for.
    """

    def __init__(
        self, why: str, status: int | None = None, *, passing: bool = False, reached: bool = True
    ) -> None:
        super().__init__(why)
        self.status, self.passing, self.reached = status, passing, reached
        self.retry_after: float | None = None
        self.too_long = False
        self.room: int | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """One call of the model. `until_s`: the most that it may take in all. `thinks`: how hard, if said."""

    system: str
    turns: Sequence[Turn]
    tools: Sequence[ToolForm]
    max_tokens: int
    until_s: float
    thinks: str = ""


def request_of(question: Question, model: str, sampling: Sampling | None, newest: bool) -> Fields:
    """The body. `newest`: the vendor OpenAI itself, whose newest models have another name for the limit."""
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
    """An answer with another status than 200."""
    words = words_of(json_of(body)) or f"status {status}"
    made = Trouble(words, status, passing=status == 429 or status >= 500)
    made.retry_after = retry_after
    if status in (400, 413):
        _measure(made, body.decode("utf-8", "replace"))
    return made


def broken_off(words: str) -> Trouble:
    """A stream in which the server says that something is wrong."""
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
    """None for what is none."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None
