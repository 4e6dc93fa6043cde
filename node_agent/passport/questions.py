"""The questions of a model test, each with a limit, and the evaluation of the answers. Pure. The text in
double brackets identifies the question in a server's log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from node_agent.chat.dialect import Trouble
from node_agent.chat.messages import Call
from node_agent.chat.stream import Stream
from node_agent.wire.endpoint import (
    CheckFact,
    Dialect,
    EndpointFact,
    ExamCheck,
    Grade,
    ModelFact,
    advise_widen,
)

ANSWER, CONTEXT, TOOL = "passport-answer", "passport-context", "passport-tool"
ENOUGH = 500
"""The maximum number of tokens of an answer: some models reason before they call a tool."""
TRIES = 3
NEEDLE_WORDS = 6_000
"""The words of a long prompt: more than the 4,096 tokens at which some servers silently cut prompts."""
LEAST_CONTEXT = 16_384
"""The tokens that a coding agent needs: half for its own prompt and tools, the rest for a few files."""
WANTED_CONTEXT = 32_768
CUT_BELOW = 0.8
"""The share of a prompt's words: a server that counts fewer tokens has cut the prompt."""
NO_TIME, LATE = "not tested: the time limit was reached", "no answer within the time limit"
_FILLER = "the quick brown fox jumps over the lazy dog near the old stone bridge today and then rests".split()
_PART = 500
_CALL_MARKS = ("<tool_call", "<function", '"name"', "[TOOL_CALLS]", "<|tool")

PING, PING_VALUE = "ping", "ok"

Body = dict[str, Any]


# -- answers


@dataclass(frozen=True, slots=True)
class Reply:
    """A server's reply. `error` with `status` 200: the reply broke off with that message. `late`: the time
    limit came before its end.

    `prompt_tokens`, `tokens`: as counted by the server. `first_ms`: the time to the first token.
    """

    status: int = 200
    error: str = ""
    late: bool = False
    text: str = ""
    thought: bool = False
    calls: tuple[Call, ...] = ()
    finish: str = ""
    prompt_tokens: int | None = None
    tokens: int | None = None
    ctx: int | None = None
    """The context limit that a refusal of a long prompt names."""
    first_ms: int | None = None

    @property
    def well(self) -> bool:
        return self.status == 200 and not self.error and not self.late

    def call(self, name: str) -> Call | None:
        """Return the first call of that tool; None if there is none, or if the answer was cut off, because
        the call may be incomplete."""
        if not self.well or self.finish == "length":
            return None
        return next((one for one in self.calls if one.name == name), None)


class Timed:
    """A stream, and the arrival time of its first token."""

    def __init__(self) -> None:
        self._stream = Stream()
        self._first_ms: int | None = None

    def take(self, event: str, at_ms: int) -> None:
        """Process an event of the stream. `at_ms`: the time since the question was sent."""
        self._stream.take(event)
        if self._stream.has_grown and self._first_ms is None:
            self._first_ms = at_ms

    def reply(self, late: bool = False, trouble: Trouble | None = None) -> Reply:
        """Return the reply so far. `late`: the time limit ended it; `trouble`: the error that ended it."""
        stream = self._stream
        return Reply(
            status=200 if trouble is None else trouble.status or 200,
            error=stream.error or ("" if trouble is None else str(trouble)),
            late=late,
            text=stream.text,
            thought=stream.thought,
            calls=stream.calls,
            finish=stream.finish,
            prompt_tokens=stream.prompt_tokens,
            tokens=stream.tokens,
            ctx=None if trouble is None else trouble.room,
            first_ms=self._first_ms,
        )


def make_passed(check: ExamCheck, words: str) -> CheckFact:
    return CheckFact(check=check, grade=Grade.PASSED, words=words[:300])


def make_failed(check: ExamCheck, words: str, fix: str) -> CheckFact:
    return CheckFact(check=check, grade=Grade.FAILED, words=words[:300], fix=fix[:300])


def make_unknown(check: ExamCheck, words: str) -> CheckFact:
    return CheckFact(check=check, grade=Grade.UNKNOWN, words=words[:300])


# -- does it answer?


