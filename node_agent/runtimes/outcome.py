"""The parts of the verdict that are the same for every program with a stream of JSON events."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any

from node_agent.policy.commands.reading import read_command
from node_agent.policy.commands.tree import MOST_BYTES
from node_agent.runtimes.base import (
    NOTHING,
    REASON_CHARS,
    Activity,
    Denial,
    ExitInfo,
    RuntimeVerdict,
    ToolCall,
    how_it_ended,
    keep_end,
    limit_answer,
)
from node_agent.runtimes.lines import JsonLines, diff_of, text_of
from node_agent.runtimes.logins import LimitReset, delay_in
from node_agent.wire.failure import FailureKind
from node_agent.wire.policy import ActionClass
from node_agent.wire.receipt import Usage

DETAIL_CHARS = 200


@lru_cache(maxsize=256)
def shell_action(command: str) -> ActionClass:
    """Return the most serious class among the commands of one script."""
    return read_command(command).action


def shell_call(tool: str, command: str) -> ToolCall:
    """Return a shell call. A command too long to check is truncated one character above the limit, so that it
    is not checked in part."""
    if len(command) <= MOST_BYTES:
        return _call(tool, command)
    whole = command[: MOST_BYTES + 1]
    return ToolCall(tool, shell_action(whole), keep_end(command, DETAIL_CHARS), command=whole)


@lru_cache(maxsize=64)
def _call(tool: str, command: str) -> ToolCall:
    """Return the call; cached, because a program reports the same call several times: started, in progress,
    ended."""
    return ToolCall(tool, shell_action(command), keep_end(command, DETAIL_CHARS), command=command)


def tool_table(
    shell: str, actions: Mapping[ActionClass, str], details: str, paths: str
) -> Callable[[str, dict[str, Any]], ToolCall]:
    """Return a function that makes a ToolCall from a tool's name and arguments.

    `shell`: the tool that runs its `command`. `actions`: the names of the other tools, by class of action.
    `details`: the arguments that describe a call best, the best first; `paths`: those that name a file. All
    are separated by blanks.
    """
    known = {tool: action for action, tools in actions.items() for tool in tools.split()}
    shown, files = details.split(), paths.split()

    def call_of(tool: str, given: dict[str, Any]) -> ToolCall:
        if tool == shell:
            return shell_call(tool, text_of(given.get("command")))
        detail = next((keep_end(v, DETAIL_CHARS) for k in shown if (v := text_of(given.get(k)))), "")
        found = tuple(v for k in files if (v := text_of(given.get(k))))
        action = known.get(tool, ActionClass.UNKNOWN)
        diff = diff_of(given) if action is ActionClass.FILE_WRITE else ""
        return ToolCall(tool, action, detail, paths=found, diff=diff)

    return call_of


MAX_DENIALS, MAX_CALLS_OPEN = 100, 200
_UNTOLD = ToolCall("?", ActionClass.UNKNOWN)
COMPLAINT_CHARS = 200

_REFUSED = frozenset({FailureKind.MODEL_AUTH, FailureKind.MODEL_BUSY})


def subtract_usage(before: Usage, fresh: int, cached: int, output: int, turns: int) -> Usage:
    """Return the usage since `before` from a program's numbers, which are those of the whole session."""
    return Usage(
        input_tokens=max(fresh - before.input_tokens, 0),
        cached_tokens=max(cached - before.cached_tokens, 0),
        output_tokens=max(output - before.output_tokens, 0),
        turns=turns,
    )


def without_end(end: ExitInfo, lines: JsonLines, known: bool, what: str) -> tuple[FailureKind, str]:
    """Return the failure of a program that ended without a final event, whatever its exit status. `known`: at
    least one event was of a kind that the parser knows. `what`: the missing event."""
    if end.status in (126, 127) and not lines.lines:
        return FailureKind.RUNTIME_MISSING, f"{how_it_ended(end)} without any output"
    if not known:
        complaint = keep_end(next(iter(read_complaints(end)), ""), COMPLAINT_CHARS)
        words = f"{how_it_ended(end)} without a readable event"
        return FailureKind.RUNTIME_UNREADABLE, f"{words}: {complaint}" if complaint else words
    return FailureKind.NO_ANSWER, f"{how_it_ended(end)} without {what}"


