"""The one place that knows the agent library: asks a model server, always streamed, and says what came.

Another library, or a client of our own, has to do what `Model.ask` does and no more.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from openai import AsyncOpenAI
from pydantic_ai.direct import model_request_stream
from pydantic_ai.exceptions import (
    AgentRunError,
    ModelAPIError,
    ModelConnectionError,
    ModelContextWindowExceededError,
    ModelHTTPError,
)
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    PartDeltaEvent,
    PartStartEvent,
    SystemPromptPart,
    TextPart,
    TextPartDelta,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models import ModelRequestParameters, StreamedResponse
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIChatModelSettings
from pydantic_ai.profiles.openai import OpenAIModelProfile
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.tools import ToolDefinition

from node_agent.native.talk import Answer, Answered, Asked, Call, Tokens, Told, ToolForm, Turn
from node_agent.wire.sampling import Sampling

CONNECT_S, FIRST_S, BETWEEN_S = 10.0, 600.0, 120.0
"""To the server; to the first piece, which takes minutes where a weak machine reads a long prompt; between
two pieces. A socket's own time-out would not do: servers keep a dead stream open with comments."""
_ROOM = re.compile(r"n_ctx\D{1,4}(\d+)|context (?:length|window|size)\D{1,40}?(\d{3,})", re.IGNORECASE)
_TOO_LONG = ("exceed_context_size", "context_length_exceeded", "maximum context length", "context size")


class Trouble(Exception):
    """The server gave no answer. `status`: HTTP, if there was one; `passing`: it may be asked again.

    `too_long`: the prompt did not fit, and `room` is what the server says that it has.
    """

    def __init__(self, why: str, status: int | None = None, *, passing: bool = False) -> None:
        super().__init__(why)
        self.status, self.passing = status, passing
        self.retry_after: float | None = None
        self.too_long = False
        self.room: int | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """One call of the model. `until_s`: the most that it may take in all. `thinks`: how hard, if said."""

    system: str
    turns: Sequence[Turn]
    tools: Sequence[ToolForm]
    max_tokens: int
    until_s: float
    thinks: str = ""


class Model:
    """One model on one server. Not for threads; `said` gets each piece of text as it comes."""

    def __init__(self, name: str, url: str, key: str, said: Callable[[str], None], public: bool) -> None:
        """`public`: the vendor OpenAI itself, whose newest models want the limit under another name."""
        self._said = said
        self.sampling: Sampling | None = None
        """How it chooses its words; None: as its server has it."""
        self._client = AsyncOpenAI(base_url=url, api_key=key or "none", max_retries=0, timeout=FIRST_S)
        profile = OpenAIModelProfile(
            openai_supports_strict_tool_definition=False,
            openai_chat_send_back_thinking_parts=False,
            openai_chat_streaming_requires_finish_reason=True,
            openai_chat_supports_max_completion_tokens=public,
        )
        self._model = OpenAIChatModel(
            name, provider=OpenAIProvider(openai_client=self._client), profile=profile
        )
        self._runner = asyncio.Runner()

    def ask(self, question: Question) -> Answer:
        """Raises Trouble and nothing else that a server can cause."""
        try:
            return self._runner.run(self._ask(question))
        except ModelAPIError as exc:
            raise _trouble(exc) from exc
        except AgentRunError as exc:
            raise Trouble(f"the answer could not be read: {exc}", passing=True) from exc
        except TimeoutError as exc:
            raise Trouble(str(exc) or "no answer in time", passing=True) from exc

    def close(self) -> None:
        """Let go of connections. A process that ends has no need of it."""
        self._runner.run(self._client.close())
        self._runner.close()

    async def _ask(self, question: Question) -> Answer:
        asked = ModelRequestParameters(
            function_tools=[
                ToolDefinition(name=one.name, description=one.words, parameters_json_schema=one.schema)
                for one in question.tools
            ]
        )
        settings = settings_of(question, self.sampling)
        async with asyncio.timeout(max(question.until_s, 1.0)):
            stream = model_request_stream(
                self._model, _messages(question), model_settings=settings, model_request_parameters=asked
            )
            async with asyncio.timeout(FIRST_S) as waiting, stream as heard:
                await self._hear(heard, waiting)
                return _answer(heard)

    async def _hear(self, heard: StreamedResponse, waiting: asyncio.Timeout) -> None:
        async for event in heard:
            waiting.reschedule(asyncio.get_running_loop().time() + BETWEEN_S)
            if isinstance(event, PartStartEvent) and isinstance(event.part, TextPart):
                self._said(event.part.content)
            elif isinstance(event, PartDeltaEvent) and isinstance(event.delta, TextPartDelta):
                self._said(event.delta.content_delta)


