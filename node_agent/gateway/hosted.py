"""Refuses tools that the vendor itself would run, with its own network access. Pure."""

from __future__ import annotations

from typing import Any

from node_agent.gateway.fetched import check_fetched
from node_agent.gateway.meter import Wire
from node_agent.gateway.routes import NotAllowed, check_model
from node_agent.gateway.spec import GatewaySpec

_OURS: dict[Wire, tuple[str, ...]] = {
    Wire.ANTHROPIC: ("custom", "bash_", "text_editor_", "computer_", "memory_", "tool_search_tool_"),
    Wire.CHAT: ("function", "custom"),
    Wire.RESPONSES: (
        "function",
        "custom",
        "namespace",
        "tool_search",
        "local_shell",
        "apply_patch",
        "computer",
    ),
    Wire.OLLAMA: ("function",),
}
"""The prefixes of the types of tools that the agent's program runs itself. All others are the vendor's."""
_DROPPED = ("web_search", "image_generation")
"""Codex offers these by itself, on the Responses wire: taken out, so that its runs go on without them."""
_GEMINI = frozenset({"functionDeclarations", "function_declarations"})
_FIELDS = ("mcp_servers", "web_search_options", "plugins", "search_parameters", "enable_search")
_NESTED = frozenset({"generateContentRequest", "generate_content_request"})
"""The keys under which a request to count Gemini's tokens may hold a whole request."""


def filtered_by(spec: GatewaySpec, wire: Wire, asked: dict[str, Any]) -> dict[str, Any]:
    """Without what the vendor would do in the run's place, as far as the owner of the node has it so."""
    for name in _NESTED & asked.keys():
        inner = asked[name] if isinstance(asked[name], dict) else {}
        if "model" in inner:
            check_model(str(inner["model"]).removeprefix("models/"), spec.models)
        filtered = filtered_by(spec, wire, inner)
        asked = asked if filtered is inner else {**asked, name: filtered}
    if spec.fetched != "allow":
        check_fetched(wire, asked)
    if spec.hosted == "allow":
        return asked
    return without_hosted(wire, asked, spec.hosted == "strip")


def without_hosted(wire: Wire, asked: dict[str, Any], strips: bool = False) -> dict[str, Any]:
    """The request, without what it can do without; the same object where that is nothing. NotAllowed.

    `strips`: what would be refused is taken out instead, and the call goes on as if it had not been offered.
    """
    if strips and any(asked.get(name) for name in _FIELDS):
        asked = {name: value for name, value in asked.items() if name not in _FIELDS}
    for name in _FIELDS:
        if asked.get(name):
            raise _refused(name)
    if wire is Wire.RESPONSES:
        asked = _with_items(asked, strips)
    return _with_tools(wire, asked, strips)


def _with_items(asked: dict[str, Any], strips: bool) -> dict[str, Any]:
    """The conversation with the tools that a tool search found, each judged like an offered one."""
    items = asked.get("input")
    if not isinstance(items, list):
        return asked
    filtered = [_with_tools(Wire.RESPONSES, one, strips) if isinstance(one, dict) else one for one in items]
    same = all(one is before for one, before in zip(filtered, items, strict=True))
    return asked if same else {**asked, "input": filtered}


def _with_tools(wire: Wire, asked: dict[str, Any], strips: bool) -> dict[str, Any]:
    tools = asked.get("tools")
    if not tools:
        return asked
    if not isinstance(tools, list):
        raise _refused("tools")
    kept = [tool for tool in tools if not (_is_dropped(wire, tool) or (strips and _is_hosted(wire, tool)))]
    for tool in kept:
        _check(wire, tool)
    return asked if len(kept) == len(tools) else _with(wire, asked, kept)


def _with(wire: Wire, asked: dict[str, Any], kept: list[Any]) -> dict[str, Any]:
    """An empty list, or the choice of a tool that is not offered any more, would be refused by the vendor."""
    made = {**asked, "tools": kept}
    if not kept and wire is not Wire.RESPONSES:
        del made["tools"]
    choice = asked.get("tool_choice")
    if isinstance(choice, dict) or not kept:
        made.pop("tool_choice", None)
    return made


def _is_hosted(wire: Wire, tool: Any) -> bool:
    try:
        _check(wire, tool)
    except NotAllowed:
        return True
    return False


def _is_dropped(wire: Wire, tool: Any) -> bool:
    kind = tool.get("type") if isinstance(tool, dict) else None
    return wire is Wire.RESPONSES and isinstance(kind, str) and kind.startswith(_DROPPED)


def _check(wire: Wire, tool: Any) -> None:
    if not isinstance(tool, dict):
        raise _refused("a tool that is no object")
    if wire is Wire.GEMINI:
        if hosted := sorted(tool.keys() - _GEMINI):
            raise _refused(hosted[0])
        return
    kind = tool.get("type", "custom" if wire is Wire.ANTHROPIC else "function")
    if not isinstance(kind, str) or not kind.startswith(_OURS[wire]):
        raise _refused(str(kind))
    if kind == "namespace":
        for inner in tool.get("tools") or ():
            _check(wire, inner)


def _refused(what: str) -> NotAllowed:
    return NotAllowed(f"the vendor would run {what[:100]!r} itself, with a network that this run has not")
