"""Checks and changes an agent's requests: routes, models, tools, fetched addresses and the last call."""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from node_agent.gateway.meter import Wire
from node_agent.gateway.spec import GatewaySpec

AUTH = frozenset({"authorization", "x-api-key", "x-goog-api-key", "api-key", "proxy-authorization", "cookie"})
"""Headers that may contain a key; none of the agent's is passed on."""
HOP = frozenset(
    "connection keep-alive proxy-connection transfer-encoding content-length te trailer upgrade host expect "
    "accept-encoding".split()
)
"""Headers of one connection. Answers are requested uncompressed: the count is read from them."""


@dataclass(frozen=True, slots=True)
class Route:
    """The meaning of a request's path. `counted`: whether the answer costs tokens."""

    wire: Wire
    counted: bool
    model: str = ""
    """The model that the path names."""


class NotAllowed(Exception):
    """A request that is refused; the message is for the agent. `limit`: the run's limit that the request
    exceeds, if any."""

    limit: str | None = None


class Stranger(NotAllowed):
    """A request without the run's key, which does not belong to the run and is not recorded."""


_POST: tuple[tuple[str, Wire, bool], ...] = (
    (r"/v1/messages", Wire.ANTHROPIC, True),
    (r"/v1/messages/count_tokens", Wire.ANTHROPIC, False),
    (r"/v1/chat/completions", Wire.CHAT, True),
    (r"/v1/responses", Wire.RESPONSES, True),
    (r"/v1(?:alpha|beta)?/models/([\w.-]+):(?:streamG|g)enerateContent", Wire.GEMINI, True),
    (r"/v1(?:alpha|beta)?/models/([\w.-]+):countTokens", Wire.GEMINI, False),
    (r"/api/(?:chat|generate)", Wire.OLLAMA, True),
    (r"/api/show", Wire.OLLAMA, False),
)
_GET: tuple[tuple[str, Wire, bool], ...] = (
    (r"/v1/models(?:/[\w.:-]+)?", Wire.CHAT, False),
    (r"/v1beta/models(?:/([\w.-]+))?", Wire.GEMINI, False),
    (r"/api/(?:tags|version|ps)", Wire.OLLAMA, False),
)


def route_of(method: str, path: str) -> Route:
    """Return the route of a request's path. Raises NotAllowed for a path that is not listed."""
    for pattern, wire, counted in _POST if method == "POST" else _GET if method == "GET" else ():
        found = re.fullmatch(pattern, path)
        if found:
            return Route(wire, counted, (found[1] or "") if found.groups() else "")
    raise NotAllowed(f"the model gateway does not forward {method} {path[:100]}")


def wire_of(start: str) -> Wire:
    """Return the API in whose form a refusal is written, from the first line of the request."""
    if "/messages" in start:
        return Wire.ANTHROPIC
    if "/v1beta" in start or "enerateContent" in start:
        return Wire.GEMINI
    return Wire.OLLAMA if "/api/" in start else Wire.CHAT


def split_target(target: str) -> tuple[str, str, str]:
    """Return (path, query without a key, the key in the query). NotAllowed if the target is not a path."""
    if not target.startswith("/") or target.startswith("//"):
        raise NotAllowed("the model gateway is not a proxy for other servers")
    parts = urlsplit(target)
    query = parse_qsl(parts.query, keep_blank_values=True)
    key = next((value for name, value in query if name == "key"), "")
    return parts.path, urlencode([pair for pair in query if pair[0] != "key"]), key


def read_key(headers: Mapping[str, str], in_query: str) -> str:
    """Return the key that the agent sends; for an agent of ours it is the placeholder."""
    given = headers.get("authorization", "")
    bearer = given[7:].strip() if given[:7].lower() == "bearer " else ""
    return bearer or headers.get("x-api-key") or headers.get("x-goog-api-key") or in_query


@dataclass(frozen=True, slots=True)
class RequestTarget:
    """The target of a request, read from its head."""

    method: str
    path: str
    query: str
    route: Route


def target_of(start: str, headers: Mapping[str, str], token: str) -> RequestTarget:
    """Check the head of a request before its body is read; return the target. Raises Stranger, NotAllowed."""
    method, target = start.split(" ")[:2]
    in_query = dict(parse_qsl(target.partition("?")[2])).get("key", "")
    if read_key(headers, in_query) != token:
        raise Stranger("this is not the key that the run was given")
    path, query, _ = split_target(target)
    return RequestTarget(method, path, query, route_of(method, path))


def parse_model_body(route: Route, body: bytes) -> tuple[str, dict[str, Any]]:
    """Return (the model, the body as an object). NotAllowed if a body is needed but cannot be read."""
    try:
        value = json.loads(body, object_pairs_hook=_named_once)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict) or _has_duplicates(value):
        if body or route.counted:  # the server may be able to read a body that we cannot check
            raise NotAllowed("the body is not a JSON object, or contains a name twice")
        return route.model, {}
    named = value.get("model") or (value.get("name") if route.wire is Wire.OLLAMA else "")
    return route.model or (named if isinstance(named, str) else ""), value


