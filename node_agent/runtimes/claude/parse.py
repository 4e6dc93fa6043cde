"""Reads Claude Code's JSON stream: its actions, its usage, and whether Claude Code finished its work."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from node_agent.runtimes.base import (
    Activity,
    ExitInfo,
    LaunchRequest,
    Retrying,
    SessionStarted,
    TextPiece,
    Thought,
    UsageGrew,
    ended_for_us,
    how_it_ended,
    limit_answer,
)
from node_agent.runtimes.claude.tools import call_of, end_of_call, is_denied
from node_agent.runtimes.lines import answer_of, count_of, dict_of, list_of, text_of, total_of, usd_of
from node_agent.runtimes.logins import rejected_until
from node_agent.runtimes.outcome import EventParser, without_end
from node_agent.wire.failure import FailureKind, by_status
from node_agent.wire.receipt import Usage

_BY_SUBTYPE = {"error_max_turns": FailureKind.TURN_LIMIT, "error_max_budget_usd": FailureKind.USD_LIMIT}


class ClaudeParser(EventParser):
    """Reads one attempt's `--output-format stream-json`. The last `result` event is final."""

    def __init__(self, request: LaunchRequest) -> None:
        super().__init__()
        self._answered = True  # the reported usage counts, whatever the outcome
        self._cost_before = (request.resume and request.resume.before.cost_usd) or Decimal(0)
        self._tokens = _LiveTokens()
        self._result: dict[str, Any] | None = None

    @property
    def usage(self) -> Usage:
        """Return the usage from the result event; before it, from the messages so far, which report too
        little output."""
        return self._tokens.usage() if self._result is None else _final_usage(self._result, self._cost_before)

    def _said(self) -> str:
        return text_of(self._result.get("result")) if self._result else self._tokens.last_text

    # ---- events
    def _event(self, event: dict[str, Any]) -> Iterator[Activity]:
        self._session = text_of(event.get("session_id")) or self._session
        match event.get("type"):
            case "system":
                yield from self._read_system(event)
            case "assistant":
                yield from self._read_assistant(dict_of(event.get("message")))
            case "user":
                yield from self._read_user(event)
            case "rate_limit_event":
                self._resets = rejected_until(dict_of(event.get("rate_limit_info")))
            case "result":
                self._result = event
                yield UsageGrew(self.usage)

    def _read_system(self, event: dict[str, Any]) -> Iterator[Activity]:
        if event.get("subtype") == "init":
            self._model = text_of(event.get("model")) or self._model
            self._version = text_of(event.get("claude_code_version")) or self._version
            yield SessionStarted(self._session, self._model)
        elif event.get("subtype") == "api_retry":
            status = count_of(event.get("error_status")) or None
            yield Retrying(status, text_of(event.get("error"), "unknown"))

    def _read_assistant(self, message: dict[str, Any]) -> Iterator[Activity]:
        if self._tokens.message(message):
            yield UsageGrew(self.usage)
        for block in map(dict_of, list_of(message.get("content"))):
            text = text_of(block.get(kind := text_of(block.get("type"))))
            if kind == "text" and text:
                self._tokens.last_text = limit_answer(text)
                yield TextPiece(text)
            elif kind == "thinking" and text:
                yield Thought(text)
            elif kind == "tool_use":
                call = call_of(text_of(block.get("name"), "?"), dict_of(block.get("input")))
                yield self._begin_call(block.get("id"), call)

    def _read_user(self, event: dict[str, Any]) -> Iterator[Activity]:
        meta = {text_of(m.get("id")): m for m in map(dict_of, list_of(event.get("tool_result_meta")))}
        for block in map(dict_of, list_of(dict_of(event.get("message")).get("content"))):
            if block.get("type") != "tool_result":
                continue
            number = text_of(block.get("tool_use_id"))
            call = self._end_known_call(number)
            if is_denied(block, meta.get(number, {})):
                yield self._note_denial(call, block.get("content"))
            else:
                yield end_of_call(call, answer_of(block.get("content")), block.get("is_error") is not True)

    # ---- the outcome: the order of these checks matters
    def _judge(self, end: ExitInfo) -> tuple[FailureKind | None, str]:
        if ours := ended_for_us(end):
            return ours
        if self._result is None:
            known = self._lines.unreadable != self._lines.lines
            return without_end(end, self._lines, known, "a result event")
        if failed := _find_failure(self._result):
            return failed
        if end.status != 0:
            return FailureKind.AGENT_FAILED, f"{how_it_ended(end)} after a successful result"
        return self._judge_answer(text_of(self._result.get("result")))


def _find_failure(result: dict[str, Any]) -> tuple[FailureKind, str] | None:
    """Return the failure in a result event; None without one. `subtype` is "success" even after a refusal."""
    subtype = text_of(result.get("subtype"))
    if kind := _BY_SUBTYPE.get(subtype):
        return kind, _read_error(result) or subtype
    if result.get("is_error") is not True and subtype == "success":
        return None
    status = count_of(result.get("api_error_status"))
    words = _read_error(result) or subtype or "an error without a message"
    return by_status(status) if status else _kind_of(result, words), words


def _kind_of(result: dict[str, Any], words: str) -> FailureKind:
    if words.startswith(("Not logged in", "Invalid API key")):
        return FailureKind.MODEL_AUTH
    if result.get("stop_reason") != "refusal" and result.get("terminal_reason") == "api_error":
        return FailureKind.MODEL_FAILED
    return FailureKind.AGENT_FAILED


def _read_error(result: dict[str, Any]) -> str:
    return text_of(result.get("result")) or "; ".join(map(text_of, list_of(result.get("errors"))))


def _count_uncached(tokens: dict[str, Any]) -> int:
    return count_of(tokens.get("input_tokens")) + count_of(tokens.get("cache_creation_input_tokens"))


def _final_usage(result: dict[str, Any], cost_before: Decimal) -> Usage:
    """Return the run's usage: `usage` is that of this run, but `total_cost_usd` is that of the session."""
    tokens = dict_of(result.get("usage"))
    cost = usd_of(result.get("total_cost_usd"))
    return Usage(
        input_tokens=_count_uncached(tokens),
        cached_tokens=count_of(tokens.get("cache_read_input_tokens")),
        output_tokens=count_of(tokens.get("output_tokens")),
        cost_usd=None if cost is None else max(cost - cost_before, Decimal(0)),
        cost_source="unknown" if cost is None else "reported",
        turns=count_of(result.get("num_turns")),
    )


class _LiveTokens:
    """The sum of the messages so far. One message comes as several events with the same id and numbers."""

    def __init__(self) -> None:
        self.input = self.cached = self.output = self.turns = 0
        self.last_text = ""
        self._last_id = ""

    def message(self, message: dict[str, Any]) -> bool:
        """Count one message; return whether it is new."""
        number, tokens = text_of(message.get("id")), dict_of(message.get("usage"))
        if number == self._last_id or message.get("model") == "<synthetic>":
            return False
        self._last_id = number
        self.input = total_of(self.input, _count_uncached(tokens))
        self.cached = total_of(self.cached, count_of(tokens.get("cache_read_input_tokens")))
        self.output = total_of(self.output, count_of(tokens.get("output_tokens")))
        self.turns += 1
        return True

    def usage(self) -> Usage:
        return Usage(
            input_tokens=self.input, cached_tokens=self.cached, output_tokens=self.output, turns=self.turns
        )
