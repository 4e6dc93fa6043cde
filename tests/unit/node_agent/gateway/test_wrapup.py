"""The last call of a run: short, without tools, with our words where each wire takes them."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from node_agent.gateway.allowance import estimate
from node_agent.gateway.hosted import without_hosted
from node_agent.gateway.meter import Wire
from node_agent.gateway.wrapup import OUTPUT, WORDS, as_last
from tests.integration.test_fakemodel import WIRES, request


@pytest.mark.parametrize("wire", WIRES)
def test_it_is_bounded_has_our_words_last_and_calls_no_tool(wire: str) -> None:
    _, asked = request(wire, True)
    before = copy.deepcopy(asked)
    made = as_last(Wire(wire), asked, public=False)
    assert asked == before, "the request itself is not changed"
    assert estimate(Wire(wire), 0, made).output == OUTPUT
    assert json.dumps(made).count(WORDS) == 1 and "none" in json.dumps(made).lower()
    assert without_hosted(Wire(wire), made) is made and made["tools"] == asked["tools"]


def test_ollama_is_offered_no_tool() -> None:
    asked = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "tools": [{"type": "function"}]}
    made = as_last(Wire.OLLAMA, asked, public=False)
    assert "tools" not in made and made["messages"][-1] == {"role": "user", "content": WORDS}
    assert as_last(Wire.OLLAMA, {"prompt": "go"}, False)["prompt"] == f"go\n\n{WORDS}"


@pytest.mark.parametrize(("asked", "given"), [(10, 10), (10**6, OUTPUT), (0, OUTPUT), ("5", OUTPUT)])
def test_a_smaller_bound_of_the_agent_s_own_stays(asked: Any, given: int) -> None:
    assert as_last(Wire.ANTHROPIC, {"max_tokens": asked}, False)["max_tokens"] == given
    assert as_last(Wire.RESPONSES, {"max_output_tokens": asked}, False)["max_output_tokens"] == given
    config = as_last(Wire.GEMINI, {"generation_config": {"max_output_tokens": asked}}, False)
    assert config["generation_config"] == {"max_output_tokens": given} and "generationConfig" not in config


def test_gemini_is_bounded_under_each_name_that_was_used() -> None:
    both = {
        "generationConfig": {},
        "generation_config": {"max_output_tokens": 10**6, "maxOutputTokens": 10**6},
    }
    made = as_last(Wire.GEMINI, {**both, "tools": [1], "tool_config": {}, "toolConfig": {}}, False)
    assert made["generationConfig"] == {"maxOutputTokens": OUTPUT}
    assert made["generation_config"] == {"max_output_tokens": OUTPUT, "maxOutputTokens": OUTPUT}
    assert made["tool_config"] == made["toolConfig"] == {"functionCallingConfig": {"mode": "NONE"}}


def test_chat_is_bounded_under_the_name_that_its_server_knows() -> None:
    assert as_last(Wire.CHAT, {}, public=True)["max_completion_tokens"] == OUTPUT
    assert "max_tokens" not in as_last(Wire.CHAT, {}, public=True)
    assert as_last(Wire.CHAT, {}, public=False)["max_tokens"] == OUTPUT
    made = as_last(Wire.CHAT, {"max_tokens": 10**6, "n": 9}, public=True)
    assert made["max_tokens"] == OUTPUT and "max_completion_tokens" not in made and "n" not in made


def test_words_come_behind_the_results_of_tools() -> None:
    result = {"type": "tool_result", "tool_use_id": "t", "content": "ok"}
    made = as_last(Wire.ANTHROPIC, {"messages": [{"role": "user", "content": [result]}]}, False)
    (message,) = made["messages"]
    assert message["content"] == [result, {"type": "text", "text": WORDS}]
    answered = as_last(Wire.ANTHROPIC, {"messages": [{"role": "assistant", "content": "a"}]}, False)
    assert [one["role"] for one in answered["messages"]] == ["assistant", "user"]
    assert as_last(Wire.RESPONSES, {"input": [result]}, False)["input"][0] is result


def test_a_budget_of_thoughts_above_the_bound_is_left_out() -> None:
    thinking = {"type": "enabled", "budget_tokens": 30_000}
    assert "thinking" not in as_last(Wire.ANTHROPIC, {"thinking": thinking}, False)
    adaptive = {"type": "adaptive"}
    assert as_last(Wire.ANTHROPIC, {"thinking": adaptive}, False)["thinking"] == adaptive


@pytest.mark.parametrize("wire", list(Wire))
def test_a_request_of_odd_shape_stays_one_that_is_bounded(wire: Wire) -> None:
    odd = {
        "messages": "x",
        "input": 7,
        "contents": [[1]],
        "options": 3,
        "generationConfig": "y",
        "thinking": 1,
    }
    assert estimate(wire, 0, as_last(wire, odd, False)).output == OUTPUT
