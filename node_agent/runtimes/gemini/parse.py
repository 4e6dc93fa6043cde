"""Reads the Gemini CLI's JSON stream: its actions, its usage, and whether it finished its work. The usage is
reported only at the end. A refusal by the model is reported only if the model left no text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from node_agent.runtimes import base
from node_agent.runtimes.gemini.tools import call_of
from node_agent.runtimes.lines import answer_of, count_of, dict_of, text_of
from node_agent.runtimes.outcome import DETAIL_CHARS, EventParser, without_end
from node_agent.wire.failure import FailureKind, by_status
from node_agent.wire.receipt import Usage

_DENIED = frozenset({"tool_not_registered", "policy_violation", "permission_denied", "path_not_in_workspace"})
_NOT_IN = re.compile(rb"^ +status: 40[13],", re.MULTILINE)
"""The text that the program writes for users, before its stream begins, if a Google account is refused."""
_STATUS = re.compile(r'"code":\s*(\d{3})\b')
_BY_STATUS = {
    41: (FailureKind.MODEL_AUTH, "the program has no valid key"),
    53: (FailureKind.TURN_LIMIT, "the agent reached its turn limit"),
}
"""Exit statuses that alone determine the failure, if no result reports success."""


class GeminiParser(EventParser):
    """Reads one attempt's `-o stream-json`. The last `result` event is final."""

    def __init__(self, request: base.LaunchRequest) -> None:
        super().__init__(request.model)
        self._asked = True
        self._turns = 0
        self._trouble = ""
        self._end: dict[str, Any] | None = None

    @property
    def usage(self) -> Usage:
        """Return the usage: the model's turns as they arrive, and the tokens at the end."""
        stats = dict_of(self._end.get("stats")) if self._end else {}
        # Gemini's output number omits the model's thinking, which is billed; the total includes it.
        input_tokens, cached = count_of(stats.get("input_tokens")), count_of(stats.get("cached"))
        thought = count_of(stats.get("total_tokens")) - input_tokens
        return Usage(
            input_tokens=max(input_tokens - cached, 0),
            cached_tokens=cached,
            output_tokens=max(thought, count_of(stats.get("output_tokens"))),
            turns=self._turns,
        )

    # ---- events
    def _event(self, event: dict[str, Any]) -> Iterator[base.Activity]:
        match event.get("type"):
            case "message":
                yield from self._read_message(event)
            case "tool_use":
                self._count_turn()
                call = call_of(text_of(event.get("tool_name"), "?"), dict_of(event.get("parameters")))
                yield self._begin_call(event.get("tool_id"), call)
            case "tool_result":
                yield from self._end_call(event)
            case "init":
                self._session = text_of(event.get("session_id")) or None
                self._model = text_of(event.get("model")) or self._model
                yield base.SessionStarted(self._session, self._model)
            case "error":
                self._trouble = base.keep_end(
                    text_of(event.get("message"), "an error without a message"), DETAIL_CHARS
                )
            case "result":
                self._end = event
                yield base.UsageGrew(self.usage)
            case _:
                return
        self._known = True

    def _read_message(self, event: dict[str, Any]) -> Iterator[base.TextPiece]:
        """Yield the text of a message. The first message is the task as the program read it."""
        text = text_of(event.get("content"))
        if event.get("role") == "assistant" and text:
            self._count_turn()
            self._answer += text
            if len(self._answer) > 2 * base.MOST_ANSWER_CHARS:
                self._answer = base.limit_answer(self._answer)
            yield base.TextPiece(text)

    def _count_turn(self) -> None:
        """Count a turn, which begins with the model's first event after the task or after tool results."""
        self._turns += self._asked
        self._asked, self._answered, self._end = False, True, None

    def _end_call(self, event: dict[str, Any]) -> Iterator[base.Activity]:
        self._asked, self._answer, self._trouble = True, "", ""
        call = self._end_known_call(event.get("tool_id"))
        error = dict_of(event.get("error"))
        if event.get("status") == "error" and error.get("type") in _DENIED:
            yield self._note_denial(call, error.get("message"))
        else:
            yield base.Ran(call, event.get("status") != "error", answer_of(event.get("output")))

    # ---- the outcome; the order matters
    def _judge(self, end: base.ExitInfo) -> tuple[FailureKind | None, str]:
        if ours := base.ended_for_us(end):
            return ours
        if self._end is None or self._end.get("status") != "success":
            if end.status in _BY_STATUS:
                kind, words = _BY_STATUS[end.status]
                return kind, f"exit {end.status}: {words}"
            if self._end is None and end.status == 1 and _NOT_IN.search(end.complaints):
                words = (
                    "its Google account was not accepted: the token is wrong, has expired or lacks a "
                    "permission"
                )
                return FailureKind.MODEL_AUTH, words
            if self._end is None:
                return without_end(end, self._lines, self._known, "a result event")
            words = text_of(dict_of(self._end.get("error")).get("message"), "an error without a message")
            return _find_kind(words, end), words
        if end.status != 0:
            return FailureKind.AGENT_FAILED, f"{base.how_it_ended(end)} after a successful result"
        if "output_tokens" not in dict_of(self._end.get("stats")):
            return FailureKind.RUNTIME_UNREADABLE, "the program's result does not report its usage"
        if self._trouble:  # for example a detected loop, which the program reports as a success
            return FailureKind.AGENT_FAILED, self._trouble
        return self._judge_answer(self._answer)


def _find_kind(words: str, end: base.ExitInfo) -> FailureKind:
    """Return the failure kind by the server's status: from the text, or the exit status's lowest byte."""
    if found := _STATUS.search(words):
        return by_status(int(found[1]))
    if end.status is not None and 400 - 256 <= end.status < 256:
        return by_status(end.status + 256)
    return FailureKind.MODEL_FAILED if words.startswith("[API Error") else FailureKind.AGENT_FAILED
