"""Signs webhooks by the scheme of Standard Webhooks, version 1 (HMAC-SHA256)."""

from __future__ import annotations

import hmac
import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from hashlib import sha256

from pancode.kernel.errors import UsageError
from pancode.kernel.names import nearest
from pancode.kernel.records import EventKind, FeedEvent
from pancode.runs.life.changes import OCCASIONS

PREFIX = "whsec_"
_LEFT_OUT = ("task",)
"""Fields of an event that receivers do not get: words of people stay at home."""


def secret_of(key: bytes) -> str:
    return PREFIX + b64encode(key).decode()


def signature(secret: str, message_id: str, at_s: int, body: bytes) -> str:
    """The value of the header `webhook-signature`."""
    key = b64decode(secret.removeprefix(PREFIX))
    signed = hmac.new(key, f"{message_id}.{at_s}.".encode() + body, sha256)
    return f"v1,{b64encode(signed.digest()).decode()}"


def headers(secret: str, message_id: str, at_s: int, body: bytes) -> dict[str, str]:
    return {
        "Content-Type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(at_s),
        "webhook-signature": signature(secret, message_id, at_s, body),
    }


def encoded(body: Mapping[str, object]) -> bytes:
    """Return the body as bytes, the same at each try."""
    return json.dumps(body, sort_keys=True, separators=(",", ":")).encode()


def payload(event: FeedEvent, occasion: str | None, at: str) -> dict[str, object]:
    """Return what a receiver gets about an event."""
    data = {key: value for key, value in event.data.items() if key not in _LEFT_OUT}
    about = {"number": event.number, "event": event.kind.value, "run": event.run, "node": event.node}
    return {"type": occasion or event.kind.value, "timestamp": at, "data": {**data, **about}}


def wants(events: tuple[str, ...], event: FeedEvent, occasion: str | None) -> bool:
    """Whether one of these names the event: an occasion, a kind, or the first part of kinds with `.*`."""
    kind = event.kind.value
    return any(
        one in (occasion, kind) or (one.endswith(".*") and kind.startswith(one[:-1])) for one in events
    )


def check_events(events: tuple[str, ...]) -> None:
    """UsageError for a name that no event will ever have."""
    kinds = [kind.value for kind in EventKind]
    groups = sorted({f"{kind.partition('.')[0]}.*" for kind in kinds if "." in kind})
    known = (*OCCASIONS, *kinds, *groups)
    for one in events:
        if one not in known:
            near = nearest(one, known)
            why = f"did you mean {near}?" if near else ""
            fix = f"one of {', '.join((*OCCASIONS, *groups))}"
            raise UsageError(f"there is no event {one[:80]!r}", why=why, fix=fix, code="bad_value")