def _named_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the pairs as an object; ValueError if a name occurs twice: the server might use the other value.
    Some servers ignore the case of names, but a tool's input may have both `http_proxy` and `HTTP_PROXY`."""
    named = dict(pairs)
    if len(named) != len(pairs) or _has_duplicates(named, _JUDGED):
        raise ValueError("a name occurs twice in one object")
    return named


_JUDGED = frozenset(
    "model type tools url image_url file_url video_url audio_url fileuri file_uri functiondeclarations "
    "function_declarations maxoutputtokens max_output_tokens num_predict".split()
)
"""The lower-case names below the top of a request by which it is judged."""


def _has_duplicates(named: dict[str, Any], of: frozenset[str] | None = None) -> bool:
    folded = [name.casefold() for name in named]
    return len(set(folded)) != len(folded) and (of is None or any(folded.count(name) > 1 for name in of))


def check_model(model: str, allowed: Sequence[str]) -> None:
    """Raise NotAllowed if `allowed` has patterns and none of them matches the model."""
    if allowed and not any(fnmatch.fnmatchcase(model, pattern) for pattern in allowed):
        raise NotAllowed(f"this run may not use the model {model[:100]!r}, only {', '.join(allowed)}")


def with_usage(wire: Wire, body: bytes, payload: dict[str, Any]) -> bytes:
    """Return the body with a request for a stream's token counts, which the chat API reports only then."""
    if wire is not Wire.CHAT or payload.get("stream") is not True:
        return body
    options = payload.get("stream_options")
    options = options if isinstance(options, dict) else {}
    if options.get("include_usage") is True:
        return body
    return json.dumps({**payload, "stream_options": {**options, "include_usage": True}}).encode()


def error_body(wire: Wire, status: int, words: str, limit: str | None = None) -> bytes:
    """Return a refusal in the form of the API. `limit`: as in `NotAllowed`."""
    message = f"PanCode: {words}"
    kind, gemini = _KINDS.get(status, ("api_error", "UNAVAILABLE"))
    shape: dict[str, Any] = {"message": message, "type": GATEWAY, "param": limit, "code": status}
    if wire is Wire.ANTHROPIC:
        return json.dumps({"type": "error", "error": {"type": kind, "message": message}}).encode()
    if wire is Wire.GEMINI:
        shape = {"code": status, "message": message, "status": gemini}
    return json.dumps({"error": message if wire is Wire.OLLAMA else shape}).encode()


GATEWAY = "pancode_gateway"
"""The type of our own refusals, for APIs that have one."""
_KINDS = {403: ("permission_error", "PERMISSION_DENIED"), 413: ("request_too_large", "INVALID_ARGUMENT")}
"""The names that Anthropic and Google use for a status."""


_SPOKEN: dict[Wire, tuple[str, ...]] = {
    Wire.ANTHROPIC: ("messages", "system"),
    Wire.CHAT: ("messages",),
    Wire.RESPONSES: ("input", "prompt", "instructions"),
    Wire.GEMINI: ("contents", "systemInstruction", "system_instruction"),
    Wire.OLLAMA: (),  # this API takes images only as data, not by address
}
"""The parts of a request that contain the conversation, by API."""
_ADDRESSES = frozenset({"image_url", "file_url", "video_url", "audio_url", "fileUri", "file_uri"})
_FREE = frozenset({"args", "response", "arguments"})
"""A tool's input and output objects: the tool defines their keys, and no vendor fetches addresses in them."""
_CALLS = frozenset({"tool_use", "server_tool_use", "mcp_tool_use"})


def check_fetched(wire: Wire, body: dict[str, Any]) -> None:
    """Raise NotAllowed if the conversation has an address (not `data:`) that the vendor would fetch."""
    todo: list[Any] = [body[name] for name in _SPOKEN[wire] if name in body]
    while todo:
        value = todo.pop()
        if isinstance(value, list):
            todo += [one for one in value if isinstance(one, dict | list)]
        elif isinstance(value, dict):
            if value.get("type") == "url":
                _refuse_unless_data(value.get("url"))
            for name in _ADDRESSES & value.keys():
                found = value[name]
                _refuse_unless_data(found.get("url") if isinstance(found, dict) else found)
            free = _FREE | {"input"} if value.get("type") in _CALLS else _FREE
            todo += [v for name, v in value.items() if isinstance(v, dict | list) and name not in free]


