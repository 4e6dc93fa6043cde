"""The test of a model on servers that are not llama.cpp, by a scripted server on a socket."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from node_agent.passport.exam import NotNow, Patience
from node_agent.wire.endpoint import Dialect, ExamCheck, Grade, ModelFact, PassportFact, Residence
from tests.endpointfakes.working import PASSES, script_of
from tests.fakemodel import FakeModel
from tests.integration.passport.ground import InteractiveRun, check, there

MODEL = ModelFact(id="fake-coder", ctx_usable=32_768, residence=Residence.LOADED, tools=True)


def script(**changes: Any) -> dict[str, Any]:
    """The needle asks without a mark at its end, and gets the plain turns."""
    return script_of([MODEL.id], {**PASSES, **{f"passport-{name}": turn for name, turn in changes.items()}})


@contextmanager
def serving(
    dialect: Dialect = Dialect.OLLAMA,
    model: ModelFact = MODEL,
    patience: Patience | None = None,
    **turns: Any,
) -> Iterator[tuple[FakeModel, InteractiveRun]]:
    said = {**script(**turns), "api_key": turns["key"]} if "key" in turns else script(**turns)
    with FakeModel(said, "openai") as fake:
        yield fake, InteractiveRun(there(dialect, fake.url, model), patience or Patience())


def taken(**asked: Any) -> PassportFact:
    with serving(**asked) as (_, interactive_run):
        return interactive_run.take()


def test_a_model_that_can_do_it_all() -> None:
    with serving() as (fake, interactive_run):
        fact = interactive_run.take()
        assert fake.wait_for(3)
        asked = fake.requests
    assert [one.grade for one in fact.checks] == [Grade.PASSED] * 3, fact
    assert fact.ctx == 32_768 and interactive_run.servers.looks == 1
    assert len(asked) == 3 and all(one["stream"] for one in asked)


def test_a_prompt_that_was_cut_without_a_word() -> None:
    fact = taken(context={"text": "Which number?", "usage": {"input": 4_096, "output": 3}})
    context = check(fact, ExamCheck.CONTEXT)
    assert context.grade is Grade.FAILED and "silently cut to 4096" in context.words
    assert "OLLAMA_CONTEXT_LENGTH=32768" in context.fix and fact.ctx == 4_096


def test_lm_studio_tells_a_short_context_and_how_it_is_loaded_with_more() -> None:
    fact = taken(dialect=Dialect.LMSTUDIO, model=MODEL.model_copy(update={"ctx_usable": 4_096}))
    assert check(fact, ExamCheck.CONTEXT).fix.startswith("lms load fake-coder --context-length 32768")


def test_broken_arguments_thrice() -> None:
    broken = {"call": {"name": "ping", "arguments": '{"x": "o'}}
    with serving(tool=broken) as (fake, interactive_run):
        fact = interactive_run.take()
        assert fake.wait_for(5)
        asked = [one for one in fake.requests if "passport-tool" in one["prompt_tail"]]
    tools = check(fact, ExamCheck.TOOLS)
    assert tools.grade is Grade.FAILED and tools.words == "the arguments of its call are not JSON"
    assert len(asked) == 3 and "ollama show" in tools.fix


def test_a_call_in_text() -> None:
    fact = taken(tool={"text": '<tool_call>{"name": "ping", "arguments": {"x": "ok"}}</tool_call>'})
    assert (
        check(fact, ExamCheck.TOOLS).words
        == "it wrote the call as plain text, which programs do not recognize"
    )


def test_a_server_that_takes_no_tools_is_asked_once() -> None:
    refusal = {"fault": {"status": 400, "message": "fake-coder does not support tools"}}
    with serving(tool=refusal) as (fake, interactive_run):
        fact = interactive_run.take()
        assert fake.wait_for(3)
        asked = [one for one in fake.requests if "passport-tool" in one["prompt_tail"]]
    assert "does not support tools" in check(fact, ExamCheck.TOOLS).words and len(asked) == 1


def test_a_model_that_thinks_first() -> None:
    thinks = {**PASSES["passport-tool"], "reasoning": "I am asked to call ping. " * 20}
    assert check(taken(tool=thinks), ExamCheck.TOOLS).grade is Grade.PASSED


def test_a_slow_first_token_of_a_model_that_is_loaded_for_it() -> None:
    """More patience than for one that is there, and it is said; the numbers are read again afterwards."""
    asleep = MODEL.model_copy(update={"residence": Residence.NOT_LOADED, "ctx_usable": 4_096})
    slow = {**PASSES["passport-answer"], "latency": 1.0}
    patience = Patience(answer=200, load=30_000)
    with serving(model=asleep, patience=patience, answer=slow) as (_, interactive_run):
        interactive_run.servers.after = lambda fact: fact.model_copy(update={"models": (MODEL,)})
        fact = interactive_run.take()
    assert interactive_run.said[0][1] == "the model is loading, which may take minutes"
    assert check(fact, ExamCheck.ANSWERS).grade is Grade.PASSED
    assert check(fact, ExamCheck.CONTEXT).grade is Grade.PASSED and fact.ctx == 32_768


def test_a_stream_that_only_says_that_it_is_there() -> None:
    """Comments keep the connection alive, and no token ever comes."""
    fact = taken(patience=Patience(answer=400), answer={"fault": {"hang": 30}})
    assert check(fact, ExamCheck.ANSWERS).words.startswith("the model sent no token within")


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"status": 401, "message": "no"}, "the server requires a key: no"),
        ({"status": 404, "message": "gone"}, "the server does not know the model: gone"),
        ({"status": 503, "message": "server busy"}, "the server cannot answer now: 503 server busy"),
    ],
)
def test_what_says_nothing_of_the_model(fault: dict[str, Any], words: str) -> None:
    with serving(answer={"fault": fault}) as (_, interactive_run), pytest.raises(NotNow) as no:
        interactive_run.take()
    assert str(no.value) == words and no.value.fix


def test_a_connection_that_breaks_in_an_answer() -> None:
    fact = taken(tool={**PASSES["passport-tool"], "fault": {"disconnect": "mid"}})
    assert check(fact, ExamCheck.TOOLS).words.startswith("its answer ended early: the connection broke")
