"""What a model's answers say of it: tables of answers and results."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from node_agent.chat.dialect import make_trouble
from node_agent.chat.messages import Call
from node_agent.passport import questions
from node_agent.passport.questions import LEAST_CONTEXT, Reply, Timed
from node_agent.wire.endpoint import Dialect, EndpointFact, Grade, ModelFact

MODEL = ModelFact(id="qwen3:8b", ctx_usable=32_768, ctx_max=262_144, tools=True)
PING = Reply(calls=(Call("c", "ping", '{"x": "ok"}'),), finish="tool_calls")
WORD = Reply(text="no", finish="stop")
LATE = Reply(late=True)


def endpoint(dialect: Dialect = Dialect.OLLAMA, **more: object) -> EndpointFact:
    return EndpointFact.model_validate(
        {"name": "box", "dialect": dialect, "at": "127.0.0.1:1", "models": (MODEL,), **more}
    )


@pytest.mark.parametrize(
    ("reply", "grade", "words"),
    [
        (Reply(tokens=1, first_ms=1_200), Grade.PASSED, "first token after 1.2 s"),
        (Reply(tokens=1), Grade.PASSED, "first token"),
        (Reply(thought=True, first_ms=5), Grade.PASSED, "first token after 0.0 s"),
        (Reply(), Grade.FAILED, "its answer was empty"),
        (LATE, Grade.FAILED, "the model sent no token within 15 s"),
        (Reply(error="out of memory"), Grade.FAILED, "200: out of memory"),
        (Reply(status=400, error="bad template"), Grade.FAILED, "400: bad template"),
    ],
)
def test_answers(reply: Reply, grade: Grade, words: str) -> None:
    said = questions.check_answer(endpoint(), reply, 15)
    assert (said.grade, said.words, bool(said.fix)) == (grade, words, grade is Grade.FAILED)


@pytest.mark.parametrize(
    ("replies", "grade", "words"),
    [
        ([PING], Grade.PASSED, "called a tool with valid arguments"),
        ([WORD, PING], Grade.PASSED, "called a tool with valid arguments, at try 2"),
        ([WORD], Grade.FAILED, "it called no tool"),
        (
            [replace(PING, finish="length")],
            Grade.FAILED,
            "it reached its token limit without a tool call",
        ),
        (
            [replace(PING, calls=(Call("c", "ping", '{"x": '),))],
            Grade.FAILED,
            "the arguments of its call are not JSON",
        ),
        (
            [replace(PING, calls=(Call("c", "ping", "{}"),))],
            Grade.FAILED,
            "it called 'ping', with other arguments than requested",
        ),
        (
            [replace(PING, calls=(Call("c", "ping", '{"x": "ok", "y": 1}'),))],
            Grade.FAILED,
            "it called 'ping', with other arguments than requested",
        ),
        (
            [replace(PING, calls=(Call("c", "pong", '{"x": "ok"}'),))],
            Grade.FAILED,
            "it called 'pong', which is not one of the offered tools",
        ),
        (
            [Reply(text='<tool_call>{"name": "ping"}')],
            Grade.FAILED,
            "it wrote the call as plain text, which programs do not recognize",
        ),
        (
            [Reply(text='ping(x="ok")')],
            Grade.FAILED,
            "it wrote the call as plain text, which programs do not recognize",
        ),
        (
            [Reply(status=400, error="x does not support tools")],
            Grade.FAILED,
            "the server refused the tool: x does not support tools",
        ),
        ([WORD, LATE], Grade.FAILED, "no answer within the time limit"),
        ([LATE], Grade.UNKNOWN, "no answer within the time limit"),
    ],
)
def test_tools(replies: list[Reply], grade: Grade, words: str) -> None:
    said = questions.check_calls(endpoint(), MODEL, replies)
    assert (said.grade, said.words, bool(said.fix)) == (grade, words, grade is Grade.FAILED)


@pytest.mark.parametrize(
    ("reply", "told", "grade", "words"),
    [
        (
            Reply(prompt_tokens=6_900),
            32_768,
            Grade.PASSED,
            "32768 tokens according to the server; a prompt of over 6000 was read completely",
        ),
        (
            Reply(prompt_tokens=4_096),
            32_768,
            Grade.FAILED,
            "a prompt of over 6000 tokens was silently cut to 4096",
        ),
        (
            Reply(prompt_tokens=2_048),
            None,
            Grade.FAILED,
            "a prompt of over 6000 tokens was silently cut to 2048",
        ),
        (
            Reply(prompt_tokens=6_900),
            None,
            Grade.UNKNOWN,
            "over 6000 tokens were read; the server does not report its limit",
        ),
        (
            Reply(text="It was 123456."),
            32_768,
            Grade.PASSED,
            "32768 tokens according to the server; a prompt of over 6000 was read completely",
        ),
        (
            Reply(text="Which one?"),
            32_768,
            Grade.UNKNOWN,
            "the server does not count prompt tokens, and the model did not find the number",
        ),
        (LATE, 32_768, Grade.UNKNOWN, "reading a prompt of over 6000 tokens exceeded the time limit"),
        (
            Reply(status=400, error="at most 4096"),
            None,
            Grade.FAILED,
            "the server refuses a prompt of over 6000 tokens: at most 4096",
        ),
        (Reply(status=500, error="no"), None, Grade.UNKNOWN, "500: no"),
    ],
)
def test_what_was_read_of_a_long_prompt(reply: Reply, told: int | None, grade: Grade, words: str) -> None:
    model = MODEL.model_copy(update={"ctx_usable": told})
    said = questions.read_context(endpoint(), model, reply, 6_000, "123456")
    assert (said.grade, said.words) == (grade, words)


def test_a_server_that_says_too_little_is_believed() -> None:
    small = MODEL.model_copy(update={"ctx_usable": 4_096})
    said = questions.stated_context(endpoint(), small, 4_096)
    assert said is not None and said.grade is Grade.FAILED
    assert said.words == "a call gets 4096 tokens, but a coding agent needs 16384"
    assert "OLLAMA_CONTEXT_LENGTH=32768" in said.fix
    assert questions.stated_context(endpoint(), MODEL, 32_768) is None
    assert questions.stated_context(endpoint(), MODEL, None) is None


def test_the_limit_that_a_refusal_names_is_exact() -> None:
    assert questions.refused_context(endpoint(), MODEL, Reply(status=400)) is None
    good = questions.refused_context(endpoint(), MODEL, Reply(status=400, ctx=32_768))
    assert good is not None and good.grade is Grade.PASSED
    bad = questions.refused_context(endpoint(Dialect.LLAMACPP, slots=4), MODEL, Reply(status=400, ctx=4_096))
    assert bad is not None and bad.grade is Grade.FAILED
    assert "--ctx-size 131072 --parallel 4" in bad.fix


@pytest.mark.parametrize("dialect", list(Dialect))
def test_each_server_has_its_own_fix(dialect: Dialect) -> None:
    there = endpoint(dialect)
    context, tools = questions.context_fix(there, MODEL), questions.tools_fix(there, MODEL)
    others = {questions.context_fix(endpoint(one), MODEL) for one in Dialect if one is not dialect}
    assert "32768" in context and context not in others and len(context) <= 300
    assert "tool" in tools and len(tools) <= 300


def test_a_model_that_was_made_for_less_has_no_setting() -> None:
    small = MODEL.model_copy(update={"ctx_max": 8_192})
    assert questions.context_fix(endpoint(), small) == (
        "use another model: qwen3:8b supports at most 8192 tokens"
    )
    half = MODEL.model_copy(update={"ctx_max": LEAST_CONTEXT})
    assert "OLLAMA_CONTEXT_LENGTH=16384" in questions.context_fix(endpoint(), half)


def chunk(**delta: object) -> str:
    return json.dumps({"choices": [{"index": 0, "delta": delta}]})


def timed(*events: str) -> Reply:
    one = Timed()
    for number, event in enumerate(events):
        one.take(event, number * 100)
    return one.reply()


def test_the_first_token_counts_whatever_it_is() -> None:
    assert timed(chunk(role="assistant", content=""), chunk(content="a"), chunk(content="b")).first_ms == 100
    assert timed(chunk(role="assistant"), chunk(reasoning_content="hm")).first_ms == 100
    assert timed(chunk(role="assistant")).first_ms is None


def test_a_refusal_is_a_reply() -> None:
    body = b'{"error": {"message": "exceeds the context size", "n_ctx": 4096}}'
    reply = Timed().reply(trouble=make_trouble(400, body))
    assert (reply.status, reply.ctx, reply.well) == (400, 4096, False) and reply.error