def ask_token(model: str) -> Body:
    """Return the request for a single token."""
    return _make_body(model, [_make_user_message(f"[[{ANSWER}]] Say hello.")], 1)


def check_answer(endpoint: EndpointFact, reply: Reply, waited_s: int) -> CheckFact:
    """Return the check whether the server answers; any token counts as an answer."""
    fix = f"check the server's log, restart it at {endpoint.at}, then: pancode models test --again"
    if reply.late:
        return make_failed(ExamCheck.ANSWERS, f"the model sent no token within {waited_s} s", fix)
    if not reply.well:
        return make_failed(ExamCheck.ANSWERS, f"{reply.status}: {reply.error}", fix)
    if reply.first_ms is None and not reply.tokens:
        return make_failed(ExamCheck.ANSWERS, "its answer was empty", fix)
    after = f" after {reply.first_ms / 1000:.1f} s" if reply.first_ms is not None else ""
    return make_passed(ExamCheck.ANSWERS, f"first token{after}")


# -- how long a prompt can it read?


def too_long(model: str, tokens: int) -> Body:
    """Return a request with more than `tokens` tokens in any tokenizer: a word is at least one token."""
    return _make_body(model, [_make_user_message(f"[[{CONTEXT}]] {_make_words(tokens + 64)}")], 1)


