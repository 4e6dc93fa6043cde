"""Addresses that the vendor would fetch, and what only looks like one."""

from __future__ import annotations

from typing import Any

import pytest

from node_agent.gateway.fetched import check_fetched
from node_agent.gateway.meter import Wire
from node_agent.gateway.routes import NotAllowed

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
