"""Builds the OpenAPI document (3.1) from the routes, their bodies and the types of their answers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from pancode import __version__
from pancode.interfaces.http.access.idempotency import MOST_CHARS
from pancode.interfaces.http.bodies import Body, Empty, SignedBody
from pancode.interfaces.http.routing import EventStream, Octets, TcpAccess, Verb
from pancode.kernel.signature_check import HEADERS

Json = dict[str, Any]
REF = "#/components/schemas/{model}"
_PART = re.compile(r"{(\w+)}")
_TEXT: Json = {"type": "string"}
_FLAG = {"type": "string", "enum": ["1", "true", "yes", "0", "false", "no"]}
_COUNT = {"type": "integer", "minimum": 0}
PARAMETERS: Json = {
    **dict.fromkeys(("follow", "end", "all", "rankings", "stat"), _FLAG),
    "cursor": {"type": "string", "maxLength": 600},
    **dict.fromkeys(("limit", "tail", "offset"), _COUNT),
}
"""The type of each parameter, by name; all other parameters are texts."""
_EVENT: Json = {"type": "object", "properties": dict.fromkeys(("event", "data", "id"), _TEXT)}
_PROBLEM: Json = {
    "type": "object",
    "description": "An error (RFC 9457): what happened, why, and the command that repairs it.",
    "required": [
        "type",
        "title",
        "status",
        "code",
        "message",
        "why",
        "fix",
        "exit_code",
        "retryable",
        "details",
    ],
    "properties": {
        **dict.fromkeys(("type", "title", "code", "message", "why", "fix"), _TEXT),
        **dict.fromkeys(("status", "exit_code"), {"type": "integer"}),
        "retryable": {"type": "boolean"},
        "details": {"type": "object", "additionalProperties": _TEXT},
    },
}


class AnswerSchema(GenerateJsonSchema):
    """An answer that is a dataclass has all its fields, also those with a default."""

    def field_is_required(self, field: Any, total: bool) -> bool:
        return field["type"] == "dataclass-field" or super().field_is_required(field, total)


def build_document(verbs: Sequence[Verb]) -> Json:
    """Return the whole document, as plain JSON."""
    bodies = sorted(
        {verb.body for verb in verbs if verb.body not in (Empty, SignedBody)}, key=lambda body: body.__name__
    )
    read, defs = models_json_schema([(body, "validation") for body in bodies], ref_template=REF)
    answers, more = TypeAdapter.json_schemas(
        [(verb.name, "serialization", TypeAdapter(verb.answers)) for verb in verbs if _is_json(verb)],
        ref_template=REF,
        schema_generator=AnswerSchema,
    )
    shapes = {name: shape for (name, _), shape in answers.items()}
    models = {body: read[(body, "validation")] for body in bodies}
    paths: Json = {}
    for verb in verbs:
        paths.setdefault(verb.path, {})[verb.method.lower()] = _make_operation(verb, models, shapes)
    schemas = {**defs.get("$defs", {}), **more.get("$defs", {}), "Problem": _PROBLEM}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "PanCode",
            "version": __version__,
            "summary": "A fleet of coding agents: dispatch, inspect, answer, land.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas.items())),
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }


def _is_json(verb: Verb) -> bool:
    return verb.answers not in (Octets, EventStream, Octets | EventStream)


def _make_operation(verb: Verb, bodies: dict[type[Body], Json], shapes: Json) -> Json:
    parts = [_PART.sub(r"\1", part) for part in verb.path.split("/")[2:]]
    id_of = "_".join([verb.method.lower(), *(part.replace(".", "_") for part in parts)])
    made: Json = {
        "operationId": id_of,
        "summary": verb.what,
        "tags": [verb.path.split("/")[2]],
        "parameters": [
            *_in_path(verb),
            *map(_in_query, verb.query),
            *_list_key_headers(verb),
            *_list_sign_headers(verb),
        ],
        "responses": {str(verb.status): _answer(verb, shapes), "default": _make_problem()},
        "x-pancode-scope": verb.needs.value,
        "x-pancode-risk": verb.risk.value,
        "x-pancode-tcp": verb.over_tcp.value,
    }
    if verb.over_tcp in (TcpAccess.OPEN, TcpAccess.SIGNED):
        made["security"] = []
    if verb.body is SignedBody:
        made["requestBody"] = {"content": {"application/octet-stream": {"schema": {}}}}
    elif verb.method != "GET":
        schema = bodies.get(verb.body, {"type": "object", "additionalProperties": False})
        made["requestBody"] = {"content": {"application/json": {"schema": schema}}}
    return made


def _in_path(verb: Verb) -> list[Json]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in _PART.findall(verb.path)
    ]


def _in_query(name: str) -> Json:
    return {"name": name, "in": "query", "schema": PARAMETERS.get(name, _TEXT)}


def _list_key_headers(verb: Verb) -> list[Json]:
    """Return the header whose key stops a repeated request from running twice; empty if not supported."""
    what = "a repeated request with the same key is not started again and gets the same answer for 24 hours"
    schema: Json = {"type": "string", "minLength": 1, "maxLength": MOST_CHARS, "pattern": "^[ -~]+$"}
    made: Json = {"name": "Idempotency-Key", "in": "header", "description": what, "schema": schema}
    return [made] if verb.takes_key else []


def _list_sign_headers(verb: Verb) -> list[Json]:
    """Return the headers that authenticate a signed request: PanCode's three headers or those of a forge."""
    names = HEADERS if verb.body is SignedBody else ()
    return [{"name": name, "in": "header", "schema": _TEXT} for name in names]


def _answer(verb: Verb, shapes: Json) -> Json:
    octets: Json = {"application/octet-stream": {"schema": {}}}
    events: Json = {"text/event-stream": {"schema": _EVENT}}
    if _is_json(verb):
        content: Json = {"application/json": {"schema": shapes[verb.name]}}
    elif verb.answers is EventStream:
        content = events
    else:
        content = octets if verb.answers is Octets else {**octets, **events}
    return {"description": verb.what, "content": content}


def _make_problem() -> Json:
    schema = {"$ref": REF.format(model="Problem")}
    return {"description": "the error", "content": {"application/problem+json": {"schema": schema}}}