def _refuse_unless_data(address: Any) -> None:
    if address is None or (isinstance(address, str) and address[:5].lower() == "data:"):
        return
    shown = address[:100] if isinstance(address, str) else "an address"
    raise NotAllowed(
        f"the vendor would fetch {shown!r} over a network that this run may not use; send the data "
        "itself instead"
    )


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
"""Prefixes of the types of tools that the agent's program runs itself; the vendor runs all other tools."""
_DROPPED = ("web_search", "image_generation")
"""Tools that Codex always offers on the Responses API; removed, so that its runs continue without them."""
_GEMINI = frozenset({"functionDeclarations", "function_declarations"})
_FIELDS = ("mcp_servers", "web_search_options", "plugins", "search_parameters", "enable_search")
_NESTED = frozenset({"generateContentRequest", "generate_content_request"})
"""The keys under which a request to count Gemini's tokens may contain a complete request."""


def filtered_by(spec: GatewaySpec, wire: Wire, body: dict[str, Any]) -> dict[str, Any]:
    """Return the request without the tools that the vendor would run, if the owner's settings forbid them."""
    for name in _NESTED & body.keys():
        inner = body[name] if isinstance(body[name], dict) else {}
        if "model" in inner:
            check_model(str(inner["model"]).removeprefix("models/"), spec.models)
        filtered = filtered_by(spec, wire, inner)
        body = body if filtered is inner else {**body, name: filtered}
    if spec.fetched != "allow":
        check_fetched(wire, body)
    if spec.hosted == "allow":
        return body
    return without_hosted(wire, body, spec.hosted == "strip")


def without_hosted(wire: Wire, body: dict[str, Any], strips: bool = False) -> dict[str, Any]:
    """Return the request without tools that may be omitted; the same object if it has none. NotAllowed.
    `strips`: also omit tools that would otherwise be refused, so that the call continues without them."""
    if strips and any(body.get(name) for name in _FIELDS):
        body = {name: value for name, value in body.items() if name not in _FIELDS}
    for name in _FIELDS:
        if body.get(name):
            raise _make_refused_error(name)
    if wire is Wire.RESPONSES:
        body = _with_items(body, strips)
    return _with_tools(wire, body, strips)


def _with_items(body: dict[str, Any], strips: bool) -> dict[str, Any]:
    """Return the request with checked tools in its conversation: a tool search may have added tools there."""
    items = body.get("input")
    if not isinstance(items, list):
        return body
    filtered = [_with_tools(Wire.RESPONSES, one, strips) if isinstance(one, dict) else one for one in items]
    same = all(one is before for one, before in zip(filtered, items, strict=True))
    return body if same else {**body, "input": filtered}


def _with_tools(wire: Wire, body: dict[str, Any], strips: bool) -> dict[str, Any]:
    tools = body.get("tools")
    if not tools:
        return body
    if not isinstance(tools, list):
        raise _make_refused_error("tools")
    kept = [tool for tool in tools if not (_is_dropped(wire, tool) or (strips and _is_hosted(wire, tool)))]
    for tool in kept:
        _check_tool(wire, tool)
    return body if len(kept) == len(tools) else _replace_tools(wire, body, kept)


def _replace_tools(wire: Wire, body: dict[str, Any], kept: list[Any]) -> dict[str, Any]:
    """Return the request with these tools. An empty list and a choice of a missing tool are removed, because
    the vendor refuses them."""
    made = {**body, "tools": kept}
    if not kept and wire is not Wire.RESPONSES:
        del made["tools"]
    choice = body.get("tool_choice")
    if isinstance(choice, dict) or not kept:
        made.pop("tool_choice", None)
    return made


def _is_hosted(wire: Wire, tool: Any) -> bool:
    try:
        _check_tool(wire, tool)
    except NotAllowed:
        return True
    return False


def _is_dropped(wire: Wire, tool: Any) -> bool:
    kind = tool.get("type") if isinstance(tool, dict) else None
    return wire is Wire.RESPONSES and isinstance(kind, str) and kind.startswith(_DROPPED)


def _check_tool(wire: Wire, tool: Any) -> None:
    if not isinstance(tool, dict):
        raise _make_refused_error("a tool that is not an object")
    if wire is Wire.GEMINI:
        if hosted := sorted(tool.keys() - _GEMINI):
            raise _make_refused_error(hosted[0])
        return
    kind = tool.get("type", "custom" if wire is Wire.ANTHROPIC else "function")
    if not isinstance(kind, str) or not kind.startswith(_OURS[wire]):
        raise _make_refused_error(str(kind))
    if kind == "namespace":
        for inner in tool.get("tools") or ():
            _check_tool(wire, inner)


def _make_refused_error(what: str) -> NotAllowed:
    return NotAllowed(
        f"the vendor would run the tool {what[:100]!r} itself, over a network that this run may not use"
    )


