"""Drives Claude's Agent SDK for one run, with PanCode's tools. Run by the Python that has the SDK."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import Any

sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from node_agent.sdk.channel import Channel

sys.path.pop()  # the SDK must not find PanCode's libraries, which are for another Python

from claude_agent_sdk import (
    AssistantMessage,
    ClaudeAgentOptions,
    ClaudeSDKClient,
    ClaudeSDKError,
    HookMatcher,
    ResultMessage,
    SdkMcpTool,
    StreamEvent,
    SystemMessage,
    TextBlock,
    ToolUseBlock,
    create_sdk_mcp_server,
)

SERVER = "pancode"
PREFIX = f"mcp__{SERVER}__"
ENV = {
    "ENABLE_TOOL_SEARCH": "false",  # otherwise the model must first search for PanCode's tools
    "MAX_MCP_OUTPUT_TOKENS": "100000",
}
"""The variables of the program that the SDK starts: PanCode itself truncates tool answers."""
TOO_OLD = (
    "this claude-agent-sdk is too old: it would interpret messages as commands; fix: pip install --upgrade "
    "'claude-agent-sdk==0.2.*'"
)
OVER = "Not done: the turn of this call is over."
_BY_SUBTYPE = {"error_max_turns": "turn_limit", "error_max_budget_usd": "usd_limit"}


def make_tool(line: Channel, form: dict[str, Any], numbers: count[int]) -> SdkMcpTool:
    """Return a PanCode tool for the SDK; its calls are checked and run at the other end of the channel."""

    async def done(given: dict[str, Any]) -> dict[str, Any]:
        if line.cancel is None:  # the SDK's program handled a cancel too late
            return {"content": [{"type": "text", "text": OVER}]}
        number, arguments = f"t{next(numbers)}", json.dumps(given)
        text = await line.ask("call", id=number, name=form["name"], arguments=arguments)
        return {"content": [{"type": "text", "text": text}]}

    return SdkMcpTool(form["name"], form["words"], form["schema"], done)


def make_guard(names: set[str]) -> Callable[..., Awaitable[dict[str, Any]]]:
    """Return a hook that allows only the tools `names`, whatever the program itself would offer or allow."""

    async def decide(call: Any, tool_use_id: Any, context: Any) -> dict[str, Any]:
        if call.get("tool_name") in {f"{PREFIX}{name}" for name in names}:
            return {}
        why = f"{call.get('tool_name')} is not a tool of this run"
        output = {
            "hookEventName": "PreToolUse",
            "permissionDecision": "deny",
            "permissionDecisionReason": why,
        }
        return {"hookSpecificOutput": output}

    return decide


def make_options(line: Channel, spec: dict[str, Any]) -> ClaudeAgentOptions:
    """Return SDK options: no tools of the program, no repository or user settings, no questions to users."""
    names, numbers = {form["name"] for form in spec["tools"]}, count(1)
    server = create_sdk_mcp_server(SERVER, tools=[make_tool(line, form, numbers) for form in spec["tools"]])
    prompt = f"{spec['file']}.prompt"
    with open(prompt, "w", encoding="utf-8") as file:
        file.write(spec["system"])
    return ClaudeAgentOptions(
        tools=[],
        allowed_tools=[f"{PREFIX}{name}" for name in names],
        system_prompt={"type": "file", "path": prompt},
        mcp_servers={SERVER: server} if names else {},
        strict_mcp_config=True,
        permission_mode="dontAsk",
        resume=spec["resume"] or None,
        # otherwise the program reads files named with @, and takes a message with a leading / as its command
        verbatim_prompts=True,
        include_partial_messages=True,
        max_turns=spec["turns"] or None,
        model=spec["model"] or None,
        cwd=spec["folder"],
        env={**ENV, "MCP_TOOL_TIMEOUT": str(spec["patience_ms"]), **spec["env"]},
        setting_sources=[],
        hooks={"PreToolUse": [HookMatcher(hooks=[make_guard(names)])]},
        effort=spec["thinks"] or None,
    )


class ClaudeTalk:
    """One running program of the SDK and its messages. `names`: PanCode's tools."""

    def __init__(self, line: Channel, client: ClaudeSDKClient, names: set[str]) -> None:
        self._line, self._client, self._names = line, client, {f"{PREFIX}{name}" for name in names}
        self._heard: asyncio.Queue[Any] = asyncio.Queue()
        self._session, self._in_pieces = "", False

    async def follow(self) -> None:
        """Receive messages until the program ends. If it ends between two turns, this process exits, to be
        restarted."""
        gone: Any = None
        try:
            async for message in self._client.receive_messages():
                self._heard.put_nowait(message)
        except Exception as exc:  # on any error, since the turn must not wait forever
            gone = exc
        if self._line.cancel is None:
            os._exit(1)
        self._heard.put_nowait(gone)

    async def turn(self, words: str) -> ResultMessage | None:
        """Run a turn; return its result. Returns None or raises an SDK exception if the program has ended."""
        self._line.cancel = lambda: asyncio.ensure_future(self._interrupt())
        try:
            await self._client.query(words)
            while (message := await self._heard.get()) is not None:
                if isinstance(message, Exception):
                    raise message
                await self._take(message)
                if isinstance(message, ResultMessage):
                    return message
            return None
        finally:
            self._line.cancel = None

    async def _interrupt(self) -> None:
        with suppress(ClaudeSDKError):  # the program has ended, and the turn with it
            await self._client.interrupt()

    async def _take(self, message: Any) -> None:
        """Report the events that a message of the program contains, during a turn."""
        line = self._line
        if isinstance(message, SystemMessage) and message.subtype == "init":
            session = message.data.get("session_id", "")
            if session != self._session:
                self._session = session
                line.tell("session", session=session, version=version("claude-agent-sdk"))
        if isinstance(message, StreamEvent):
            delta = message.event.get("delta") or {}
            if text := delta.get("text"):
                self._in_pieces = True
                line.tell("said", text=text)
        if isinstance(message, AssistantMessage):
            # the other end checks the limits at each answer: a run beyond one gets no reply
            await line.ask("asks")
        for block in message.content if isinstance(message, AssistantMessage) else ():
            if isinstance(block, TextBlock):
                if not self._in_pieces:  # text by the program itself, not streamed by the model
                    line.tell("said", text=block.text)
                self._in_pieces = False
            elif isinstance(block, ToolUseBlock) and block.name not in self._names:
                # The program reports the missing tool only to the model, so report it to the other end too.
                name, arguments = block.name.removeprefix(PREFIX), json.dumps(block.input)
                await line.ask("stray", id=block.id, name=name, arguments=arguments)


