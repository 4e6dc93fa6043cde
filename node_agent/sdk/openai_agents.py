"""Drives OpenAI's Agents SDK for one run: its loop with PanCode's tools. Run by the Python with the SDK."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from node_agent.sdk.channel import Channel

sys.path.pop()  # the SDK must not find PanCode's libraries, which are for another Python

from agents import (
    Agent,
    FunctionTool,
    Model,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    RunConfig,
    RunHooks,
    Runner,
    ToolExecutionConfig,
    set_tracing_disabled,
)
from agents.exceptions import AgentsException
from openai import APIStatusError, AsyncOpenAI
from openai.types.shared import Reasoning

EARLY = "[this turn ended early]"
RETRIES, MOST_WAIT_S = 2, 600.0
"""The client retries calls that may succeed later; a slow server may take minutes to read a long prompt."""


class NotWhole(Exception):
    """Raised when the model's answer is incomplete; the text gives the reason. `kind`: the failure kind."""

    def __init__(self, kind: str, why: str) -> None:
        super().__init__(why)
        self.kind = kind


def tell_used(line: Channel, read: int, details: Any, wrote: int) -> None:
    """Report one answer's token usage. `details`: of its input tokens; self-hosted servers may omit them."""
    cached = getattr(details, "cached_tokens", None) or 0
    line.tell("used", input=max(read - cached, 0), cached=cached, output=wrote)


class Whole:
    """A chat API stream that must be complete; else the SDK would run the tool calls of a broken answer."""

    def __init__(self, stream: Any, line: Channel) -> None:
        self._stream, self._line = stream, line

    async def __aiter__(self) -> AsyncIterator[Any]:
        finish = used = None
        async for chunk in self._stream:
            used = chunk.usage or used
            for choice in chunk.choices:
                finish = choice.finish_reason or finish
            yield chunk
        if finish in ("length", "content_filter") and used is not None:
            tell_used(self._line, used.prompt_tokens, used.prompt_tokens_details, used.completion_tokens)
        if finish is None:
            raise NotWhole("model_failed", "the connection to the model server was lost during an answer")
        if finish == "length":
            raise NotWhole(
                "agent_failed", "the model's answer was cut off, so none of its tool calls was run"
            )
        if finish == "content_filter":
            raise NotWhole("agent_failed", "the model declined to answer (content filter)")

    async def aclose(self) -> None:
        await self._stream.close()


class Talk:
    """The SDK's session, in a file of the run's home. A full disk loses the session, but not the run."""

    session_settings = None

    def __init__(self, file: str, resume: str, fresh: str) -> None:
        self._file = Path(file)
        self.session_id, self._items = _load_session(self._file, resume, fresh)
        self._before = 0

    @property
    def remembers(self) -> bool:
        return bool(self._items)

    def begin(self) -> None:
        """Record the position in the session at which the turn's items begin."""
        self._before = len(self._items)

    def close(self, words: str, text: str) -> None:
        """Complete a turn that ended early: append the model's text, and give each tool call a result."""
        items = self._items
        if len(items) == self._before:
            items.append({"role": "user", "content": words})
        done = {one.get("call_id") for one in items if one.get("type") == "function_call_output"}
        begun = [one["call_id"] for one in items if one.get("type") == "function_call"]
        results = [call for call in begun if call not in done]
        while items[-1].get("type") == "reasoning":  # servers require an item after a reasoning item
            items.pop()
        items += [{"type": "function_call_output", "call_id": one, "output": EARLY} for one in results]
        items.append({"role": "assistant", "content": f"{text}\n{EARLY}".lstrip()})
        self._save()

    async def get_items(self, limit: int | None = None) -> list[Any]:
        return self._items if limit is None else self._items[-limit:] if limit else []

    async def add_items(self, items: list[Any]) -> None:
        self._items += items
        self._save()

    async def pop_item(self) -> Any:
        item = self._items.pop() if self._items else None
        self._save()
        return item

    async def clear_session(self) -> None:
        self._items.clear()
        self._save()

    def _save(self) -> None:
        new = self._file.with_suffix(".new")
        try:
            with new.open("w") as file:
                json.dump({"session": self.session_id, "items": self._items}, file)
                file.flush()
                os.fsync(file.fileno())  # so that the session of an interactive run survives a power failure
            new.replace(self._file)
        except OSError as exc:
            sys.stderr.write(f"the session could not be stored: {exc}\n")


def _load_session(file: Path, resume: str, fresh: str) -> tuple[str, list[Any]]:
    """Return the id and items of the session to continue; if unreadable, of a new one with the id `fresh`."""
    if not resume:
        return fresh, []
    try:
        kept = json.loads(file.read_bytes())
        return (resume, list(kept["items"])) if kept["session"] == resume else (fresh, [])
    except (OSError, ValueError, KeyError, TypeError) as exc:
        sys.stderr.write(f"session {resume} cannot be continued: {exc}\n")
        return fresh, []


