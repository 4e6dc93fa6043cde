"""Transcripts of the real agent programs, one folder per runtime, and how they are fed to its parser."""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from node_agent.runtimes.base import ExitInfo, LaunchRequest, RuntimeVerdict
from node_agent.runtimes.registry import RUNTIMES
from node_agent.wire.failure import FailureKind
from node_agent.wire.policy import ActionClass, Mode, Safety
from tests.unit.node_agent.runtimes.asked import ask

GOLDEN = Path(__file__).parent / "golden"
RECORDED = sorted(path.name for path in GOLDEN.iterdir() if path.name in RUNTIMES)


@dataclass(frozen=True)
class Case:
    """What must come out. `tokens`: input, cached, output; `usd` None: unknown; `answer`: how it begins."""

    failure: FailureKind | None
    tokens: tuple[int, int, int]
    usd: str | None
    turns: int
    answer: str = ""
    calls: tuple[ActionClass, ...] = ()
    denied: tuple[str, ...] = ()

    def check(self, told: RuntimeVerdict) -> None:
        usage = told.usage
        assert told.failure is self.failure, told.reason
        assert (usage.input_tokens, usage.cached_tokens, usage.output_tokens) == self.tokens
        assert usage.cost_usd == (None if self.usd is None else Decimal(self.usd))
        assert (usage.cost_source == "unknown") is (self.usd is None)
        assert usage.turns == self.turns
        assert told.answer.startswith(self.answer)
        assert sorted(told.tool_calls) == sorted(self.calls)
        assert tuple(denial.tool for denial in told.denials) == self.denied


def cases(runtime: str) -> list[str]:
    return sorted(path.stem for path in (GOLDEN / runtime).glob("*.stdout"))


def output(runtime: str, case: str) -> bytes:
    return (GOLDEN / runtime / f"{case}.stdout").read_bytes()


def ending(runtime: str, case: str) -> ExitInfo:
    status = int((GOLDEN / runtime / f"{case}.exit").read_text())
    return ExitInfo(status=status) if status >= 0 else ExitInfo(signal=-status)


def command(runtime: str, case: str) -> dict[str, Any]:
    """How it was started: argv, env, files, stdin, and the level that was asked for."""
    told: dict[str, Any] = json.loads((GOLDEN / runtime / f"{case}.cmd.json").read_text())
    return told


def asked_for(recorded: dict[str, Any], model: str) -> LaunchRequest:
    """The request that a recorded command line answers."""
    return ask(
        task=recorded["stdin"].rstrip("\n"),
        model=model,
        mode=Mode.BUILD,
        safety=Safety(recorded["safety"]),
        read_only=recorded["readonly"],
        workspace="$WORK",
        home="$HOME",
    )


def feed(
    runtime: str, data: bytes, end: ExitInfo, cuts: list[int] | None = None, **asked: Any
) -> RuntimeVerdict:
    """What the runtime's parser makes of this output, cut into chunks at these places."""
    parser = RUNTIMES[runtime].parser(ask(**asked))
    marks = [0, *(cuts or []), len(data)]
    for a, b in zip(marks, marks[1:], strict=False):
        parser.feed(data[a:b])
    return parser.finish(end)


def verdict(runtime: str, case: str) -> RuntimeVerdict:
    return feed(runtime, output(runtime, case), ending(runtime, case))


def line(**event: object) -> bytes:
    """One event of a stream."""
    return json.dumps(event).encode() + b"\n"
