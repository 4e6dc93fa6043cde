"""Finds the addresses in a request that the vendor would fetch: images, documents, video by URL. Pure."""

from __future__ import annotations

from typing import Any

from node_agent.gateway.meter import Wire
from node_agent.gateway.routes import NotAllowed

_SPOKEN: dict[Wire, tuple[str, ...]] = {
    Wire.ANTHROPIC: ("messages", "system"),
    Wire.CHAT: ("messages",),
    Wire.RESPONSES: ("input", "prompt", "instructions"),
    Wire.GEMINI: ("contents", "systemInstruction", "system_instruction"),
    Wire.OLLAMA: (),  # it takes pictures as they are, and nothing by address
}
"""By wire: where in a request the parts of a conversation are."""
_ADDRESSES = frozenset({"image_url", "file_url", "video_url", "audio_url", "fileUri", "file_uri"})
_FREE = frozenset({"args", "response", "arguments"})
"""A tool's input and output as objects: their keys are the tool's own, and nothing fetches them."""
_CALLS = frozenset({"tool_use", "server_tool_use", "mcp_tool_use"})


def check_fetched(wire: Wire, asked: dict[str, Any]) -> None:
    """NotAllowed where the conversation holds an address that is no data of its own."""
    todo: list[Any] = [asked[name] for name in _SPOKEN[wire] if name in asked]
    while todo:
        value = todo.pop()
        if isinstance(value, list):
            todo += [one for one in value if isinstance(one, dict | list)]
        elif isinstance(value, dict):
            _check(value)
            free = _FREE | {"input"} if value.get("type") in _CALLS else _FREE
            todo += [v for name, v in value.items() if isinstance(v, dict | list) and name not in free]


def _check(part: dict[str, Any]) -> None:
    if part.get("type") == "url":
        _refuse_unless_data(part.get("url"))
    for name in _ADDRESSES & part.keys():
        value = part[name]
        _refuse_unless_data(value.get("url") if isinstance(value, dict) else value)


def _refuse_unless_data(address: Any) -> None:
    if address is None or (isinstance(address, str) and address[:5].lower() == "data:"):
        return
    shown = address[:100] if isinstance(address, str) else "an address"
    raise NotAllowed(
        f"the vendor would fetch {shown!r} itself, with a network that this run has not: send the data itself"
    )