def can_resume(spec: dict[str, Any]) -> bool:
    """Whether the SDK's program can continue the session of the spec."""
    kept = Path(os.environ["CLAUDE_CONFIG_DIR"]).glob(f"projects/*/{spec['resume']}.jsonl")
    return bool(spec["resume"]) and any(kept)


async def run(line: Channel, spec: dict[str, Any]) -> None:
    """Run turn after turn; in a run without turns, report the end once the program has stored its session."""
    if not hasattr(ClaudeAgentOptions, "verbatim_prompts"):
        return line.tell("failed", failure="cannot_start", why=TOO_OLD, leaves=True)
    line.listen()
    names = {form["name"] for form in spec["tools"]}
    is_known, last = can_resume(spec), None
    if spec["talks"] and not is_known:
        spec["resume"] = ""
    async with ClaudeSDKClient(make_options(line, spec)) as client:
        line.tell("ready", remembers=is_known)
        talk = ClaudeTalk(line, client, names)
        following = asyncio.ensure_future(talk.follow())
        async for words in line.turns():
            last = await talk.turn(words)
            if not spec["talks"]:
                break
            finish(line, last)
        following.cancel()
    if not spec["talks"]:
        finish(line, last)


def finish(line: Channel, last: ResultMessage | None) -> None:
    """Report the usage and the result to the other end."""
    if last is None:
        why = "the SDK's program ended without a result"
        return line.tell("failed", failure="no_answer", why=why, leaves=True)
    used = {name: number for name, number in (last.usage or {}).items() if isinstance(number, int)}
    fresh = used.get("input_tokens", 0) + used.get("cache_creation_input_tokens", 0)
    cached, output = used.get("cache_read_input_tokens", 0), used.get("output_tokens", 0)
    if fresh + cached + output:
        line.tell("used", input=fresh, cached=cached, output=output, turns=last.num_turns)
    words = last.result or " ".join(last.errors or ()) or last.subtype
    if last.api_error_status:
        line.tell("failed", status=last.api_error_status, why=words)
    elif last.is_error or last.subtype != "success":
        line.tell("failed", failure=_find_kind(last, words), why=words)
    else:
        line.tell("done", result=last.result or "")


def _find_kind(last: ResultMessage, words: str) -> str:
    if words.startswith(("Not logged in", "Invalid API key")):
        return "model_auth"
    api = last.terminal_reason == "api_error" and last.stop_reason != "refusal"
    return _BY_SUBTYPE.get(last.subtype, "model_failed" if api else "agent_failed")


def main() -> None:
    """Run until the result is reported; the program at the other end then ends this process."""
    line = Channel()
    try:
        asyncio.run(run(line, line.first()))
    except ClaudeSDKError as exc:
        line.tell("failed", failure="agent_failed", why=f"{type(exc).__name__}: {exc}", leaves=True)
    os._exit(0)


if __name__ == "__main__":
    main()
