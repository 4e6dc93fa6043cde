"""Checks the signatures of webhooks: for a schedule (Standard Webhooks or a forge), and of issue trackers."""

from __future__ import annotations

import hmac
import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

from node_agent.wire.clock import Ids
from pancode.kernel.visitors import AccessError

WITHIN_MS = 5 * 60_000
"""The greatest allowed difference between the time in a call and this clock, in milliseconds."""
MOST_BYTES = 1024 * 1024
MOST_A_MINUTE = 30
"""The most calls of a schedule per minute; stored firings cover twice `WITHIN_MS`, to recognize repeats."""
FORGES, DELIVERY = "x-hub-signature-256", "x-github-delivery"
STANDARD = ("webhook-id", "webhook-timestamp", "webhook-signature")
GITLAB, LINEAR = "x-gitlab-token", "linear-signature"
HEADERS = (*STANDARD, FORGES, DELIVERY, "x-github-event", GITLAB, LINEAR)
"""The only headers of a call that are read."""
PREFIX, KEY_BYTES = "whsec_", 32
_MOST_ID, _MOST_SIGNATURES = 200, 10


def secret_of(key: bytes) -> str:
    """Return the key as a secret in the text form of Standard Webhooks."""
    return PREFIX + b64encode(key).decode()


_NOBODY = secret_of(bytes(KEY_BYTES))


def fresh_secret(ids: Ids) -> str:
    """Return a new secret, with which the sender signs and this fleet checks the signature."""
    return secret_of(bytes.fromhex(ids.token(KEY_BYTES)))


def compute_signature(secret: str, message_id: str, at_s: int, body: bytes) -> str:
    """Return the correct value of `webhook-signature` by Standard Webhooks, version 1 (HMAC-SHA256)."""
    key = b64decode(secret.removeprefix(PREFIX))
    signed = hmac.new(key, f"{message_id}.{at_s}.".encode() + body, sha256)
    return f"v1,{b64encode(signed.digest()).decode()}"


@dataclass(frozen=True, slots=True)
class HookCall:
    """A webhook request as received; header names in lower case."""

    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class ProvenCall:
    """A call whose sender knows the secret. `key`: equal if a call is repeated. `id`: its id, for users."""

    key: str
    id: str
    is_ping: bool = False


def verify_call(call: HookCall, secret: str | None, now_ms: int) -> ProvenCall:
    """Return a correctly signed call. AccessError hides whether the schedule exists (`secret` None: no)."""
    if STANDARD[2] in call.headers:
        message, at, signatures = (call.headers.get(name, "") for name in STANDARD)
        plain = message.isascii() and message.isprintable() and 0 < len(message) <= _MOST_ID
        if not plain or not (at.isascii() and at.isdigit() and len(at) <= 12):
            raise _make_sign_error()
        right = compute_signature(secret or _NOBODY, message, int(at), call.body)
        found = [_is_same(one, right) for one in signatures.split()[:_MOST_SIGNATURES]]
        if not any(found) or secret is None:
            raise _make_sign_error()
        if abs(now_ms - int(at) * 1000) > WITHIN_MS:
            raise AccessError(
                "the time of the webhook is too far from the local time",
                why=f"the difference is {abs(now_ms // 1000 - int(at))} s; {WITHIN_MS // 1000} s are allowed",
                fix="set the clock of the sender, then send the webhook again",
                code="stale_webhook",
            )
        return ProvenCall(f"webhook:{_hash_data(message.encode())}", message)
    if FORGES in call.headers:
        # A forge's signature covers no time and no id, so an equal body counts as the same call.
        signed = hmac.new((secret or _NOBODY).encode(), call.body, sha256).hexdigest()
        if not _is_same(call.headers[FORGES], f"sha256={signed}") or secret is None:
            raise _make_sign_error()
        shown = "".join(char for char in call.headers.get(DELIVERY, "") if char.isalnum() or char == "-")
        is_ping = call.headers.get("x-github-event") == "ping"
        return ProvenCall(f"webhook:{_hash_data(call.body)}", shown[:_MOST_ID], is_ping)
    raise AccessError(
        "the webhook is not signed",
        why=f"the request has neither the header {STANDARD[2]} nor {FORGES}",
        fix="give the sender the secret that `pancode schedule add` printed",
        code="unsigned",
    )


TRACKERS_WITHIN_MS = 60_000
"""The greatest allowed difference in time, in milliseconds, as Linear recommends."""


def must_be_of(tracker: str, call: HookCall, secret: str | None, now_ms: int) -> None:
    """Raise AccessError unless the call proves that it is from that tracker: github, gitlab or linear.

    `secret` None: the project or its secret is missing, which the error does not reveal. GitLab sends the
    secret itself, without a signature.
    """
    if not {FORGES, GITLAB, LINEAR} & call.headers.keys():
        raise AccessError(
            "the webhook is not signed",
            why=f"the request has none of the headers {FORGES}, {GITLAB} and {LINEAR}",
            fix="give the tracker the secret that `pancode project webhook NAME` shows",
            code="unsigned",
        )
    key = secret or _NOBODY
    signed = hmac.new(key.encode(), call.body, sha256).hexdigest()
    ways = {"github": (FORGES, f"sha256={signed}"), "gitlab": (GITLAB, key), "linear": (LINEAR, signed)}
    header, right = ways[tracker]
    if not _is_same(call.headers.get(header, ""), right) or secret is None:
        raise AccessError(
            "no project matches this name, tracker and signature",
            why="the name, the secret or the body does not match",
            fix="give the tracker the address and the secret of `pancode project webhook NAME`",
            code="wrong_signature",
        )
    if tracker != "linear":
        return
    try:
        at = json.loads(call.body)["webhookTimestamp"]
    except (ValueError, RecursionError, KeyError, TypeError):
        at = None
    if not isinstance(at, int) or abs(now_ms - at) > TRACKERS_WITHIN_MS:
        raise AccessError(
            "the time of the webhook is too far from the local time",
            why=f"webhookTimestamp differs by more than {TRACKERS_WITHIN_MS // 1000} s",
            fix="set the clock of this machine; Linear resends the webhook by itself",
            code="stale_webhook",
        )


def too_many() -> AccessError:
    return AccessError(
        "too many webhooks for one schedule",
        why=f"more than {MOST_A_MINUTE} within a minute",
        fix="send the webhook again in a minute",
        code="too_many_webhooks",
    )


def _make_sign_error() -> AccessError:
    return AccessError(
        "no webhook schedule matches this name and signature",
        why="the name, the secret or the body does not match",
        fix="find the name with `pancode schedule ls`, then give the sender the address and the secret",
        code="wrong_signature",
    )


def _is_same(given: str, right: str) -> bool:
    return hmac.compare_digest(given.encode(), right.encode())


def _hash_data(data: bytes) -> str:
    return sha256(data).hexdigest()[:40]
