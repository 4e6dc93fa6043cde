"""Reads the double's events. Its format is in the docstring of program.py."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from node_agent.runtimes.base import (
    NOTHING,
    REASON_CHARS,
    Activity,
    Denial,
    ExitInfo,
    Said,
    SessionStarted,
    ToolCall,
    UsageGrew,
    Verdict,
    clip,
    ended_for_us,
    how_it_ended,
)
from node_agent.runtimes.lines import JsonLines, count_of, text_of, usd_of
from node_agent.wire.failure import FailureKind
from node_agent.wire.policy import ActionClass
from node_agent.wire.receipt import Usage

MAX_DENIALS = 100
_BY_STATUS = {
    "error": FailureKind.AGENT_FAILED,
    "blocked": FailureKind.NEEDS_PERSON,
    "budget": FailureKind.USD_LIMIT,
}


class ScriptedParser:
    """One attempt of the double; the last `result` event is the terminal one."""

    def __init__(self) -> None:
        self._lines = JsonLines()
        self._session: str | None = None
        self._model: str | None = None
        self._calls: Counter[ActionClass] = Counter()
        self._denials: list[Denial] = []
        self._denied_last: Denial | None = None
        self._usage = NOTHING
        self._result: dict[str, Any] | None = None

    @property
    def usage(self) -> Usage:
        """Nothing until the double claims some: it calls no model."""
        return self._usage

    def feed(self, chunk: bytes) -> list[Activity]:
        return [a for event in self._lines.feed(chunk) for a in self._event(event)]

    def finish(self, end: ExitInfo) -> Verdict:
        for event in self._lines.end():
            list(self._event(event))
        failure, reason = self._judge(end)
        result = self._result or {}
        usage = self._usage.model_copy(update={"turns": count_of(result.get("turns"))})
        return Verdict(
            failure,
            clip(reason, REASON_CHARS),
            clip(text_of(result.get("text"))),
            usage,
            self._session,
            self._model,
            None,
            dict(self._calls),
            tuple(self._denials),
        )

    def _event(self, event: dict[str, Any]) -> Iterator[Activity]:
        match event.get("type"):
            case "start":
                self._session = text_of(event.get("session")) or None
                self._model = text_of(event.get("model")) or None
                yield SessionStarted(self._session, self._model)
            case "say":
                yield Said(text_of(event.get("text")))
            case "tool" | "denied":
                yield self._tool(event)
            case "usage":
                self._usage = _usage(event)
                yield UsageGrew(self._usage)
            case "result":
                self._result = event

    def _tool(self, event: dict[str, Any]) -> Activity:
        name, action = text_of(event.get("name"), "?"), _action(event.get("action"))
        detail = clip(text_of(event.get("detail")), 200)
        self._calls[action] += 1
        if event["type"] == "tool":
            self._denied_last = None
            return ToolCall(name, action, detail)
        self._denied_last = denial = Denial(name, action, detail)
        if len(self._denials) < MAX_DENIALS:
            self._denials.append(denial)
        return denial

    def _judge(self, end: ExitInfo) -> tuple[FailureKind | None, str]:
        if ours := ended_for_us(end):
            return ours
        if self._result is None:
            unreadable = self._lines.unreadable == self._lines.lines
            kind = FailureKind.RUNTIME_UNREADABLE if unreadable else FailureKind.NO_ANSWER
            return kind, f"{how_it_ended(end)} without a result event"
        status, text = self._result.get("status"), text_of(self._result.get("text"))
        if status != "success":
            return _BY_STATUS.get(text_of(status), FailureKind.AGENT_FAILED), text or "an error without words"
        if end.status != 0:
            return FailureKind.AGENT_FAILED, f"{how_it_ended(end)} after a result that said success"
        if not text.strip():
            return FailureKind.NO_ANSWER, "the answer is empty"
        if last := self._denied_last:
            return FailureKind.TOOL_DENIED, f"its last call, {last.tool}, was denied and no other followed"
        return None, "success"


def _usage(event: dict[str, Any]) -> Usage:
    cost = usd_of(event.get("cost_usd"))
    return Usage(
        input_tokens=count_of(event.get("input_tokens")),
        cached_tokens=count_of(event.get("cached_tokens")),
        output_tokens=count_of(event.get("output_tokens")),
        cost_usd=cost,
        cost_source="unknown" if cost is None else "reported",
    )


def _action(value: Any) -> ActionClass:
    return ActionClass(value) if value in ActionClass.__members__.values() else ActionClass.UNKNOWN
