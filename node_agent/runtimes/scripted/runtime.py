"""The runtime `scripted`: its abilities and the functions that implement it."""

from __future__ import annotations

import os.path
from collections.abc import Iterator, Sequence
from typing import Any

from node_agent.runtimes import base
from node_agent.runtimes.lines import count_of, exit_of, text_of, usd_of
from node_agent.runtimes.outcome import EventParser
from node_agent.wire.failure import FailureKind
from node_agent.wire.node import RuntimeFact
from node_agent.wire.policy import ActionClass, Enforcement, Isolation, Mode, Safety
from node_agent.wire.receipt import Usage

PROMPT = "prompt.md"
PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "program.py")


def launch(request: base.LaunchRequest, place: base.Place) -> base.ProcessSpec:
    """Return the launch `python3 -I -S program.py`, without site packages and the user's Python settings."""
    argv = [place.python, "-I", "-S", PROGRAM]
    if not request.may_write:
        argv.append("--read-only")
    if request.model:
        argv += ["--model", request.model]
    if request.limits.usd is not None:
        argv += ["--max-usd", format(request.limits.usd, "f")]
    files = base.own_files(request)
    if request.prompt:
        files[PROMPT] = request.prompt.encode("utf-8", "surrogateescape")
        argv += ["--prompt", f"{request.home}/{PROMPT}"]
    stdin = request.task.encode("utf-8", "surrogateescape")
    return base.ProcessSpec(tuple(argv), base.base_env(request, place), stdin, files)


def find_enforcement(mode: Mode, safety: Safety, read_only: bool, isolation: Isolation) -> Enforcement:
    """Return how the rules are enforced: the program obeys --read-only, unless its script uses `force`."""
    if isolation is Isolation.SANDBOX:
        return Enforcement.SANDBOX
    return Enforcement.TOLD_ONLY if base.may_write(mode, safety, read_only) else Enforcement.RUNTIME


def read_probe(results: Sequence[tuple[int | None, str]]) -> RuntimeFact:
    """Return the fact that the program is available, because it is part of the node agent."""
    return RuntimeFact(name="scripted", version="1", state="ok")


PROBE = base.Probe((), read_probe)


_BY_STATUS = {
    "error": FailureKind.AGENT_FAILED,
    "blocked": FailureKind.NEEDS_USER,
    "budget": FailureKind.USD_LIMIT,
}


class ScriptedParser(EventParser):
    """Reads one attempt of the scripted program; the last `result` event is final."""

    def __init__(self) -> None:
        super().__init__()
        self._usage = base.NOTHING
        self._result: dict[str, Any] | None = None

    @property
    def usage(self) -> Usage:
        """Return the usage that the script claims; zero before that, because the program calls no model."""
        return self._usage

    def _said(self) -> str:
        return text_of((self._result or {}).get("text"))

    def _spent(self, failure: FailureKind | None) -> Usage:
        turns = count_of((self._result or {}).get("turns"))
        return self._usage.model_copy(update={"turns": turns})

    def _event(self, event: dict[str, Any]) -> Iterator[base.Activity]:
        match event.get("type"):
            case "start":
                self._session = text_of(event.get("session")) or None
                self._model = text_of(event.get("model")) or None
                yield base.SessionStarted(self._session, self._model)
            case "say":
                yield base.TextPiece(text_of(event.get("text")))
            case "tool" | "denied":
                yield from self._read_tool(event)
            case "usage":
                self._usage = _read_usage(event)
                yield base.UsageGrew(self._usage)
            case "result":
                self._result = event

    def _read_tool(self, event: dict[str, Any]) -> Iterator[base.Activity]:
        name, action = text_of(event.get("name"), "?"), _parse_action(event.get("action"))
        detail = base.keep_end(text_of(event.get("detail")), 200)
        self._calls[action] += 1
        if event["type"] == "tool":
            self._denied_last = None
            shell = {"git": f"git {detail}", "commit": "git commit"}.get(name, detail)
            command = shell if action is ActionClass.SHELL else ""
            call = base.ToolCall(name, action, detail, command, tuple(detail.split()[:1]))
            yield call
            yield base.Ran(call, event.get("ok") is not False, exit=exit_of(event.get("exit")))
        else:
            yield self._note_denial(base.ToolCall(name, action, detail), "")

    def _judge(self, end: base.ExitInfo) -> tuple[FailureKind | None, str]:
        if ours := base.ended_for_us(end):
            return ours
        if self._result is None:
            unreadable = self._lines.unreadable == self._lines.lines
            kind = FailureKind.RUNTIME_UNREADABLE if unreadable else FailureKind.NO_ANSWER
            return kind, f"{base.how_it_ended(end)} without a result event"
        status, text = self._result.get("status"), text_of(self._result.get("text"))
        if status != "success":
            return _BY_STATUS.get(
                text_of(status), FailureKind.AGENT_FAILED
            ), text or "an error without a message"
        if end.status != 0:
            return FailureKind.AGENT_FAILED, f"{base.how_it_ended(end)} after a successful result"
        return self._judge_answer(text)


def _read_usage(event: dict[str, Any]) -> Usage:
    cost = usd_of(event.get("cost_usd"))
    return Usage(
        input_tokens=count_of(event.get("input_tokens")),
        cached_tokens=count_of(event.get("cached_tokens")),
        output_tokens=count_of(event.get("output_tokens")),
        cost_usd=cost,
        cost_source="unknown" if cost is None else "reported",
    )


def _parse_action(value: Any) -> ActionClass:
    return ActionClass(value) if value in ActionClass.__members__.values() else ActionClass.UNKNOWN


RUNTIME = base.Runtime(
    "scripted",
    base.Capabilities(
        stream=True,
        tells_ran=True,
        usage=True,
        cost=True,
        read_only_enforced=True,
        budget_limit=True,
        own=True,
        prompted=True,
    ),
    launch,
    lambda request: ScriptedParser(),
    find_enforcement,
    PROBE,
)
