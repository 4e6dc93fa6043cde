"""The questions of a model test, each with a limit, and the evaluation of the answers. Pure. The text in
double brackets identifies the question in a server's log."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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

ANSWER, CONTEXT, TOOL, EDIT = "passport-answer", "passport-context", "passport-tool", "passport-edit"
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
_SPEED_TOKENS = 5
"""The minimum number of tokens from which a speed is computed."""
_CALL_MARKS = ("<tool_call", "<function", '"name"', "[TOOL_CALLS]", "<|tool")

PING, PING_VALUE = "ping", "ok"
FILE_NAME = "greet.py"
FILE_TEXT = '''def greet(name):
    """Say hello."""
    greeting = "Hello"
    return f"{greeting}, {name}!"


def part(name):
    return f"Goodbye, {name}!"
'''
OLD_WORD, NEW_WORD = '"Hello"', '"Welcome"'

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
    tok_s: float | None = None
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
    """A stream, and the arrival times of its tokens."""

    def __init__(self) -> None:
        self._stream = Stream()
        self._first_ms: int | None = None
        self._last_ms = 0

    def take(self, event: str, at_ms: int) -> None:
        """Process an event of the stream. `at_ms`: the time since the question was sent."""
        self._stream.take(event)
        if self._stream.has_grown:
            self._first_ms = at_ms if self._first_ms is None else self._first_ms
            self._last_ms = at_ms

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
            tok_s=self._compute_speed(),
            ctx=None if trouble is None else trouble.room,
            first_ms=self._first_ms,
        )

    def _compute_speed(self) -> float | None:
        """Return the speed that the server reports, or else the speed between the first and the last
        token."""
        tokens, stated = self._stream.tokens, self._stream.stated_speed
        if tokens is None or tokens < _SPEED_TOKENS:
            return None
        if stated is not None and 0 < stated < 1e7:
            return round(stated, 1)
        ms = self._last_ms - (self._first_ms or 0)
        return round((tokens - 1) * 1000 / ms, 1) if self._first_ms is not None and ms > 0 else None


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


# -- does it call tools, and edit files?


@dataclass(frozen=True, slots=True)
class CallQuestion:
    """A question that requires a tool call; one correct call in a few tries is enough.

    `why_not`: returns the error in an answer's call; empty if correct; None if there is no call. `untold`:
    makes the check if the server reports that the model's template has no tools; `fix`: makes the fix.
    """

    check: ExamCheck
    argument: str
    text: str
    tool: Mapping[str, Any]
    why_not: Callable[[Reply], str | None]
    good: str
    fix: Callable[[EndpointFact, ModelFact], str]
    untold: Callable[[str], CheckFact]

    def body(self, model: str, attempt: int) -> Body:
        """Return the request. The first try has temperature 0; later tries vary it."""
        made = _make_body(model, [_make_user_message(self.text)], ENOUGH, 0 if attempt == 0 else 0.4)
        return {**made, "tools": [self.tool], "tool_choice": "auto"}

    def judged(self, endpoint: EndpointFact, model: ModelFact, replies: Sequence[Reply]) -> CheckFact:
        whys = [self.why_not(reply) for reply in replies]
        if "" in whys:
            tries = f", at try {len(replies)}" if len(replies) > 1 else ""
            return make_passed(self.check, f"{self.good}{tries}")
        if all(reply.late for reply in replies):
            return make_unknown(self.check, LATE if replies else NO_TIME)
        words = whys[-1] or _why_no_call(replies[-1], self.tool["function"]["name"])
        return make_failed(self.check, words, self.fix(endpoint, model))


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


def _edits_fix(endpoint: EndpointFact, model: ModelFact) -> str:
    return f"use a larger model, or one made for code; read-only agents can still use {model.id}"


def _why_no_ping(reply: Reply) -> str | None:
    call = reply.call(PING)
    return "" if call is not None and call.fields == {"x": PING_VALUE} else None


def _why_no_edit(reply: Reply) -> str | None:
    """Return the error in an edit; empty if it is valid: its old text occurs once in the file."""
    call = reply.call("edit")
    if call is None:
        return None
    fields = call.fields
    if fields is None:
        return "the arguments of its edit are not JSON"
    old, new = fields.get("old"), fields.get("new")
    if not isinstance(old, str) or not isinstance(new, str) or not isinstance(fields.get("path"), str):
        return "its edit lacks path, old or new"
    if not old or FILE_TEXT.count(old) != 1:
        return "the old text of its edit is not in the file" if old else "its edit has no old text"
    if FILE_TEXT.replace(old, new) != FILE_TEXT.replace(OLD_WORD, NEW_WORD):
        return "its edit makes a different change than requested"
    return ""


def _why_no_call(last: Reply, name: str) -> str:
    """Return the reason why the last try failed. `name`: the requested tool."""
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
            if called == name
            else "which is not one of the offered tools"
        )
        return f"it called {called[:60]!r}, {wrong}"
    if any(mark in last.text for mark in _CALL_MARKS) or name in last.text:
        return "it wrote the call as plain text, which programs do not recognize"
    return "it called no tool"


def _make_tool(name: str, about: str, properties: Mapping[str, str]) -> dict[str, Any]:
    fields = {key: {"type": "string", "description": words} for key, words in properties.items()}
    schema = {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}
    return {"type": "function", "function": {"name": name, "description": about, "parameters": schema}}


TOOLS = CallQuestion(
    check=ExamCheck.TOOLS,
    argument="does it call tools?",
    text=f'[[{TOOL}]] Call the tool {PING} with x set to "{PING_VALUE}". Do nothing else.',
    tool=_make_tool(PING, "Answers with what it was given.", {"x": "what to answer with"}),
    why_not=_why_no_ping,
    good="called a tool with valid arguments",
    fix=tools_fix,
    untold=lambda fix: make_failed(
        ExamCheck.TOOLS, "the server reports that the model's chat template does not support tools", fix
    ),
)
EDITS = CallQuestion(
    check=ExamCheck.EDITS,
    argument="does it edit files?",
    text=(
        f"[[{EDIT}]] This is the file {FILE_NAME}:\n\n{FILE_TEXT}\n"
        f"Change the greeting from {OLD_WORD} to {NEW_WORD} with one call of the tool edit. "
        "`old` must be text of the file, copied exactly, that occurs in it once; `new` takes its place."
    ),
    tool=_make_tool(
        "edit",
        "Replaces text in a file.",
        {"path": "the file", "old": "text that is in the file once", "new": "what takes its place"},
    ),
    why_not=_why_no_edit,
    good="edited a file in the requested format",
    fix=_edits_fix,
    untold=lambda fix: make_unknown(ExamCheck.EDITS, "not tested, because an edit is a tool call"),
)


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
