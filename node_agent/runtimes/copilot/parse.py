"""Reads the Copilot CLI's JSON stream, and the usage report after it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from node_agent.runtimes import base
from node_agent.runtimes.copilot.tools import call_of, is_denied
from node_agent.runtimes.lines import answer_of, count_of, dict_of, exit_of, text_of, total_of
from node_agent.runtimes.outcome import EventParser, subtract_usage, without_end
from node_agent.wire.failure import FailureKind, by_status
from node_agent.wire.receipt import Usage

_NOT_IN = re.compile(rb"authenticat", re.IGNORECASE)
"""The text that the program writes for users, before its stream begins, if GitHub has refused the login."""
_BY_TYPE = {
    "authentication": FailureKind.MODEL_AUTH,
    "authorization": FailureKind.MODEL_AUTH,
    "rate_limit": FailureKind.MODEL_BUSY,
    "quota": FailureKind.MODEL_BUSY,
    "context_limit": FailureKind.AGENT_FAILED,
}


class CopilotParser(EventParser):
    """Reads one attempt's `--output-format json`. `result` is the final event; the report must follow."""

    def __init__(self, request: base.LaunchRequest) -> None:
        super().__init__(request.model)
        self._before = request.resume.before if request.resume else Usage()
        self._turns = 0
        self._error: dict[str, Any] | None = None
        self._end: dict[str, Any] | None = None
        self._report: Usage | None = None

    @property
    def usage(self) -> Usage:
        """Return the usage: the model's turns as they arrive, and the tokens from the report."""
        return self._report or Usage(turns=self._turns)

    # ---- events
    def _event(self, event: dict[str, Any]) -> Iterator[base.Activity]:
        data = dict_of(event.get("data"))
        match event.get("type"):
            case "assistant.message":
                yield from self._read_message(data)
            case "tool.execution_start":
                call = call_of(text_of(data.get("toolName"), "?"), dict_of(data.get("arguments")))
                yield self._begin_call(data.get("toolCallId"), call)
            case "tool.execution_complete":
                yield from self._end_call(data)
            case "model.call_failure":
                words = base.keep_end(text_of(data.get("errorMessage"), "unknown"), base.REASON_CHARS)
                yield base.Retrying(count_of(data.get("statusCode")) or None, words)
            case "session.tools_updated":
                self._model = text_of(data.get("model")) or self._model
                yield base.SessionStarted(self._session, self._model)
            case "session.error":
                self._error = data
            case "result":
                self._end = event
                self._session = text_of(event.get("sessionId")) or self._session
            case _:
                # the report is the line after the stream, and has no type
                if "type" not in event and "modelMetrics" in event:
                    self._report = _compute_usage(
                        dict_of(event.get("modelMetrics")), self._before, self._turns
                    )
                    yield base.UsageGrew(self._report)
                return
        self._known = True

    def _read_message(self, data: dict[str, Any]) -> Iterator[base.Activity]:
        """Yield a whole answer of the model; its pieces, which came before, are dropped."""
        self._answered, self._error, self._end, self._report = True, None, None, None
        self._turns += 1
        self._model = text_of(data.get("model")) or self._model
        text = text_of(data.get("content"))
        self._answer = base.limit_answer(text)
        if text:
            yield base.TextPiece(text)
        yield base.UsageGrew(self.usage)

    def _end_call(self, data: dict[str, Any]) -> Iterator[base.Activity]:
        call = self._end_known_call(data.get("toolCallId"))
        error = dict_of(data.get("error"))
        if data.get("success") is False and is_denied(error):
            yield self._note_denial(call, error.get("message"))
        else:
            output = dict_of(data.get("result")).get("content") or error.get("message")
            status = exit_of(dict_of(data.get("shellExecution")).get("exitCode"))
            yield base.Ran(call, data.get("success") is not False, answer_of(output), status)

    # ---- the outcome; the order matters
    def _judge(self, end: base.ExitInfo) -> tuple[FailureKind | None, str]:
        if ours := base.ended_for_us(end):
            return ours
        if self._end is None and end.status == 1 and _NOT_IN.search(end.complaints):
            return (
                FailureKind.MODEL_AUTH,
                (
                    "access to the model was denied: the key or login is wrong, has expired or does not "
                    "include Copilot"
                ),
            )
        if self._end is None:
            return without_end(end, self._lines, self._known, "a result event")
        if self._error is not None:
            # without a status, the server's answer was cut off
            words = text_of(self._error.get("message"), "an error without a message")
            if status := count_of(self._error.get("statusCode")):
                return by_status(status), words
            return _BY_TYPE.get(text_of(self._error.get("errorType")), FailureKind.MODEL_FAILED), words
        if self._end.get("exitCode") != 0:
            return FailureKind.AGENT_FAILED, (
                f"the program's result reports exit status {self._end.get('exitCode')!r}"
            )
        if end.status != 0:
            return FailureKind.AGENT_FAILED, f"{base.how_it_ended(end)} after a successful result"
        if self._report is None:
            return FailureKind.RUNTIME_UNREADABLE, "it left no report of its usage"
        return self._judge_answer(self._answer)


def _compute_usage(models: dict[str, Any], before: Usage, turns: int) -> Usage:
    """Return the run's usage from the numbers of the whole session, whose input includes cached tokens."""
    spent_on = [dict_of(dict_of(model).get("usage")) for model in models.values()]
    input_tokens, cached, output = (
        total_of(*(count_of(one.get(name)) for one in spent_on))
        for name in ("inputTokens", "cacheReadTokens", "outputTokens")
    )
    return subtract_usage(before, input_tokens - cached, cached, output, turns)
