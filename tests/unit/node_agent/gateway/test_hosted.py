"""Tools that the vendor would run, and what agents' programs send."""

from __future__ import annotations

from typing import Any

import pytest

from node_agent.gateway.hosted import without_hosted
from node_agent.gateway.meter import Wire
from node_agent.gateway.routes import NotAllowed


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