def settings_of(question: Question, sampling: Sampling | None) -> OpenAIChatModelSettings:
    """Of one call. What is no field of OpenAI's wire, or no word that the library knows, goes beside them."""
    made = OpenAIChatModelSettings(timeout=max(question.until_s, 1.0), max_tokens=question.max_tokens)
    beside: dict[str, object] = {"reasoning_effort": question.thinks} if question.thinks else {}
    if sampling is not None:
        _sample(made, sampling)
        if sampling.top_k is not None:
            beside["top_k"] = sampling.top_k
    if beside:
        made["extra_body"] = beside
    return made


def _sample(made: OpenAIChatModelSettings, sampling: Sampling) -> None:
    if sampling.temperature is not None:
        made["temperature"] = float(sampling.temperature)
    if sampling.top_p is not None:
        made["top_p"] = float(sampling.top_p)
    if sampling.presence_penalty is not None:
        made["presence_penalty"] = float(sampling.presence_penalty)


def _messages(question: Question) -> list[ModelMessage]:
    out: list[ModelMessage] = [ModelRequest(parts=[SystemPromptPart(question.system)])]
    for turn in question.turns:
        match turn:
            case Asked(text):
                out.append(ModelRequest(parts=[UserPromptPart(text)]))
            case Answered(text, calls):
                said: list[Any] = [TextPart(text)] if text else []
                said += [ToolCallPart(one.name, one.arguments, one.id) for one in calls]
                out.append(ModelResponse(parts=said))
            case Told(results):
                told = [ToolReturnPart(one.name, one.text, one.id) for one in results]
                out.append(ModelRequest(parts=told))
    return out


def _answer(heard: StreamedResponse) -> Answer:
    response = heard.get()
    calls = [
        Call(part.tool_call_id, part.tool_name, part.args_as_json_str())
        for part in response.parts
        if isinstance(part, ToolCallPart)
    ]
    used = response.usage
    cached = used.cache_read_tokens
    tokens = Tokens(max(used.input_tokens - cached, 0), cached, used.output_tokens, used.input_tokens > 0)
    text = "".join(part.content for part in response.parts if isinstance(part, TextPart))
    return Answer(text, tuple(calls), str(response.finish_reason), tokens, response.model_name or "")


def _trouble(exc: ModelAPIError) -> Trouble:
    status = exc.status_code if isinstance(exc, ModelHTTPError) else None
    words = _words(exc)
    passing = isinstance(exc, ModelConnectionError) or status is None or status == 429 or status >= 500
    made = Trouble(words, status, passing=passing)
    made.retry_after = exc.retry_after
    made.too_long = isinstance(exc, ModelContextWindowExceededError) or (
        status in (400, 413) and any(mark in f"{exc.body}{words}" for mark in _TOO_LONG)
    )
    if made.too_long and (found := _ROOM.search(f"{exc.body} {words}")):
        made.room = int(found[1] or found[2])
    return made


def _words(exc: ModelAPIError) -> str:
    """The server's own, where it has some."""
    body = exc.body
    inner = body.get("error", body) if isinstance(body, dict) else body
    said = inner.get("message") if isinstance(inner, dict) else inner
    return str(said or exc)[:500]
