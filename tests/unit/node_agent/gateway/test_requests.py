"""Requests that are refused or changed: hosted tools, fetched addresses, the last call of a run."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from node_agent.gateway.counting import estimate_most
from node_agent.gateway.meter import Wire
from node_agent.gateway.requests import (
    LAST_OUTPUT,
    LAST_WORDS,
    NotAllowed,
    as_last,
    check_fetched,
    without_hosted,
)
from tests.integration.test_fakemodel import WIRES, request

AT = "https://elsewhere.example/?said=what-the-run-knows"
IMAGE = {"type": "image", "source": {"type": "url", "url": AT}}


def parts(*each: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": list(each)}]}


@pytest.mark.parametrize(
    ("wire", "asked"),
    [
        (Wire.ANTHROPIC, parts(IMAGE)),
        (Wire.ANTHROPIC, parts({"type": "document", "source": {"type": "url", "url": AT}})),
        (Wire.ANTHROPIC, parts({"type": "tool_result", "content": [IMAGE]})),
        (Wire.ANTHROPIC, {"system": [IMAGE]}),
        (Wire.CHAT, parts({"type": "image_url", "image_url": {"url": AT}})),
        (Wire.CHAT, parts({"type": "image_url", "image_url": AT})),
        (Wire.CHAT, parts({"type": "video_url", "video_url": {"url": AT}})),
        (Wire.RESPONSES, {"input": [{"content": [{"type": "input_image", "image_url": AT}]}]}),
        (Wire.RESPONSES, {"input": [{"content": [{"type": "input_file", "file_url": AT}]}]}),
        (Wire.RESPONSES, {"input": [{"type": "function_call_output", "output": [{"image_url": AT}]}]}),
        (Wire.RESPONSES, {"prompt": {"variables": {"x": {"type": "input_image", "image_url": AT}}}}),
        (Wire.GEMINI, {"contents": [{"parts": [{"fileData": {"fileUri": AT}}]}]}),
        (Wire.GEMINI, {"contents": [{"parts": [{"file_data": {"file_uri": AT}}]}]}),
        (Wire.GEMINI, {"systemInstruction": {"parts": [{"fileData": {"fileUri": AT}}]}}),
        (Wire.CHAT, parts({"type": "image_url", "image_url": {"url": ["x"]}})),
    ],
)
def test_an_address_is_refused(wire: Wire, asked: dict[str, Any]) -> None:
    with pytest.raises(NotAllowed, match="the vendor would fetch"):
        check_fetched(wire, asked)


@pytest.mark.parametrize(
    ("wire", "asked"),
    [
        (Wire.ANTHROPIC, parts({"type": "image", "source": {"type": "base64", "data": "aGk="}})),
        (Wire.ANTHROPIC, parts({"type": "text", "text": AT})),
        (Wire.ANTHROPIC, parts({"type": "tool_use", "input": {"type": "url", "url": AT, "image_url": AT}})),
        (Wire.ANTHROPIC, {"tools": [{"input_schema": {"properties": {"image_url": {"type": "url"}}}}]}),
        (Wire.CHAT, parts({"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}})),
        (Wire.CHAT, {"messages": "odd"}),
        (Wire.RESPONSES, {"input": AT}),
        (Wire.RESPONSES, {"input": [{"content": [{"type": "input_image", "image_url": None}]}]}),
        (Wire.GEMINI, {"contents": [{"parts": [{"functionCall": {"args": {"fileUri": AT}}}]}]}),
        (Wire.GEMINI, {"contents": [{"parts": [{"functionResponse": {"response": {"fileUri": AT}}}]}]}),
        (Wire.OLLAMA, parts({"image_url": AT})),
    ],
)
def test_data_words_and_what_tools_are_given_are_none(wire: Wire, asked: dict[str, Any]) -> None:
    check_fetched(wire, asked)


def test_a_conversation_that_is_nested_deeply_is_no_trouble() -> None:
    deep: dict[str, Any] = {"content": [IMAGE]}
    for _ in range(5000):
        deep = {"content": [deep]}
    with pytest.raises(NotAllowed):
        check_fetched(Wire.ANTHROPIC, {"messages": [deep]})


@pytest.mark.parametrize(
    ("wire", "asked"),
    [
        (Wire.ANTHROPIC, {"mcp_servers": [{"type": "url", "url": "https://h"}]}),
        (
            Wire.ANTHROPIC,
            {"tools": [{"name": "Bash"}, {"type": "web_search_20250305", "name": "web_search"}]},
        ),
        (Wire.ANTHROPIC, {"tools": [{"type": "web_fetch_20250910", "name": "f"}]}),
        (Wire.ANTHROPIC, {"tools": [{"type": "code_execution_20250825", "name": "f"}]}),
        (Wire.ANTHROPIC, {"tools": [{"type": "mcp_toolset"}]}),
        (Wire.CHAT, {"web_search_options": {"a": 1}}),
        (Wire.CHAT, {"tools": [{"type": "browser_search"}]}),
        (Wire.CHAT, {"plugins": [{"id": "web"}]}),
        (Wire.CHAT, {"search_parameters": {"mode": "on"}}),
        (Wire.CHAT, {"enable_search": True}),
        (Wire.RESPONSES, {"input": [{"type": "tool_search_output", "tools": [{"type": "mcp"}]}]}),
        (Wire.RESPONSES, {"tools": [{"type": "mcp", "server_url": "https://h"}]}),
        (Wire.RESPONSES, {"tools": [{"type": "code_interpreter"}]}),
        (Wire.RESPONSES, {"tools": [{"type": "namespace", "tools": [{"type": "mcp"}]}]}),
        (Wire.RESPONSES, {"tools": {"type": "mcp"}}),
        (Wire.RESPONSES, {"tools": [{"type": ["mcp"]}]}),
        (Wire.GEMINI, {"tools": [{"functionDeclarations": []}, {"googleSearch": {}}]}),
        (Wire.GEMINI, {"tools": [{"url_context": {}}]}),
        (Wire.OLLAMA, {"tools": ["mcp"]}),
    ],
)
def test_what_the_vendor_would_run_is_refused(wire: Wire, asked: dict[str, Any]) -> None:
    with pytest.raises(NotAllowed, match="the vendor would run"):
        without_hosted(wire, asked)


@pytest.mark.parametrize(
    ("wire", "tools"),
    [
        (Wire.ANTHROPIC, [{"name": "Bash", "input_schema": {}}, {"type": "custom", "name": "Read"}]),
        (Wire.ANTHROPIC, [{"type": "bash_20250124", "name": "bash"}]),
        (Wire.CHAT, [{"type": "function", "function": {"name": "bash"}}]),
        (Wire.RESPONSES, [{"type": "function"}, {"type": "custom"}, {"type": "tool_search"}]),
        (Wire.RESPONSES, [{"type": "namespace", "tools": [{"type": "function"}]}]),
        (Wire.GEMINI, [{"functionDeclarations": [{"name": "google_web_search"}]}]),
        (Wire.OLLAMA, [{"type": "function"}]),
        (Wire.CHAT, []),
    ],
)
def test_what_the_agent_s_program_runs_goes_on_as_it_is(wire: Wire, tools: list[Any]) -> None:
    asked = {"model": "m", "tools": tools, "mcp_servers": []}
    assert without_hosted(wire, asked) is asked


def test_the_search_that_codex_offers_by_itself_is_taken_out() -> None:
    ours = {"type": "function", "name": "exec_command"}
    asked = {"model": "m", "tools": [ours, {"type": "web_search", "external_web_access": True}]}
    assert without_hosted(Wire.RESPONSES, asked) == {"model": "m", "tools": [ours]}


def test_where_the_owner_has_it_stripped_the_call_goes_on_without() -> None:
    bash = {"name": "Bash", "input_schema": {}}
    search = {"type": "web_search_20250305", "name": "web_search"}
    asked = {
        "tools": [search, bash],
        "mcp_servers": [{"url": "https://h"}],
        "tool_choice": {"name": "web_search"},
    }
    assert without_hosted(Wire.ANTHROPIC, asked, strips=True) == {"tools": [bash]}
    alone = {"model": "m", "tools": [search], "tool_choice": "auto"}
    assert without_hosted(Wire.ANTHROPIC, alone, strips=True) == {"model": "m"}
    gemini = {"tools": [{"googleSearch": {}}, {"functionDeclarations": []}]}
    assert without_hosted(Wire.GEMINI, gemini, strips=True) == {"tools": [{"functionDeclarations": []}]}
    nested = {"tools": [{"type": "namespace", "tools": [{"type": "mcp"}]}]}
    assert without_hosted(Wire.RESPONSES, nested, strips=True) == {"tools": []}
    found = {"type": "tool_search_output", "tools": [{"type": "mcp"}, {"type": "function"}]}
    made = without_hosted(Wire.RESPONSES, {"input": ["hi", found]}, strips=True)
    assert made == {"input": ["hi", {**found, "tools": [{"type": "function"}]}]}
    plain = {"tools": [bash], "tool_choice": {"type": "any"}}
    assert without_hosted(Wire.ANTHROPIC, plain, strips=True) is plain


@pytest.mark.parametrize("wire", WIRES)
def test_it_is_bounded_has_our_words_last_and_calls_no_tool(wire: str) -> None:
    _, asked = request(wire, True)
    before = copy.deepcopy(asked)
    made = as_last(Wire(wire), asked, public=False)
    assert asked == before, "the request itself is not changed"
    assert estimate_most(Wire(wire), 0, made).output == LAST_OUTPUT
    assert json.dumps(made).count(LAST_WORDS) == 1 and "none" in json.dumps(made).lower()
    assert without_hosted(Wire(wire), made) is made and made["tools"] == asked["tools"]


def test_ollama_is_offered_no_tool() -> None:
    asked = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "tools": [{"type": "function"}]}
    made = as_last(Wire.OLLAMA, asked, public=False)
    assert "tools" not in made and made["messages"][-1] == {"role": "user", "content": LAST_WORDS}
    assert as_last(Wire.OLLAMA, {"prompt": "go"}, False)["prompt"] == f"go\n\n{LAST_WORDS}"


@pytest.mark.parametrize(
    ("asked", "given"), [(10, 10), (10**6, LAST_OUTPUT), (0, LAST_OUTPUT), ("5", LAST_OUTPUT)]
)
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
    assert made["generationConfig"] == {"maxOutputTokens": LAST_OUTPUT}
    assert made["generation_config"] == {"max_output_tokens": LAST_OUTPUT, "maxOutputTokens": LAST_OUTPUT}
    assert made["tool_config"] == made["toolConfig"] == {"functionCallingConfig": {"mode": "NONE"}}


def test_chat_is_bounded_under_the_name_that_its_server_knows() -> None:
    assert as_last(Wire.CHAT, {}, public=True)["max_completion_tokens"] == LAST_OUTPUT
    assert "max_tokens" not in as_last(Wire.CHAT, {}, public=True)
    assert as_last(Wire.CHAT, {}, public=False)["max_tokens"] == LAST_OUTPUT
    made = as_last(Wire.CHAT, {"max_tokens": 10**6, "n": 9}, public=True)
    assert made["max_tokens"] == LAST_OUTPUT and "max_completion_tokens" not in made and "n" not in made


def test_words_come_behind_the_results_of_tools() -> None:
    result = {"type": "tool_result", "tool_use_id": "t", "content": "ok"}
    made = as_last(Wire.ANTHROPIC, {"messages": [{"role": "user", "content": [result]}]}, False)
    (message,) = made["messages"]
    assert message["content"] == [result, {"type": "text", "text": LAST_WORDS}]
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
    assert estimate_most(wire, 0, as_last(wire, odd, False)).output == LAST_OUTPUT
