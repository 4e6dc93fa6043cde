"""Parses the event stream of PanCode's own workers: their actions, their usage, and whether they finished."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from node_agent.runtimes import base
from node_agent.runtimes.lines import answer_of, count_of, dict_of, exit_of, list_of, text_of
from node_agent.runtimes.outcome import DETAIL_CHARS, EventParser, shell_call, without_end
from node_agent.wire.failure import FailureKind
from node_agent.wire.fleet import MOST_ARGUMENTS, is_fleet_tool_name
from node_agent.wire.identity import LaidMessage
from node_agent.wire.model import YEAR_3000_MS
from node_agent.wire.policy import ActionClass
from node_agent.wire.receipt import SuspendReason, TurnStop, Usage
from node_agent.wire.skill import TOOL

MAX_FILES = 30
_ACTIONS = {
    **dict.fromkeys(("read", "grep", "find", "ls", "changes", "skill"), ActionClass.FILE_READ),
    **dict.fromkeys(("write", "edit", "move"), ActionClass.FILE_WRITE),
    "delete": ActionClass.FILE_DELETE,
    "fetch": ActionClass.NETWORK,
}
_STOPS, _RESTS = frozenset(TurnStop), frozenset(SuspendReason)
_KINDS = {kind.value: kind for kind in FailureKind}


class WorkerParser(EventParser):
    """Parses one attempt's stream. The `final` event is the last one of the stream."""

    def __init__(self, request: base.LaunchRequest) -> None:
        super().__init__(request.model)
        self._usage = Usage()
        self._has_usage = self._rests = False
        self._final: dict[str, Any] | None = None

    @property
    def usage(self) -> Usage:
        """The newest usage totals of this attempt."""
        return self._usage

    def _said(self) -> str:
        """Return the model's last answer, followed by the worker's own report."""
        result = text_of((self._final or {}).get("result"))
        return f"{result}{_report(dict_of((self._final or {}).get('report')))}"

    # ---- events
    def _event(self, event: dict[str, Any]) -> Iterator[base.Activity]:
        self._known = True
        match event.get("type"):
            case "session":
                self._session = text_of(event.get("session")) or None
                self._version = text_of(event.get("version")) or None
                yield base.SessionStarted(self._session, self._model)
            case "said" | "noted" | "compacted" | "thought" as kind:
                text = text_of(event.get("text"))
                yield base.Thought(text) if kind == "thought" else base.TextPiece(text)
            case "called" | "ran" | "denied":
                yield from self._call(event)
            case "usage":
                self._usage = _read_usage(event)
                self._answered = self._usage.turns > 0
                self._has_usage = event.get("told") is True
                yield base.UsageGrew(self._usage)
            case "heard" if count_of(event.get("number")):
                yield base.MessageTaken(count_of(event["number"]), _make_message(event))
            case "turn" if count_of(event.get("number")):
                number, message = count_of(event["number"]), count_of(event.get("words"))
                yield base.TurnBegan(number, message, _make_message(event), _read_wall_ms(event))
            case "turn_end" if text_of(event.get("stop")) in _STOPS:
                why = base.keep_end(text_of(event.get("why")), base.REASON_CHARS)
                yield base.TurnEnded(
                    TurnStop(event["stop"]), why, _read_wall_ms(event), self._lines.end_at, self._usage
                )
            case "rests" if text_of(event.get("why")) in _RESTS:
                self._rests = True
                yield base.Suspended(SuspendReason(event["why"]))
            case "asks_fleet" | "fleet_over" if count_of(event.get("number")):
                yield from _of_fleet(event)
            case "retrying":
                yield base.Retrying(count_of(event.get("status")) or None, text_of(event.get("why")))
            case "final":
                self._final = event
            case kind:
                self._known = kind == "printed"  # for users alone

    def _call(self, event: dict[str, Any]) -> Iterator[base.Activity]:
        tool = text_of(event.get("tool"), "?")
        if event["type"] == "called":
            yield self._begin_call(event.get("id"), _call(tool, event))
            return
        call = self._end_known_call(event.get("id"), _call(tool, {}))
        if event["type"] == "denied":
            yield self._note_denial(call, event.get("why"))
        else:
            output, status = answer_of(event.get("output")), exit_of(event.get("exit"))
            yield base.Ran(call, event.get("ok") is True, output, status)

    # ---- the outcome: these checks must stay in this order
    def _judge(self, end: base.ExitInfo) -> tuple[FailureKind | None, str]:
        if ours := base.ended_for_us(end):
            return ours
        if self._final is None:
            return without_end(end, self._lines, self._known, "a final event")
        if self._final.get("status") != "done":
            kind = _KINDS.get(text_of(self._final.get("failure")), FailureKind.AGENT_FAILED)
            return kind, text_of(self._final.get("reason")) or "an error without a message"
        if end.status != 0:
            return FailureKind.AGENT_FAILED, f"{base.how_it_ended(end)} after a final event of done"
        if not self._has_usage and not (self._rests and not self._usage.turns):
            return FailureKind.RUNTIME_UNREADABLE, "the worker's model server did not report its usage"
        return (None, "it rests") if self._rests else self._judge_answer(text_of(self._final.get("result")))


