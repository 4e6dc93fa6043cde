"""The driver of Claude's Agent SDK, with stand-ins for the SDK's own names."""

from __future__ import annotations

import asyncio
import runpy
import sys
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from node_agent.machine.programs import PACKAGE
from node_agent.sdk.program import _make_first_event
from node_agent.wire.identity import ApprovalChannel, AttemptId
from node_agent.wire.policy import Safety
from tests.unit.node_agent.native.tree_of import spec_of

DAY_MS = 86_400_000
WHO = AttemptId(run="r-0001", attempt=1, lease=1)


class Names(ModuleType):
    """Every name of the SDK keeps what it is called with."""

    def __getattr__(self, name: str) -> Any:
        return type(name, (dict,), {"__init__": lambda self, *given, **named: dict.__init__(self, **named)})


class Line:
    """The driver's end of the channel, with nobody at the other one."""

    def __init__(self) -> None:
        self.cancel: Any = None
        self.asked: list[str] = []
        self.told: list[dict[str, Any]] = []

    def tell(self, kind: str, **fields: Any) -> None:
        self.told.append({"kind": kind, **fields})

    async def ask(self, kind: str, **fields: Any) -> str:
        self.asked.append(fields["name"])
        return "done"


def test_an_sdk_that_would_read_what_words_name_is_not_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "claude_agent_sdk", Names("claude_agent_sdk"))
    made, line = runpy.run_path(f"{PACKAGE}/sdk/claude_sdk.py"), Line()
    asyncio.run(made["run"](line, {}))
    (told,) = line.told
    assert (told["failure"], told["leaves"]) == ("cannot_start", True) and "pip install" in told["why"]


def test_a_call_outside_of_a_turn_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    sdk = Names("claude_agent_sdk")
    sdk.SdkMcpTool = lambda name, words, schema, done: done  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "claude_agent_sdk", sdk)
    made, line = runpy.run_path(f"{PACKAGE}/sdk/claude_sdk.py"), Line()
    done = made["make_tool"](line, {"name": "bash", "words": "", "schema": {}}, count(1))
    (late,) = asyncio.run(done({"command": "true"}))["content"]
    assert late["text"] == made["OVER"] and line.asked == []
    line.cancel = print
    (text,) = asyncio.run(done({"command": "true"}))["content"]
    assert text["text"] == "done" and line.asked == ["bash"]


def test_its_program_waits_for_a_call_as_long_as_a_user_may_take(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "claude_agent_sdk", Names("claude_agent_sdk"))
    options = runpy.run_path(f"{PACKAGE}/sdk/claude_sdk.py")["make_options"]
    desk = ApprovalChannel(home="/h", identity=WHO, key="k", wait_ms=3 * DAY_MS)
    spec = spec_of(Path("/srv/top"), Safety.FULL_AUTO).model_copy(
        update={"home": str(tmp_path), "desk": desk}
    )
    env = options(None, _make_first_event(spec, [], "the system", 1_000))["env"]
    assert int(env["MCP_TOOL_TIMEOUT"]) > 3 * DAY_MS
