"""Reads Qwen Code's JSON stream: its actions, its usage, and whether it finished its work.

It calls it a success when its model server failed, and writes the failure where the answer should be.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from node_agent.runtimes import base
from node_agent.runtimes.lines import answer_of, count_of, dict_of, list_of, text_of, total_of
from node_agent.runtimes.outcome import EventParser, since, without_end
from node_agent.runtimes.qwen.tools import call_of, is_denied
from node_agent.wire.failure import FailureKind, by_status
from node_agent.wire.receipt import Usage

TURNS_SPENT = 53
"""The exit status at a limit of model turns; no result event comes then."""
_API_ERROR = re.compile(r"\[API Error: (?:(?P<status>\d{3})\b)?[^\n]*\]\s*$")
_NO_LOGIN = ("API key", "auth type", "OPENAI_API_KEY")


class QwenParser(EventParser):
    """Reads one attempt's `-o stream-json`. The last `result` event is the terminal one."""

    def __init__(self, request: base.LaunchRequest) -> None:
        super().__init__(request.model)
        self._before = request.resume.before if request.resume else Usage()
        self._live = Usage()
        self._result: dict[str, Any] | None = None

    @property
    def usage(self) -> Usage:
        """The usage from the result event, which includes its side requests; before it, from the messages."""
        if self._result is None:
            return self._live
        return since(self._before, *_split(dict_of(self._result.get("usage"))), self._live.turns)

    def _said(self) -> str:
        return text_of(self._result.get("result")) if self._result else self._answer

    # ---- events
    def _event(self, event: dict[str, Any]) -> Iterator[base.Activity]:
        match event.get("type"):
            case "assistant":
                yield from self._assistant(dict_of(event.get("message")))
            case "user":
                yield from self._user(dict_of(event.get("message")))
            case "system" if event.get("subtype") == "init":
                self._model = text_of(event.get("model")) or self._model
                self._version = text_of(event.get("qwen_code_version")) or None
                yield base.SessionStarted(text_of(event.get("session_id")) or None, self._model)
            case "result":
                self._result = event
                yield base.UsageGrew(self.usage)
            case _:
                return
        self._known = True
        self._session = text_of(event.get("session_id")) or self._session

    def _assistant(self, message: dict[str, Any]) -> Iterator[base.Activity]:
        """One answer of the model may come as several messages; the last message has its numbers."""
        self._result = None
        tokens = dict_of(message.get("usage"))
        if count_of(tokens.get("output_tokens")):
            self._answered = True
            usage = self._live
            fresh, cached, output = _split(tokens)
            self._live = Usage(
                input_tokens=total_of(usage.input_tokens, fresh),
                cached_tokens=total_of(usage.cached_tokens, cached),
                output_tokens=total_of(usage.output_tokens, output),
                turns=usage.turns + 1,
            )
            yield base.UsageGrew(self._live)
        for block in map(dict_of, list_of(message.get("content"))):
            if block.get("type") == "text" and (text := text_of(block.get("text"))):
                self._answer = base.whole(text)
                yield base.TextPiece(text)
            elif block.get("type") == "tool_use":
                call = call_of(text_of(block.get("name"), "?"), dict_of(block.get("input")))
                yield self._begun(block.get("id"), call)

    def _user(self, message: dict[str, Any]) -> Iterator[base.Activity]:
        for block in map(dict_of, list_of(message.get("content"))):
            if block.get("type") != "tool_result":
                continue
            call = self._ended(block.get("tool_use_id"))
            if is_denied(block):
                yield self._denied(call, block.get("content"))
            else:
                yield base.Ran(call, block.get("is_error") is not True, answer_of(block.get("content")))

    # ---- the outcome, in this order and no other
    def _judge(self, end: base.ExitInfo) -> tuple[FailureKind | None, str]:
        if ours := base.ended_for_us(end):
            return ours
        if end.status == TURNS_SPENT:
            return FailureKind.TURN_LIMIT, f"exit {TURNS_SPENT}: its model has answered as often as it may"
        if self._result is None:
            return without_end(end, self._lines, self._known, "a result event")
        if failed := _failed(self._result):
            return failed
        if end.status != 0:
            return FailureKind.AGENT_FAILED, f"{base.how_it_ended(end)} after a result of success"
        if "output_tokens" not in dict_of(self._result.get("usage")):
            return FailureKind.RUNTIME_UNREADABLE, "its result does not report its usage"
        return self._worth(text_of(self._result.get("result")))


def _failed(result: dict[str, Any]) -> tuple[FailureKind, str] | None:
    words = text_of(result.get("result"))
    if found := _API_ERROR.search(words):
        status = found["status"]
        return (by_status(int(status)) if status else FailureKind.MODEL_FAILED), found[0].strip()
    if result.get("is_error") is False and result.get("subtype") == "success":
        return None
    words = text_of(dict_of(result.get("error")).get("message")) or words or "an error without words"
    if any(part in words for part in _NO_LOGIN):
        return FailureKind.MODEL_AUTH, words
    return FailureKind.AGENT_FAILED, words


def _split(tokens: dict[str, Any]) -> tuple[int, int, int]:
    """Return the tokens of input not from the cache, of input from the cache, and of output."""
    cached = count_of(tokens.get("cache_read_input_tokens"))
    fresh = max(count_of(tokens.get("input_tokens")) - cached, 0)
    return fresh, cached, count_of(tokens.get("output_tokens"))