def _of_fleet(event: dict[str, Any]) -> Iterator[base.Activity]:
    """Yield the fleet calls in an event; an invalid call is left out."""
    number, tool = count_of(event["number"]), text_of(event.get("tool"))
    if event["type"] == "fleet_over":
        yield base.FleetOver(number)
        return
    arguments = json.dumps(dict_of(event.get("arguments")))
    if is_fleet_tool_name(tool) and len(arguments) <= MOST_ARGUMENTS:
        yield base.FleetCalled(number, tool, arguments)


def _make_message(event: dict[str, Any]) -> LaidMessage:
    return LaidMessage(text=text_of(event.get("text")), by=text_of(event.get("by")))


def _read_wall_ms(event: dict[str, Any]) -> int:
    """Return the event's wall time in milliseconds; 0 if invalid, as the stream may contain any number."""
    at = event.get("at")
    return at if isinstance(at, int) and 0 <= at <= YEAR_3000_MS else 0


def _call(tool: str, given: dict[str, Any]) -> base.ToolCall:
    if tool == "bash" and (command := text_of(given.get("command"))):
        return shell_call(tool, command)
    if tool.startswith(TOOL):
        return base.ToolCall(tool, ActionClass.SHELL, tool)
    path = text_of(given.get("path"))
    detail = base.keep_end(path or text_of(given.get("pattern")), DETAIL_CHARS)
    return base.ToolCall(tool, _ACTIONS.get(tool, ActionClass.UNKNOWN), detail, paths=(path,) if path else ())


def _read_usage(event: dict[str, Any]) -> Usage:
    return Usage(
        input_tokens=count_of(event.get("input")),
        cached_tokens=count_of(event.get("cached")),
        output_tokens=count_of(event.get("output")),
        turns=count_of(event.get("turns")),
    )


def _report(report: dict[str, Any]) -> str:
    """Return the worker's report as plain text; empty for a run that only answered."""
    files = [text_of(one) for one in list_of(report.get("files"))]
    commands, denied = count_of(report.get("commands")), count_of(report.get("denied"))
    if not files and not commands and not denied:
        return ""
    more = f" and {len(files) - MAX_FILES} more" if len(files) > MAX_FILES else ""
    by_tools = ", ".join(files[:MAX_FILES]) + more if files else "none by the file tools"
    by_commands = (
        f"; {commands} command{'s' if commands > 1 else ''} may have changed others" if commands else ""
    )
    lines = [f"Scope: {text_of(report.get('scope'))}", f"Files changed: {by_tools}{by_commands}"]
    lines += [f"Denied calls: {denied}"] if denied else []
    return "\n\n" + "\n".join(lines)
