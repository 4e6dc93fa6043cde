"""Writes the pages of the wire: each message with its fields and a golden example, every name in Redis."""

from __future__ import annotations

import base64
import json
import re
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from docs.generate.markdown import block, code, listed, page, remarks, table, told, words
from node_agent.wire import keys
from node_agent.wire.control import Control, CoordinatorHeartbeat
from node_agent.wire.event import Events
from node_agent.wire.identity import AttemptId
from node_agent.wire.job import Job
from node_agent.wire.model import WireModel
from node_agent.wire.node import Heartbeat, Hello, Inventory
from node_agent.wire.receipt import Receipt
from node_agent.wire.signing import MAX_ENVELOPE_BYTES, Envelope, Signed
from pancode.queue.node_rights import node_rules

GOLDEN = Path(__file__).resolve().parents[2] / "tests/contract/golden/wire"
MESSAGES: tuple[type[Signed], ...] = (
    Job,
    Control,
    CoordinatorHeartbeat,
    Heartbeat,
    Inventory,
    Events,
    Receipt,
    Hello,
)
"""Coordinator to node first, then node to coordinator."""
FROM = {Job: "coordinator", Control: "coordinator", CoordinatorHeartbeat: "coordinator"}
HIDDEN = {"RUN": "r-7f3k2q", "TAG": "b7b6edd19a"}

INTRO = f"""
Every message between coordinator and nodes is a JSON object in a DSSE envelope, signed with Ed25519:
jobs, control messages and heartbeats with the coordinator's key, everything else with the node's. Canonical
bytes are signed: sorted keys, no blanks, UTF-8. An unknown field, version, key or signature is refused,
never ignored; an envelope above {MAX_ENVELOPE_BYTES // 2**20} MiB is refused unread. Money is a decimal
string in USD, times are whole milliseconds.

The version of the contract is {keys.WIRE_VERSION}, the field `v` of every message. The examples are the
payloads of the golden files that a test holds the code to, byte for byte; they show every field and are no
real run.
"""


def messages_page() -> str:
    parts = [part for message in MESSAGES for part in _message(message)]
    inner = [part for model in _inner_models() for part in _fields_of(model, "###")]
    return page(
        "Messages on the wire",
        "`node_agent/wire`",
        words(INTRO),
        *_fields_of(Envelope, "##"),
        *parts,
        "## Parts of messages",
        *inner,
    )


def _message(message: type[Signed]) -> list[str]:
    golden = GOLDEN / f"{message.__name__.lower()}.v{keys.WIRE_VERSION}.json"
    payload = json.loads(base64.b64decode(json.loads(golden.read_text())["payload"]))
    sender = FROM.get(message, "node")
    head = f"Signed by the {sender}. Type {code(message.payload_type())}."
    example = block(json.dumps(payload, indent=1, ensure_ascii=False, sort_keys=False), "json")
    return [*_fields_of(message, "##", head), "Example:", example]


def _fields_of(model: type[BaseModel], level: str, head: str = "") -> list[str]:
    notes: dict[str, str] = {}
    for cls in reversed(model.__mro__):
        if issubclass(cls, BaseModel) and cls not in (BaseModel, WireModel):
            notes |= remarks(cls)
    hints = get_type_hints(model, include_extras=True)
    rows = []
    for name, field in model.model_fields.items():
        default = "required" if field.is_required() else _default(field.default)
        rows.append((code(field.alias or name), _kind(hints[name]), default, notes.get(name, "")))
    return [
        f"{level} {model.__name__}",
        "\n\n".join(text for text in (head, told(model)) if text),
        table(("Field", "Type", "Default", "Meaning"), rows),
    ]


def _default(value: object) -> str:
    if value is PydanticUndefined:
        return ""
    if isinstance(value, WireModel):
        return "as its own defaults"
    plain = value.value if isinstance(value, Enum) else value
    return code(json.dumps(list(plain) if isinstance(plain, tuple) else plain))


def _kind(hint: Any) -> str:
    """A type in the reader's words; models of ours as links."""
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _named(hint, args)
    if origin in (Union, UnionType):
        return " or ".join("null" if arm is type(None) else _kind(arm) for arm in args)
    if origin is Literal:
        return listed(args)
    if origin is tuple:
        return f"list of {_kind(args[0])}"
    if origin is dict:
        return f"object of {_kind(args[1])}"
    if issubclass(hint, BaseModel):
        return f"[{hint.__name__}](#{hint.__name__.lower()})"
    if issubclass(hint, Enum):
        return listed(hint)
    return {"str": "text", "int": "integer", "float": "number", "bool": "boolean", "Decimal": "USD"}[
        hint.__name__
    ]