class ModelHooks(RunHooks):
    """Reports the events between model calls to the other end. `names`: the existing tools."""

    def __init__(self, line: Channel, names: set[str]) -> None:
        self._line, self._names = line, names

    async def on_llm_start(self, *given: Any, **more: Any) -> None:
        """Check the run's limits before each model call: the other end does not reply to a run beyond one."""
        await self._line.ask("asks")

    async def on_llm_end(self, context: Any, agent: Any, response: Any) -> None:
        used = response.usage
        tell_used(self._line, used.input_tokens, used.input_tokens_details, used.output_tokens)
        for item in response.output:
            if getattr(item, "type", "") == "function_call" and item.name not in self._names:
                # The SDK reports the missing tool only to the model, so report it to the other end too.
                await self._line.ask("stray", id=item.call_id, name=item.name, arguments=item.arguments)


def make_tool(line: Channel, form: dict[str, Any]) -> FunctionTool:
    """Return a PanCode tool for the SDK; its calls are checked and run at the other end of the channel."""

    async def done(context: Any, arguments: str) -> str:
        return await line.ask("call", id=context.tool_call_id, name=form["name"], arguments=arguments)

    return FunctionTool(form["name"], form["words"], form["schema"], done, strict_json_schema=False)


def make_model(line: Channel, spec: dict[str, Any]) -> Model:
    """Return the model client: the Responses API for OpenAI's own servers, the chat API for all others."""
    client = AsyncOpenAI(
        base_url=spec["url"], api_key=spec["key"] or "none", max_retries=RETRIES, timeout=MOST_WAIT_S
    )
    if spec["newest"]:
        return OpenAIResponsesModel(spec["model"], client)
    plain = client.chat.completions.create

    async def create(**call: Any) -> Any:
        return Whole(await plain(**call), line)

    client.chat.completions.create = create  # type: ignore[method-assign, assignment]
    return OpenAIChatCompletionsModel(spec["model"], client)


def make_settings(spec: dict[str, Any]) -> ModelSettings:
    """Return the model settings: the vendor stores nothing, so the client sends reasoning items back."""
    thinks = Reasoning(effort=spec["thinks"]) if spec["thinks"] else None
    if spec["newest"]:
        kept = ["reasoning.encrypted_content"]
        return ModelSettings(
            max_tokens=spec["max_tokens"], reasoning=thinks, store=False, response_include=kept
        )
    return ModelSettings(max_tokens=spec["max_tokens"], reasoning=thinks, include_usage=True)


async def run(line: Channel, spec: dict[str, Any]) -> None:
    """Run turn after turn until the other end sends no more."""
    line.listen()
    set_tracing_disabled(True)
    talk = Talk(spec["file"], spec["resume"], spec["fresh"])
    line.tell("session", session=talk.session_id, version=version("openai-agents"))
    line.tell("ready", remembers=talk.remembers)
    names = {form["name"] for form in spec["tools"]}
    agent = Agent(
        name="agent",
        instructions=spec["system"],
        model=make_model(line, spec),
        model_settings=make_settings(spec),
        tools=[make_tool(line, form) for form in spec["tools"]],
    )
    async for words in line.turns():
        line.tell(**await turn(line, talk, agent, ModelHooks(line, names), words))


async def turn(line: Channel, talk: Talk, agent: Agent, hooks: RunHooks, words: str) -> dict[str, Any]:
    """Run a turn and return its result; the other end may cancel the turn."""
    config = RunConfig(
        tracing_disabled=True,
        tool_not_found_behavior="return_error_to_model",
        tool_execution=ToolExecutionConfig(max_function_tool_concurrency=1),
    )
    texts, end = [], {"kind": "failed", "failure": "agent_failed", "why": EARLY}
    talk.begin()
    result = Runner.run_streamed(agent, words, max_turns=None, hooks=hooks, run_config=config, session=talk)
    line.cancel = result.cancel
    try:
        async for event in result.stream_events():
            if event.type == "raw_response_event" and event.data.type == "response.output_text.delta":
                texts.append(event.data.delta)
                line.tell("said", text=event.data.delta)
        if result.final_output is not None:
            return {"kind": "done", "result": str(result.final_output)}
    except APIStatusError as exc:
        end = {"kind": "failed", "status": exc.status_code, "why": str(exc)}
    except NotWhole as exc:
        end["failure"], end["why"] = exc.kind, str(exc)
    except AgentsException as exc:
        end["why"] = f"{type(exc).__name__}: {exc}"
    except Exception as exc:  # the client and its transport raise many kinds of exceptions
        end["failure"], end["why"] = "model_failed", f"{type(exc).__name__}: {exc}"
    finally:
        line.cancel = None
    talk.close(words, "".join(texts))
    return end


def main() -> None:
    """Run until the other end ends this process or sends no more turns."""
    line = Channel()
    asyncio.run(run(line, line.first()))
    os._exit(0)


if __name__ == "__main__":
    main()