def ask_needle(model: str, secret: str, words: int = NEEDLE_WORDS) -> Body:
    """Return a request for a number at the start of a long prompt. No prompt is used twice."""
    parts = [_make_user_message(f"[[{CONTEXT}]] Remember this number: {secret}.")]
    for number in range(words // _PART):
        parts.append(_make_user_message(f"Note {number}: {_make_words(_PART)}."))
        parts.append({"role": "assistant", "content": "Noted."})
    parts.append(_make_user_message("Which number were you to remember? Answer with the number only."))
    return _make_body(model, parts, ENOUGH)


def context_fix(endpoint: EndpointFact, model: ModelFact) -> str:
    """Return how to give the server a larger context or, if the model allows no larger one, another model."""
    return advise_widen(endpoint, model, LEAST_CONTEXT, WANTED_CONTEXT)


def stated_context(endpoint: EndpointFact, model: ModelFact, ctx: int | None) -> CheckFact | None:
    """Return a failed check if the context that the server states is too small; otherwise None."""
    if ctx is None or ctx >= LEAST_CONTEXT:
        return None
    words = f"a call gets {ctx} tokens, but a coding agent needs {LEAST_CONTEXT}"
    return make_failed(ExamCheck.CONTEXT, words, context_fix(endpoint, model))


def refused_context(endpoint: EndpointFact, model: ModelFact, reply: Reply) -> CheckFact | None:
    """Return the check from the limit that the refusal of a prompt names; None if it names none."""
    if reply.ctx is None:
        return None
    good = make_passed(ExamCheck.CONTEXT, f"the context has {reply.ctx} tokens; longer prompts are refused")
    return stated_context(endpoint, model, reply.ctx) or good


def read_context(
    endpoint: EndpointFact, model: ModelFact, reply: Reply, words: int, secret: str | None
) -> CheckFact:
    """Return the check from how much of a long prompt was read, as shown by the counted tokens or by the
    number that the model had to find."""
    check, counted, stated = ExamCheck.CONTEXT, reply.prompt_tokens, model.ctx_usable
    if reply.late:
        return make_unknown(check, f"reading a prompt of over {words} tokens exceeded the time limit")
    if reply.status in (400, 413) and words < LEAST_CONTEXT:
        refusal = f"the server refuses a prompt of over {words} tokens: {reply.error}"
        return make_failed(check, refusal, context_fix(endpoint, model))
    if not reply.well:
        return make_unknown(check, f"{reply.status}: {reply.error}")
    if counted is not None and counted < CUT_BELOW * words:
        cut = f"a prompt of over {words} tokens was silently cut to {counted}"
        return make_failed(check, cut, context_fix(endpoint, model))
    if counted is None and (secret is None or secret not in reply.text):
        return make_unknown(
            check, "the server does not count prompt tokens, and the model did not find the number"
        )
    if stated is None:
        return make_unknown(check, f"over {words} tokens were read; the server does not report its limit")
    return make_passed(
        check, f"{stated} tokens according to the server; a prompt of over {words} was read completely"
    )


# -- does it call tools?


def ask_call(model: str, attempt: int) -> Body:
    """Return a request that requires a tool call. The first try has temperature 0; later tries vary it."""
    text = f'[[{TOOL}]] Call the tool {PING} with x set to "{PING_VALUE}". Do nothing else.'
    field = {"type": "string", "description": "what to answer with"}
    schema = {"type": "object", "properties": {"x": field}, "required": ["x"], "additionalProperties": False}
    function = {"name": PING, "description": "Answers with what it was given.", "parameters": schema}
    made = _make_body(model, [_make_user_message(text)], ENOUGH, 0 if attempt == 0 else 0.4)
    return {**made, "tools": [{"type": "function", "function": function}], "tool_choice": "auto"}


def is_call_correct(reply: Reply) -> bool:
    call = reply.call(PING)
    return call is not None and call.fields == {"x": PING_VALUE}


def check_calls(endpoint: EndpointFact, model: ModelFact, replies: Sequence[Reply]) -> CheckFact:
    """Return the check whether the model calls tools: one correct call in a few tries is enough."""
    if any(map(is_call_correct, replies)):
        tries = f", at try {len(replies)}" if len(replies) > 1 else ""
        return make_passed(ExamCheck.TOOLS, f"called a tool with valid arguments{tries}")
    if all(reply.late for reply in replies):
        return make_unknown(ExamCheck.TOOLS, LATE if replies else NO_TIME)
    return make_failed(ExamCheck.TOOLS, _why_no_call(replies[-1]), tools_fix(endpoint, model))


def stated_no_tools(endpoint: EndpointFact, model: ModelFact) -> CheckFact | None:
    """Return a failed check if the server states that the model has no tools; otherwise None."""
    if model.tools is not False or endpoint.dialect not in (Dialect.LLAMACPP, Dialect.OLLAMA):
        return None
    words = "the server reports that the model's chat template does not support tools"
    return make_failed(ExamCheck.TOOLS, words, tools_fix(endpoint, model))


def tools_fix(endpoint: EndpointFact, model: ModelFact) -> str:
    """Return the fix: most models without calls cannot make any; some servers need an option for calls."""
    another = "use a model that supports tool calls"
    match endpoint.dialect:
        case Dialect.OLLAMA:
            return f"{another}, such as qwen3-coder or another one for which `ollama show MODEL` lists tools"
        case Dialect.LLAMACPP:
            return f"start llama-server with --jinja and a chat template that supports tools, or {another}"
        case Dialect.LMSTUDIO:
            return f"{another}: one with the hammer icon in LM Studio's list"
        case Dialect.VLLM:
            return f"start vLLM with --enable-auto-tool-choice and --tool-call-parser PARSER, or {another}"
        case Dialect.SGLANG:
            return f"start SGLang with --tool-call-parser PARSER, or {another}"
        case Dialect.OPENAI:
            return another


def _why_no_call(last: Reply) -> str:
    """Return the reason why the last try failed."""
    if last.late:
        return LATE
    if not last.well:
        what = "its answer ended early" if last.status == 200 else "the server refused the tool"
        return f"{what}: {last.error}"
    if last.finish == "length":
        return "it reached its token limit without a tool call"
    if any(call.fields is None for call in last.calls):
        return "the arguments of its call are not JSON"
    if last.calls:
        called = last.calls[0].name
        wrong = (
            "with other arguments than requested"
            if called == PING
            else "which is not one of the offered tools"
        )
        return f"it called {called[:60]!r}, {wrong}"
    if any(mark in last.text for mark in _CALL_MARKS) or PING in last.text:
        return "it wrote the call as plain text, which programs do not recognize"
    return "it called no tool"


def _make_body(model: str, messages: list[dict[str, str]], most: int, temperature: float = 0) -> Body:
    return {
        "model": model,
        "messages": messages,
        "max_tokens": most,
        "temperature": temperature,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def _make_user_message(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def _make_words(count: int) -> str:
    return " ".join(_FILLER[number % len(_FILLER)] for number in range(count))
