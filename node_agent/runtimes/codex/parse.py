"""Reads the Codex CLI's JSON stream: its actions, its usage, and whether Codex finished its work. A patch or
a write that Codex's sandbox denied is reported to the model, but not in the stream."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from node_agent.runtimes import base
from node_agent.runtimes.codex.tools import call_of
from node_agent.runtimes.lines import answer_of, count_of, dict_of, exit_of, text_of
from node_agent.runtimes.logins import clock_in
from node_agent.runtimes.outcome import EventParser, without_end
from node_agent.wire.failure import FailureKind, by_status
from node_agent.wire.receipt import Usage

MAX_ITEMS_OPEN = 1000
_STATUS = re.compile(r"(?:unexpected status|last status:) (\d{3})\b")
_BY_WORDS = (
    ("Missing environment variable", FailureKind.MODEL_AUTH),
    ("auth.openai.com/oauth/token", FailureKind.MODEL_AUTH),  # the login has expired
    ("hit your usage limit", FailureKind.MODEL_BUSY),
    ("content_filter", FailureKind.AGENT_FAILED),
    ("context window", FailureKind.AGENT_FAILED),
)


class CodexParser(EventParser):
    """Reads one attempt's `exec --json`. The last `turn.completed` or `turn.failed` event is final."""

    def __init__(self, request: base.LaunchRequest) -> None:
        super().__init__(request.model)
        self._before = request.resume.before if request.resume else None
        self._ran, self._no_sandbox = False, ""
        self._items: set[str] = set()
        self._end: dict[str, Any] | None = None

    @property
    def usage(self) -> Usage:
        """Return the usage; known only at the end of the turn, when the stream reports it."""
        return Usage() if self._end is None else _compute_usage(dict_of(self._end.get("usage")), self._before)

    # ---- events
    def _event(self, event: dict[str, Any]) -> Sequence[base.Activity]:
        """Return the activities of an event; a sequence, because events are short and many. Items come first,
        because most events are items."""
        kind = event.get("type")
        if kind == "item.completed":
            self._known = True
            item = dict_of(event.get("item"))
            if item.get("type") == "agent_message":
                return self._read_message(text_of(item.get("text")))
            if item.get("type") == "reasoning" and (text := text_of(item.get("text"))):
                return (base.Thought(text),)
            call = call_of(item)
            if call is None:
                return ()
            status = item.get("status")
            # detects a sandbox that cannot start: no command runs, whatever the model reports
            if status == "completed":
                self._ran = True
            elif status == "failed" and (output := text_of(item.get("aggregated_output"))).startswith(
                "bwrap: "
            ):
                self._no_sandbox = output.strip()
            self._denied_last = None
            number = text_of(item.get("id"))
            if number in self._items:
                self._items.remove(number)
                return (self._end_call(call, item),)
            self._count_call(call)
            return (call, self._end_call(call, item))
        if kind == "item.started":
            self._known = True
            return self._start_item(dict_of(event.get("item")))
        activities = self._turn(event, kind)
        self._known = self._known or activities is not None
        return activities or ()

    def _turn(self, event: dict[str, Any], kind: Any) -> Sequence[base.Activity] | None:
        """Return the activities of an event that is not an item; None for an event of an unknown kind."""
        match kind:
            case "thread.started":
                self._session = text_of(event.get("thread_id")) or None
                return (base.SessionStarted(self._session, self._model),)
            case "error":  # another try or the end of the turn follows
                words = text_of(event.get("message"))
                return (base.Retrying(_find_status(words), base.keep_end(words, base.REASON_CHARS)),)
            case "turn.completed" | "turn.failed":
                self._end = event
                return (base.UsageGrew(self.usage),)
            case "turn.started":
                self._end = None
                return ()
        return None

    def _start_item(self, item: dict[str, Any]) -> Sequence[base.Activity]:
        call = call_of(item)
        if call is None:
            return ()
        if len(self._items) < MAX_ITEMS_OPEN:
            self._items.add(text_of(item.get("id")))
        self._count_call(call)
        return (call,)

    def _count_call(self, call: base.ToolCall) -> None:
        self._answered = True
        self._calls[call.action] += 1

    def _read_message(self, text: str) -> Sequence[base.Activity]:
        if not text:
            return ()
        self._answered, self._answer = True, base.limit_answer(text)
        return (base.TextPiece(text),)

    def _end_call(self, call: base.ToolCall, item: dict[str, Any]) -> base.Activity:
        status = item.get("status")
        if status == "declined":
            return self._note_denial(call, "declined")
        output = answer_of(item.get("aggregated_output"))
        return base.Ran(call, status == "completed", output, exit_of(item.get("exit_code")))

    # ---- the outcome; the order matters
    def _judge(self, end: base.ExitInfo) -> tuple[FailureKind | None, str]:
        if ours := base.ended_for_us(end):
            return ours
        if self._end is None:
            return without_end(end, self._lines, self._known, "the end of its turn")
        if self._end.get("type") == "turn.failed":
            words = text_of(dict_of(self._end.get("error")).get("message"), "an error without a message")
            self._resets = clock_in(words)
            return _find_kind(words), words
        if end.status != 0:
            return FailureKind.AGENT_FAILED, f"{base.how_it_ended(end)} after a completed turn"
        if "output_tokens" not in dict_of(self._end.get("usage")):
            return FailureKind.RUNTIME_UNREADABLE, "the agent's last turn does not report its usage"
        if self._no_sandbox and not self._ran:
            return FailureKind.RUNTIME_MISSING, (
                f"the runtime's sandbox cannot start on this node: {self._no_sandbox}"
            )
        return self._judge_answer(self._answer)


def _find_status(words: str) -> int | None:
    found = _STATUS.search(words)
    return int(found[1]) if found else None


def _find_kind(words: str) -> FailureKind:
    """Return the failure kind of the sentence in `turn.failed`; an unclear sentence counts as a model server
    failure."""
    if status := _find_status(words):
        return by_status(status)
    return next((kind for part, kind in _BY_WORDS if part in words), FailureKind.MODEL_FAILED)


def _compute_usage(tokens: dict[str, Any], before: Usage | None) -> Usage:
    """Return the run's usage from the numbers of the whole session, whose input includes cached tokens."""
    cached = count_of(tokens.get("cached_input_tokens"))
    fresh, output = count_of(tokens.get("input_tokens")) - cached, count_of(tokens.get("output_tokens"))
    if before is not None:
        fresh -= before.input_tokens
        cached -= before.cached_tokens
        output -= before.output_tokens
    if min(fresh, cached, output) < 0:
        fresh, cached, output = max(fresh, 0), max(cached, 0), max(output, 0)
    return Usage(input_tokens=fresh, cached_tokens=cached, output_tokens=output, turns=1)