LAST_OUTPUT = 4096
"""The maximum number of tokens of the last answer, including thoughts."""
LAST_WORDS = (
    "PanCode: this run has reached its limit, and this is the last answer that it gets. Call no tools. "
    "Say in a few sentences what is done, what is left to do, and what you would do next."
)


def as_last(wire: Wire, body: dict[str, Any], public: bool) -> dict[str, Any]:
    """Return the request with our text at its end and a limit for the answer. `public`: it goes to the
    vendor's own server."""
    match wire:
        case Wire.ANTHROPIC:
            # in one message the API accepts text only after tool results, not before them
            made = {**body, "max_tokens": _bound_tokens(body.get("max_tokens"))}
            made["messages"] = _append_message(
                body.get("messages"), "content", {"type": "text", "text": LAST_WORDS}
            )
            if body.get("tools"):
                made["tool_choice"] = {"type": "none"}
            # the thinking budget must be below the limit
            if "budget_tokens" in _to_dict(body.get("thinking")):
                del made["thinking"]
            return made
        case Wire.CHAT:
            return _last_chat(body, public)
        case Wire.RESPONSES:
            return _last_responses(body)
        case Wire.GEMINI:
            return _last_gemini(body)
        case Wire.OLLAMA:
            return _last_ollama(body)


def _last_chat(body: dict[str, Any], public: bool) -> dict[str, Any]:
    """Make a chat request the last one. Local servers know only the limit's old name, new models the new."""
    usual = "max_completion_tokens" if public else "max_tokens"
    names = [name for name in ("max_completion_tokens", "max_tokens") if body.get(name) is not None]
    bound = {name: _bound_tokens(body.get(name)) for name in names or [usual]}
    made = {
        **body,
        **bound,
        "messages": [*_list(body.get("messages")), {"role": "user", "content": LAST_WORDS}],
    }
    return _one_answer({**made, "tool_choice": "none"} if body.get("tools") else made)


def _last_responses(body: dict[str, Any]) -> dict[str, Any]:
    given = body.get("input")
    before = [_make_item(given)] if isinstance(given, str) else _list(given)
    made = {**body, "input": [*before, _make_item(LAST_WORDS)]}
    made["max_output_tokens"] = _bound_tokens(body.get("max_output_tokens"))
    return {**made, "tool_choice": "none"} if body.get("tools") else made


def _make_item(text: str) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}


def _last_gemini(body: dict[str, Any]) -> dict[str, Any]:
    """Make a Gemini request the last one. Both spellings of a name are limited, as either may count."""
    made = dict(body)
    for at in _list_spellings(body, "generationConfig", "generation_config"):
        config = _to_dict(body.get(at))
        names = _list_spellings(config, "maxOutputTokens", "max_output_tokens")
        made[at] = _one_answer({**config, **{name: _bound_tokens(config.get(name)) for name in names}})
    made["contents"] = _append_message(body.get("contents"), "parts", {"text": LAST_WORDS})
    if body.get("tools"):
        for key in _list_spellings(body, "toolConfig", "tool_config"):
            made[key] = {"functionCallingConfig": {"mode": "NONE"}}
    return made


def _list_spellings(place: dict[str, Any], usual: str, other: str) -> list[str]:
    """Return those of the two names that are in `place`, or the usual name if neither is."""
    return [name for name in (usual, other) if name in place] or [usual]


def _last_ollama(body: dict[str, Any]) -> dict[str, Any]:
    """Make an Ollama request the last one by removing the tools: the API cannot forbid calls otherwise."""
    options = _to_dict(body.get("options"))
    made = {**body, "options": {**options, "num_predict": _bound_tokens(options.get("num_predict"))}}
    made.pop("tools", None)
    if "messages" in body:
        return {**made, "messages": [*_list(body["messages"]), {"role": "user", "content": LAST_WORDS}]}
    return {**made, "prompt": f"{body.get('prompt', '')}\n\n{LAST_WORDS}"}


def _append_message(given: Any, at: str, words: dict[str, Any]) -> list[Any]:
    """Append the text to the conversation: to a user's message at its end, because two user messages must not
    follow each other; otherwise as a new message."""
    messages = _list(given)
    last = _to_dict(messages[-1]) if messages else {}
    if last.get("role") != "user":
        return [*messages, {"role": "user", at: [words]}]
    inside = last.get(at)
    parts = [{"type": "text", "text": inside}] if isinstance(inside, str) else _list(inside)
    return [*messages[:-1], {**last, at: [*parts, words]}]


def _one_answer(config: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name not in _SEVERAL}


_SEVERAL = ("n", "candidateCount", "candidate_count")


def _bound_tokens(value: Any) -> int:
    good = isinstance(value, int) and not isinstance(value, bool) and value > 0
    return min(value, LAST_OUTPUT) if good else LAST_OUTPUT


def _to_dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
