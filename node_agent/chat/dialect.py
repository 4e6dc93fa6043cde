"""OpenAI's chat API, which every model server supports: builds requests, reads refusals. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, assert_never

from node_agent.chat.messages import Answered, Asked, Call, ToolForm, ToolResults, Turn
from node_agent.wire.endpoint import Sampling

_ROOM = (
    re.compile(r"n_ctx\D{1,4}(\d+)"),
    re.compile(r"context (?:length|window|size)\D{1,40}?(\d{3,})", re.I),
)
"""Where a refusal names the context size; `context length (n_keep: 20233 >= n_ctx: 4096)` has both forms."""
_TOO_LONG = re.compile(
    r"context[ _](?:length|window|size|limit|overflow)"
    r"|(?:prompt|input|request(?: entity)?)(?: is)? too (?:long|large)"
    r"|input\b.{0,60}\bexceeds? the max",
    re.I,
)
"""What servers of every kind name where the prompt does not fit: the context, or the input and its limit."""
_USED_UP = ("insufficient_quota", "billing_hard_limit_reached", "credit balance is too low")
_FIXES = {
    "does not support tools": "; choose a model with tools (`ollama show MODEL` lists its capabilities)",
    "enable-auto-tool-choice": "; start vLLM with --enable-auto-tool-choice and --tool-call-parser NAME",
    "insufficient_quota": "; the quota is used up: add credit at the provider, or use another model",
    "credit balance is too low": "; add credit at the provider, or use another model",
}
"""Words of servers, and what to do."""
MOST_WORDS = 500

Fields = dict[str, Any]


class Trouble(Exception):
    """The model gave no answer. `status`: the HTTP status, if any; `passing`: the request may be repeated.

    `reached`: a server accepted the connection. `too_long`: the prompt did not fit; `room`: the context size
    that the server names. `retry_after`: the seconds that the server asks us to wait. `limit`: the run's
    limit (tokens, usd, requests) at which its model gateway refuses calls; empty: none.
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
        self.is_used_up = False
        """Whether the account's quota is used up, so that waiting does not help."""


@dataclass(frozen=True, slots=True)
class Question:
    """One request to the model. `until_s`: the maximum duration in seconds. `thinks`: the effort, if set."""

    system: str
    turns: Sequence[Turn]
    tools: Sequence[ToolForm]
    max_tokens: int
    until_s: float
    thinks: str = ""


def request_of(question: Question, model: str, sampling: Sampling | None, newest: bool) -> Fields:
    """Return the request's body. `newest`: the server is OpenAI's own; newest models rename the limit."""
    body: Fields = {
        "model": model,
        "messages": [{"role": "system", "content": question.system}, *_make_messages(question.turns)],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_completion_tokens" if newest else "max_tokens": question.max_tokens,
    }
    if question.tools:
        tools = (
            {"name": one.name, "description": one.words, "parameters": one.schema} for one in question.tools
        )
        body |= {"tools": [{"type": "function", "function": one} for one in tools], "tool_choice": "auto"}
    if question.thinks:
        body["reasoning_effort"] = question.thinks
    return body if sampling is None else body | dump_sampling(sampling)


def dump_sampling(sampling: Sampling) -> Fields:
    """Return the settings that are not None, as JSON."""
    given = sampling.model_dump(exclude_none=True)
    return {name: value if name == "top_k" else float(value) for name, value in given.items()}


def _make_messages(turns: Sequence[Turn]) -> list[Fields]:
    out: list[Fields] = []
    for turn in turns:
        match turn:
            case Asked(text) if out and out[-1]["role"] == "user":  # many servers refuse two in a row
                out[-1]["content"] += f"\n\n{text}"
            case Asked(text):
                out.append({"role": "user", "content": text})
            case Answered(text, calls):
                message: Fields = {**turn.extra, "role": "assistant", "content": text or None}
                out.append({**message, "tool_calls": [_call(one) for one in calls]} if calls else message)
            case ToolResults(results):
                out += [{"role": "tool", "tool_call_id": one.id, "content": one.text} for one in results]
            case _:
                assert_never(turn)
    return out


def _call(call: Call) -> Fields:
    function = {"name": call.name, "arguments": call.arguments or "{}"}
    known = {"id": call.id, "type": "function", "function": {**call.extra.get("function", {}), **function}}
    return {**call.extra, **known}


def make_trouble(status: int, body: bytes, retry_after: float | None = None) -> Trouble:
    """Return the Trouble for an answer whose status is not 200."""
    error = json_of(body)
    text = body.decode("utf-8", "replace")
    words = words_of(error, text) or f"status {status}"
    # A quota that is used up does not return by waiting, unlike a rate limit.
    is_used_up = status == 429 and any(mark in text for mark in _USED_UP)
    made = Trouble(
        words + next((fix for mark, fix in _FIXES.items() if mark in text), ""),
        status,
        passing=(status == 429 or status >= 500) and not is_used_up,
    )
    made.retry_after, made.is_used_up = retry_after, is_used_up
    made.limit = _limit_in(error) if status == 403 else ""
    if status in (400, 413, 422) or status >= 500:
        _measure(made, text)
    return made


def _limit_in(reply: Any) -> str:
    """Return the run's limit that our model gateway names in its refusal; empty if it names none."""
    error = reply.get("error") if isinstance(reply, dict) else None
    ours = isinstance(error, dict) and error.get("type") == "pancode_gateway"
    return str(error.get("param") or "") if ours and isinstance(error, dict) else ""


def broken_off(words: str) -> Trouble:
    """Return the Trouble for a stream in which the server reports an error."""
    made = Trouble(words, passing=True)
    _measure(made, words)
    return made


def _measure(trouble: Trouble, text: str) -> None:
    trouble.too_long = _TOO_LONG.search(text) is not None
    rooms = (form.search(text) for form in _ROOM)
    if trouble.too_long and (found := next(filter(None, rooms), None)):
        trouble.room = int(found[1])


def words_of(value: Any, text: str) -> str:
    """Return the error message in a server's answer, truncated, or else the answer's text. `value`: its JSON.

    Forms differ: `{"error": {"message": ...}}`, `{"detail": [{"msg": ...}]}`, a list of either, a text, a
    proxy's page.
    """
    return " ".join((_message_in(value) or _MARKUP.sub(" ", text)).split())[:MOST_WORDS]


def _message_in(value: Any, levels: int = 8) -> str:
    if isinstance(value, str) or not levels:
        return value if isinstance(value, str) else ""
    if isinstance(value, list):
        return "; ".join(filter(None, (_message_in(one, levels - 1) for one in value)))
    given = value if isinstance(value, dict) else {}
    return next(filter(None, (_message_in(given.get(name), levels - 1) for name in _MESSAGES)), "")


_MESSAGES = ("error", "errors", "detail", "message", "msg")
_MARKUP = re.compile(r"(?is)<(script|style|title)\b.*?</\1>|<[^>]*>")


def json_of(data: bytes | str) -> Any:
    """Parse JSON; return None for other data."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None
