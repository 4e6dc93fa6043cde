"""Reads the growing output of an agent program: its usage, its calls, broken rules, its end."""

from __future__ import annotations

from collections.abc import Mapping

from node_agent.attempt.ports import ProcessEnd, ReportedEnd, ReportedUsage
from node_agent.policy.judging import Offences, Where
from node_agent.runner.violations import Violations
from node_agent.runtimes.base import (
    Capabilities,
    Denial,
    EndedBy,
    ExitInfo,
    Parser,
    Ran,
    ToolCall,
    WordsTaken,
    clip,
)
from node_agent.runtimes.orders import findings, words_of
from node_agent.vault.redact import redacted
from node_agent.wire.failure import FailureKind
from node_agent.wire.policy import Policy

NAME_CHARS = 200
"""The greatest length of a program's name of a session or model."""


class StreamReader:
    """A runtime's parser as the job's Reader. `hidden`: values that no text of an agent may carry on."""

    def __init__(self, parser: Parser, held: Violations, tells_ran: bool, hidden: Mapping[str, str]) -> None:
        self._parser, self._held, self._tells_ran, self._hidden = parser, held, tells_ran, hidden
        self._tools: dict[str, int] = {}
        self._heard: list[int] = []

    def feed(self, chunk: bytes) -> None:
        for activity in self._parser.feed(chunk):
            if isinstance(activity, ToolCall):
                self._tools[activity.action.value] = self._tools.get(activity.action.value, 0) + 1
                if not self._tells_ran:
                    self._held.take(activity, ran=False)
            elif isinstance(activity, Denial):
                self._held.deny(words_of(activity))
            elif isinstance(activity, WordsTaken):
                self._heard = [*self._heard, activity.number][-100:]
            elif isinstance(activity, Ran) and (activity.ok or activity.call.command):
                self._held.take(activity.call, ran=True)

    def spent(self) -> ReportedUsage:
        ending, words = self._held.violation, tuple(map(self._clean, self._held.words()))
        broken = Offences(words, None if ending is None else self._clean(ending))
        return ReportedUsage(self._parser.usage, dict(self._tools), broken, tuple(self._heard))

    def finish(self, end: ProcessEnd) -> ReportedEnd:
        how = ExitInfo(end.exit_code, end.signal, EndedBy(end.ended_by), complaints=end.complaints)
        told = self._parser.finish(how)
        tools = {action.value: count for action, count in told.tool_calls.items()}
        broken = self._held.violation
        return ReportedEnd(
            failure=told.failure if broken is None else FailureKind.RULE_BROKEN,
            reason=self._clean(told.reason if broken is None else broken),
            answer=self._clean(told.answer),
            session=_name(None if told.session is None else self._clean(told.session)),
            model=_name(None if told.model is None else self._clean(told.model)),
            spent=ReportedUsage(told.usage, tools or self._tools, heard=tuple(self._heard)),
            findings=tuple(dict.fromkeys(map(self._clean, (*self._held.all_words(), *findings(told))))),
        )

    def _clean(self, text: str) -> str:
        return redacted(text, self._hidden)


def _name(text: str | None) -> str | None:
    """A name that a program gave: as much of it as a receipt may carry, which has a bound."""
    return None if text is None else clip(text, NAME_CHARS)


def reader_of(
    parser: Parser, policy: Policy, where: Where, able: Capabilities, hidden: Mapping[str, str]
) -> StreamReader:
    """The reader of one attempt. `hidden`: as for the reader itself."""
    return StreamReader(parser, Violations(policy, where, able.asks_people), able.tells_ran, hidden)
