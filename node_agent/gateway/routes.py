"""Decides which requests the gateway passes on, in which dialect, and how it words a refusal. Pure."""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from node_agent.gateway.meter import Wire

AUTH = frozenset({"authorization", "x-api-key", "x-goog-api-key", "api-key", "proxy-authorization", "cookie"})
"""Headers that may carry a key: none of the agent's goes on."""
HOP = frozenset(
    "connection keep-alive proxy-connection transfer-encoding content-length te trailer upgrade host expect "
    "accept-encoding".split()
)
"""Headers of one connection. Answers are asked for uncompressed: the count is read from them."""


@dataclass(frozen=True, slots=True)
class Route:
    """`counted`: its answer costs tokens."""

    wire: Wire
    counted: bool
    model: str = ""
    """The model that the path names."""


class NotAllowed(Exception):
    """A request that goes nowhere; the message is for the agent."""


class Stranger(NotAllowed):
    """One that does not show the run's key: it is not the run's, and nothing of it is on record."""


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
    """For a path as the agent sees it. Raises NotAllowed for all that is not on the list."""
    for pattern, wire, counted in _POST if method == "POST" else _GET if method == "GET" else ():
        found = re.fullmatch(pattern, path)
        if found:
            return Route(wire, counted, (found[1] or "") if found.groups() else "")
    raise NotAllowed(f"the model gateway does not pass {method} {path[:100]} on")


def wire_of(start: str) -> Wire:
    """The dialect in which to word a refusal, by the first line of the request."""
    if "/messages" in start:
        return Wire.ANTHROPIC
    if "/v1beta" in start or "enerateContent" in start:
        return Wire.GEMINI
    return Wire.OLLAMA if "/api/" in start else Wire.CHAT


def split_target(target: str) -> tuple[str, str, str]:
    """(path, query without a key, the key that was in it). NotAllowed for anything but a path."""
    if not target.startswith("/") or target.startswith("//"):
        raise NotAllowed("the model gateway is no proxy for other servers")
    parts = urlsplit(target)
    asked = parse_qsl(parts.query, keep_blank_values=True)
    key = next((value for name, value in asked if name == "key"), "")
    return parts.path, urlencode([pair for pair in asked if pair[0] != "key"]), key


def presented(headers: Mapping[str, str], in_query: str) -> str:
    """The key that the agent sends: our placeholder, when the agent is one of ours."""
    given = headers.get("authorization", "")
    bearer = given[7:].strip() if given[:7].lower() == "bearer " else ""
    return bearer or headers.get("x-api-key") or headers.get("x-goog-api-key") or in_query


@dataclass(frozen=True, slots=True)
class RequestTarget:
    """The purpose of a request, by its head."""

    method: str
    path: str
    query: str
    route: Route


def target_of(start: str, headers: Mapping[str, str], token: str) -> RequestTarget:
    """Judged before a byte of the body is read. Raises Stranger, NotAllowed."""
    method, target = start.split(" ")[:2]
    in_query = dict(parse_qsl(target.partition("?")[2])).get("key", "")
    if presented(headers, in_query) != token:
        raise Stranger("this is not the key that the run was given")
    path, query, _ = split_target(target)
    return RequestTarget(method, path, query, route_of(method, path))


def asked_of(route: Route, body: bytes) -> tuple[str, dict[str, Any]]:
    """(the model, the body as an object). NotAllowed when a request that needs one has none to be read."""
    try:
        value = json.loads(body, object_pairs_hook=_named_once)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict) or _has_duplicates(value):
        if body or route.counted:  # what we cannot judge, the server may be able to read
            raise NotAllowed("the body is not a JSON object, or names something twice")
        return route.model, {}
    named = value.get("model") or (value.get("name") if route.wire is Wire.OLLAMA else "")
    return route.model or (named if isinstance(named, str) else ""), value


def _named_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Of a name that is there twice, the server might take the one that we did not judge: ValueError.

    Some servers take names in any case; what a tool is given may well have `http_proxy` and `HTTP_PROXY`.
    """
    named = dict(pairs)
    if len(named) != len(pairs) or _has_duplicates(named, _JUDGED):
        raise ValueError("a name twice in one object")
    return named


_JUDGED = frozenset(
    "model type tools url image_url file_url video_url audio_url fileuri file_uri functiondeclarations "
    "function_declarations maxoutputtokens max_output_tokens num_predict".split()
)
"""Names below the top of a request, in small letters, by which we judge it."""


def _has_duplicates(named: dict[str, Any], of: frozenset[str] | None = None) -> bool:
    folded = [name.casefold() for name in named]
    return len(set(folded)) != len(folded) and (of is None or any(folded.count(name) > 1 for name in of))


def check_model(model: str, allowed: Sequence[str]) -> None:
    """NotAllowed unless there is no list, or one of its patterns fits."""
    if allowed and not any(fnmatch.fnmatchcase(model, pattern) for pattern in allowed):
        raise NotAllowed(f"this run may not use the model {model[:100]!r}, only {', '.join(allowed)}")


def with_usage(wire: Wire, body: bytes, asked: dict[str, Any]) -> bytes:
    """The chat wire tells the tokens of a stream only to who asks for them; so we ask."""
    if wire is not Wire.CHAT or asked.get("stream") is not True:
        return body
    options = asked.get("stream_options")
    options = options if isinstance(options, dict) else {}
    if options.get("include_usage") is True:
        return body
    return json.dumps({**asked, "stream_options": {**options, "include_usage": True}}).encode()


def error_body(wire: Wire, status: int, words: str) -> bytes:
    """A refusal as a client of that wire reads it."""
    message = f"PanCode: {words}"
    kind, gemini = _KINDS.get(status, ("api_error", "UNAVAILABLE"))
    shape: dict[str, Any] = {"message": message, "type": "pancode_gateway", "param": None, "code": status}
    if wire is Wire.ANTHROPIC:
        return json.dumps({"type": "error", "error": {"type": kind, "message": message}}).encode()
    if wire is Wire.GEMINI:
        shape = {"code": status, "message": message, "status": gemini}
    return json.dumps({"error": message if wire is Wire.OLLAMA else shape}).encode()


_KINDS = {403: ("permission_error", "PERMISSION_DENIED"), 413: ("request_too_large", "INVALID_ARGUMENT")}
"""By status: what Anthropic and Google call it."""