def read_complaints(end: ExitInfo) -> list[str]:
    """Return the nonempty lines of stderr, where the program reports problems to users."""
    lines = (line.strip() for line in end.complaints.decode("utf-8", "replace").splitlines())
    return [line for line in lines if line]


class EventParser(ABC):
    """A `Parser` with common code for feeding, denials and the verdict. Subclasses define the events."""

    def __init__(self, model: str | None = None) -> None:
        self._lines = JsonLines()
        self._session: str | None = None
        self._model = model
        self._version: str | None = None
        self._known = self._answered = False
        """Whether the program has written a known event, and whether its model has answered."""
        self._answer = ""
        self._calls: Counter[ActionClass] = Counter()
        self._open: dict[str, ToolCall] = {}
        self._denials: list[Denial] = []
        self._resets: LimitReset | None = None
        self._denied_last: Denial | None = None
        """The denied call, if it was the newest one; None if the agent has made another call since."""

    @property
    @abstractmethod
    def usage(self) -> Usage:
        """Return the usage so far, as `Parser.usage` does."""

    @abstractmethod
    def _event(self, event: dict[str, Any]) -> Iterable[Activity]:
        """Return the activities of one event; the event may be modified."""

    @abstractmethod
    def _judge(self, end: ExitInfo) -> tuple[FailureKind | None, str]:
        """Return the failure kind and the reason, after the last event; kind None: no failure."""

    def _said(self) -> str:
        """Return the agent's final answer, after the last event."""
        return self._answer

    def _spent(self, failure: FailureKind | None) -> Usage:
        """Return the reported usage; zero if the model server refused the run before any answer."""
        return NOTHING if failure in _REFUSED and not self._answered else self.usage

    def feed(self, chunk: bytes) -> list[Activity]:
        return [a for event in self._lines.feed(chunk) for a in self._event(event)]

    def finish(self, end: ExitInfo) -> RuntimeVerdict:
        for event in self._lines.end():
            for _ in self._event(event):
                pass
        failure, reason = self._judge(end)
        return RuntimeVerdict(
            failure,
            keep_end(reason, REASON_CHARS),
            limit_answer(self._said()),
            self._spent(failure),
            self._session,
            self._model,
            self._version,
            dict(self._calls),
            tuple(self._denials),
            self._resets or delay_in(reason) if failure is FailureKind.MODEL_BUSY else None,
        )

    def _begin_call(self, number: Any, call: ToolCall) -> ToolCall:
        """Count a call, and store it until its outcome is reported; calls above the limit are not stored."""
        self._calls[call.action] += 1
        if len(self._open) < MAX_CALLS_OPEN:
            self._open[text_of(number)] = call
        return call

    def _end_known_call(self, number: Any, unknown: ToolCall = _UNTOLD) -> ToolCall:
        """Return the stored call whose outcome, other than a denial, is reported now."""
        self._denied_last = None
        return self._open.pop(text_of(number), unknown)

    def _note_denial(self, call: ToolCall, why: Any) -> Denial:
        """Store the denial, up to a maximum number, and record that the newest call was denied."""
        denial = Denial(call.tool, call.action, keep_end(text_of(why), DETAIL_CHARS), call.detail)
        self._denied_last = denial
        if len(self._denials) < MAX_DENIALS:
            self._denials.append(denial)
        return denial

    def _judge_answer(self, answer: str) -> tuple[FailureKind | None, str]:
        """Return the verdict on a run whose end is reported as a success."""
        if not answer.strip():
            return FailureKind.NO_ANSWER, "the answer is empty"
        if last := self._denied_last:
            return FailureKind.TOOL_DENIED, (
                f"the agent's last call, {last.tool}, was denied, and no other call followed"
            )
        return None, "success"