def _named(hint: Any, args: tuple[Any, ...]) -> str:
    if get_origin(args[0]) in (Union, UnionType):
        return _kind(args[0])
    patterns = [
        m.pattern for mark in args[1:] for m in getattr(mark, "metadata", []) if hasattr(m, "pattern")
    ]
    patterns += [p for mark in args[1:] if (p := getattr(mark, "pattern", None))]
    return f"text matching {code(patterns[0])}" if patterns else _kind(args[0])


def _models_in(hint: Any) -> list[type[BaseModel]]:
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        return [hint]
    return [model for arm in get_args(hint) for model in _models_in(arm)]


def _inner_models() -> list[type[BaseModel]]:
    """Every model that a message holds, each once, in the order of first use."""
    found: dict[type[BaseModel], None] = {}

    def visit(model: type[BaseModel]) -> None:
        for hint in get_type_hints(model, include_extras=True).values():
            for inner in _models_in(hint):
                if inner not in found and inner not in MESSAGES:
                    found[inner] = None
                    visit(inner)

    every: tuple[type[BaseModel], ...] = (Envelope, *MESSAGES)
    for message in every:
        visit(message)
    return list(found)


def redis_page() -> str:
    tag, identity = HIDDEN["TAG"], AttemptId(run=HIDDEN["RUN"], attempt=1, lease=2)
    rows = [
        (code(keys.node_queue("TAG")), "list (RQ queue)", "coordinator", "node", told(keys.node_queue)),
        (
            code(keys.pool_queue("REQUIREMENT")),
            "list (RQ queue)",
            "coordinator",
            "nobody",
            told(keys.pool_queue),
        ),
        (code(keys.job_id(tag, identity)), "hash (RQ job)", "coordinator, node", "node", told(keys.job_id)),
        (
            code(keys.ticket_id(identity.run, 1)),
            "hash (RQ job)",
            "coordinator",
            "nobody",
            told(keys.ticket_id),
        ),
        (code(keys.up_stream("TAG")), "stream", "node", "coordinator", told(keys.up_stream)),
        (code(keys.down_stream("TAG")), "stream", "coordinator", "node", told(keys.down_stream)),
        (code(keys.heartbeat_key("TAG")), "string", "node", "coordinator", told(keys.heartbeat_key)),
        (
            code(keys.coordinator_heartbeat_key("TAG")),
            "string",
            "coordinator",
            "node",
            told(keys.coordinator_heartbeat_key),
        ),
        (code(keys.hint_channel("TAG")), "channel", "coordinator", "node", told(keys.hint_channel)),
        (code(keys.UP_HINT), "channel", "node", "coordinator", "Pub/sub: a node has written something."),
    ]
    return page(
        "Names in Redis",
        "`node_agent/wire/keys.py` and `pancode/queue/node_rights.py`",
        words(
            "Redis carries, it does not remember: it can be wiped while a fleet works, and what is "
            "missing is written again. TAG is 10 hexadecimal digits of the SHA-256 of a node's public "
            "key. Queues and jobs are RQ's own, with the prefix `rq:` that RQ gives them; jobs are JSON, "
            f"and name a function that nobody imports ({code(keys.ENTRY)}). Nothing in Redis is believed "
            "unless its signature holds."
        ),
        words(
            "**Do not point RQ's own tools at a fleet.** `rq info`, `rq worker` and rq-dashboard read jobs "
            "with pickle unless every class is told otherwise, and a node may write those fields: a node "
            "that was taken over would run code as whoever looks. `pancode admin queue` counts what is "
            "there; `pancode admin queue --rq info` is RQ's `info` with JSON alone and a login that may only "
            "read; `deploy/dashboard/start.py` starts rq-dashboard in the same way."
        ),
        table(("Name", "Kind", "Written by", "Read by", "Holds"), rows),
        "## What a node may do there",
        words(
            "Each node has a Redis user of its own, `node-TAG`. These are the words of its `ACL SETUSER`, "
            f"here for the tag {code(tag)}; the words in brackets are rights of their own."
        ),
        block("\n".join(_rules(tag))),
    )


def _rules(tag: str) -> list[str]:
    rules = node_rules(tag, "")
    return [re.sub(r"^#[0-9a-f]{64}$", "#<SHA-256 of the node's password>", rule) for rule in rules]
