"""Reads OpenCode's JSON stream: its actions, its usage, and whether it finished its work. There is no final
event: a run has finished if its last step finished with the reason "stop"."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from node_agent.runtimes import base
from node_agent.runtimes.lines import answer_of, count_of, dict_of, exit_of, text_of, total_of, usd_of
from node_agent.runtimes.opencode.tools import DENIED, call_of
from node_agent.runtimes.outcome import EventParser, without_end
from node_agent.wire.failure import FailureKind, by_status
from node_agent.wire.receipt import Usage

_BY_NAME = {
    "ProviderAuthError": FailureKind.MODEL_AUTH,
    "ContentFilterError": FailureKind.AGENT_FAILED,
    "ContextOverflowError": FailureKind.AGENT_FAILED,
    "MessageOutputLengthError": FailureKind.AGENT_FAILED,
}
_BY_REASON = {"length": FailureKind.AGENT_FAILED, "unknown": FailureKind.MODEL_FAILED}
"""Failures by the reason of the last step. "unknown": no answer; "tool-calls": an end in the middle."""


class OpencodeParser(EventParser):
    """Reads one attempt's `run --format json`. It ends with a `step_finish` or `error` without a next one."""

    def __init__(self, request: base.LaunchRequest) -> None:
        super().__init__(request.model)
        self._has_usage = False
        self._usage = Usage()
        self._end: dict[str, Any] | None = None

    @property
    def usage(self) -> Usage:
        """Return the usage of the steps that have finished so far."""
        return self._usage

    # ---- events
    def _event(self, event: dict[str, Any]) -> Iterator[base.Activity]:
        if self._session is None and (session := text_of(event.get("sessionID"))):
            self._session = session
            yield base.SessionStarted(session, self._model)
        part = dict_of(event.get("part"))
        match event.get("type"):
            case "step_start":
                self._answered, self._end = True, None
            case "text":
                if text := text_of(part.get("text")):
                    self._answer = base.limit_answer(text)
                    yield base.TextPiece(text)
            case "tool_use":
                yield from self._read_call(text_of(part.get("tool"), "?"), dict_of(part.get("state")))
            case "step_finish":
                self._end = event
                self._has_usage = self._add(dict_of(part.get("tokens")), usd_of(part.get("cost")))
                yield base.UsageGrew(self._usage)
            case "error":
                self._end = event

    def _read_call(self, tool: str, state: dict[str, Any]) -> Iterator[base.Activity]:
        """Yield the activities of a call, which is reported only after its end."""
        call = call_of(tool, dict_of(state.get("input")))
        self._calls[call.action] += 1
        yield call
        self._denied_last = None
        why, failed = text_of(state.get("error")), state.get("status") == "error"
        if failed and any(words in why for words in DENIED):
            yield self._note_denial(call, why)
        else:
            status = exit_of(dict_of(state.get("metadata")).get("exit"))
            yield base.Ran(call, not failed, answer_of(why if failed else state.get("output")), status)

    def _add(self, tokens: dict[str, Any], cost: Decimal | None) -> bool:
        """Count one step; return whether it reported its usage. A price of 0 means that the price is
        unknown."""
        cache, was = dict_of(tokens.get("cache")), self._usage
        fresh, wrote = count_of(tokens.get("input")), count_of(cache.get("write"))
        output, thought = count_of(tokens.get("output")), count_of(tokens.get("reasoning"))
        usd = (was.cost_usd or Decimal(0)) + (cost or Decimal(0))
        self._usage = Usage(
            input_tokens=total_of(was.input_tokens, fresh, wrote),
            cached_tokens=total_of(was.cached_tokens, count_of(cache.get("read"))),
            output_tokens=total_of(was.output_tokens, output, thought),
            cost_usd=usd or None,
            cost_source="reported" if usd else "unknown",
            turns=was.turns + 1,
        )
        return "output" in tokens

    # ---- the outcome; the order matters
    def _judge(self, end: base.ExitInfo) -> tuple[FailureKind | None, str]:
        if ours := base.ended_for_us(end):
            return ours
        if self._end is None:
            return without_end(end, self._lines, self._session is not None, "the end of its last step")
        if self._end.get("type") == "error":
            # without a status, no model server answered
            error = dict_of(self._end.get("error"))
            data, name = dict_of(error.get("data")), text_of(error.get("name"), "an error without a name")
            words = f"{name}: {text_of(data.get('message'))}".rstrip(": ")
            if status := count_of(data.get("statusCode")):
                return by_status(status), f"{words} ({status})"
            return _BY_NAME.get(name, FailureKind.MODEL_FAILED), words
        reason = text_of(dict_of(self._end.get("part")).get("reason"), "none")
        if reason != "stop":
            words = f"{base.how_it_ended(end)}; the agent's last step ended with the reason {reason!r}"
            return _BY_REASON.get(reason, FailureKind.NO_ANSWER), words
        if end.status != 0:
            return FailureKind.AGENT_FAILED, f"{base.how_it_ended(end)} after a finished last step"
        if not self._has_usage:
            return FailureKind.RUNTIME_UNREADABLE, "the agent's last step does not report its usage"
        return self._judge_answer(self._answer)
