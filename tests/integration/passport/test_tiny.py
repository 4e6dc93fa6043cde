"""The test of a model on the real llama.cpp server: good, small, without tools, wedged, locked."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from node_agent.passport.exam import NotNow, Patience
from node_agent.wire.endpoint import AskState, Dialect, ExamCheck, Grade
from tests.crowd import crowded
from tests.integration.passport.ground import InteractiveRun, check, there, tiny_model
from tests.tinyllama import call, passport, tiny_server

CTX = 32_768


def interactive_run(url: str, key: str = "", **patience: int) -> InteractiveRun:
    server = there(Dialect.LLAMACPP, url, tiny_model(url, key or None), key=key)
    return InteractiveRun(server, Patience(**patience))


def test_a_model_that_can_do_it_all() -> None:
    with tiny_server(slots=1, ctx=CTX) as tiny:
        one = interactive_run(tiny.url)
        fact = one.take()
        assert [one.grade for one in fact.checks] == [Grade.PASSED] * 3, fact
        words = f"the context has {CTX} tokens; longer prompts are refused"
        assert check(fact, ExamCheck.CONTEXT).words == words
        assert fact.ctx == CTX
        assert {state for state, _ in one.said} == {AskState.TESTING} and len(one.said) == 3


def test_a_context_that_is_too_small_is_told_without_a_long_prompt() -> None:
    with tiny_server(slots=4, ctx=4096) as tiny:
        one = interactive_run(tiny.url)
        one.servers.fact = one.servers.fact.model_copy(update={"slots": 4})
        fact = one.take()
    context = check(fact, ExamCheck.CONTEXT)
    assert context.grade is Grade.FAILED and fact.ctx == 4096
    assert context.words == "a call gets 4096 tokens, but a coding agent needs 16384"
    assert "--ctx-size 131072 --parallel 4" in context.fix
    assert check(fact, ExamCheck.TOOLS).grade is Grade.PASSED


def test_a_server_that_says_more_than_it_gives() -> None:
    """As behind a proxy that tells another model's numbers: the refusal names the true one."""
    with tiny_server(slots=1, ctx=4096) as tiny:
        one = interactive_run(tiny.url)
        model = one.servers.fact.models[0].model_copy(update={"ctx_usable": CTX})
        one.servers.fact = one.servers.fact.model_copy(update={"models": (model,)})
        fact = one.take()
    assert check(fact, ExamCheck.CONTEXT).grade is Grade.FAILED and fact.ctx == 4096


def test_a_template_without_tools_fails_without_a_question() -> None:
    with tiny_server(slots=1, ctx=CTX, tools=False) as tiny:
        fact = interactive_run(tiny.url).take()
    tools = check(fact, ExamCheck.TOOLS)
    assert tools.grade is Grade.FAILED and "chat template does not support tools" in tools.words
    assert "--jinja" in tools.fix


def test_a_call_in_prose_is_no_call(tmp_path: Path) -> None:
    with tiny_server(slots=1, ctx=CTX, scenarios=passport.write(tmp_path / "s.json", passport.PROSE)) as tiny:
        fact = interactive_run(tiny.url).take()
    tools = check(fact, ExamCheck.TOOLS)
    assert tools.grade is Grade.FAILED
    assert tools.words == "it wrote the call as plain text, which programs do not recognize"


def test_a_wedged_server_does_not_answer_and_nothing_more_is_asked() -> None:
    with tiny_server(slots=1, ctx=CTX) as tiny:
        one = interactive_run(tiny.url, answer=500)
        tiny.wedge()
        try:
            fact = one.take()
        finally:
            tiny.unwedge()
    (answers,) = fact.checks
    assert (answers.check, answers.grade) == (ExamCheck.ANSWERS, Grade.FAILED)
    assert answers.words.startswith("the model sent no token within") and "restart it" in answers.fix


def test_who_leaves_frees_the_slot(tmp_path: Path) -> None:
    """An answer of many tokens on a slow model, left in its middle: the slot is free again."""
    scenarios = passport.write(tmp_path / "s.json", passport.LONG)
    with tiny_server(slots=1, ctx=CTX, layers=60, scenarios=scenarios) as tiny:
        fact = interactive_run(tiny.url, whole=600, context=1).take()
        assert check(fact, ExamCheck.TOOLS).words == "no answer within the time limit"
        (last,) = _idle(tiny.url)["next_token"]
    assert last["has_next_token"] and last["n_decoded"] < 500  # it would have continued


def _idle(url: str) -> dict[str, Any]:
    """The one slot, once it does nothing."""
    until = time.monotonic() + 60 * crowded()
    while time.monotonic() < until:
        slot: dict[str, Any] = json.loads(call(f"{url}/slots")[1])[0]
        if not slot["is_processing"]:
            return slot
        time.sleep(0.05)
    raise AssertionError("it works on, for nobody")


def test_a_key_is_needed_and_named() -> None:
    with tiny_server(slots=1, ctx=CTX, api_key="right") as tiny:
        one = interactive_run(tiny.url, "right")
        one.servers.key = "wrong"
        with pytest.raises(NotNow, match="requires a key") as no:
            one.take()
    assert "secrets.json" in no.value.fix and "wrong" not in f"{no.value} {no.value.fix}"


def test_a_server_that_is_gone() -> None:
    with tiny_server(slots=1) as tiny:
        one = interactive_run(tiny.url)
    with pytest.raises(NotNow, match="cannot be reached") as no:
        one.take()
    assert one.servers.fact.at in no.value.fix
