"""Channels, webhooks and deliveries as the API shows them."""

from __future__ import annotations

from urllib.parse import urlsplit

from pancode.kernel.names import not_found
from pancode.kernel.ports import Transaction
from pancode.kernel.records import Delivery, DeliveryState, Webhook
from pancode.notices import store as rows
from pancode.notices.answers import ChannelShape, DeliveryShape, WebhookShape
from pancode.notices.pace import NOTIFY, WEBHOOK
from pancode.notices.rules import NotifyRules
from pancode.runs.core import Core
from pancode.runs.views import at, iso

_LOOKED = 50


def channels(core: Core, rules: NotifyRules) -> list[ChannelShape]:
    """Return all channels of the settings, by name."""
    with core.ports.ledger.transaction() as tx:
        return [_channel(tx, name, rules) for name in sorted(rules.channels)]


def webhooks(core: Core, whole: bool = False) -> list[WebhookShape]:
    """Return all webhooks. `whole`: with each whole address, which may hold a secret; else only its place."""
    with core.ports.ledger.transaction() as tx:
        found = [webhook(tx, one) for one in tx.find(Webhook)]
    return found if whole else [{**one, "url": _place(one["url"])} for one in found]


def deliveries(core: Core, target: str, limit: int, rules: NotifyRules) -> list[DeliveryShape]:
    """Return the newest deliveries of a target (`notify:phone`, `webhook:ci`), newest first."""
    kind, _, name = target.partition(":")
    with core.ports.ledger.transaction() as tx:
        found = rows.newest(tx, target, limit)
        there = [one.name for one in tx.find(Webhook)] if kind == "webhook" else list(rules.channels)
        if not found and name not in there:
            fix = "pancode webhook ls" if kind == "webhook" else "pancode notify ls"
            raise not_found("webhook" if kind == "webhook" else "channel", name, there, fix)
        return [delivery(one) for one in found]


def troubles(core: Core, rules: NotifyRules) -> list[str]:
    """Channels and webhooks whose last message did not arrive, in words."""
    lines = [f"notices to {c['channel']}: {c['trouble']}" for c in channels(core, rules) if c["trouble"]]
    lines += [f"webhook {w['webhook']}: {w['trouble']}" for w in webhooks(core) if w["trouble"]]
    return lines + [f"a rule of notices names the unknown channel {one}" for one in rules.unknown_channels()]


def delivery(one: Delivery) -> DeliveryShape:
    return {
        "delivery": one.id,
        "target": one.target,
        "kind": one.kind,
        "state": one.state.value,
        "tries": one.tries,
        "status": one.status,
        "created_at": at(one.created_ms),
        "next_at": iso(one.due_ms) if one.state is DeliveryState.WAITING else None,
        "done_at": iso(one.done_ms),
    }


def webhook(tx: Transaction, one: Webhook, secret: str | None = None) -> WebhookShape:
    waiting, last, trouble = _about(tx, f"{WEBHOOK}{one.name}")
    return {
        "webhook": one.name,
        "url": one.url,
        "events": list(one.events),
        "created_at": at(one.created_ms),
        "created_by": one.created_by,
        "waiting": waiting,
        "last_sent_at": last,
        "trouble": trouble,
        "secret": secret,
    }


def _channel(tx: Transaction, name: str, rules: NotifyRules) -> ChannelShape:
    waiting, last, trouble = _about(tx, f"{NOTIFY}{name}")
    kinds = {kind for route in rules.routes if name in route.to for kind in route.kinds}
    return {
        "channel": name,
        "secret": rules.channels[name],
        "kinds": sorted(kinds),
        "waiting": waiting,
        "last_sent_at": last,
        "trouble": trouble,
    }


def _place(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _about(tx: Transaction, target: str) -> tuple[int, str | None, str]:
    """Return how many deliveries wait, when one was sent last, and why the last one that was tried failed."""
    known = rows.newest(tx, target, _LOOKED)
    sent = max((one.done_ms or 0 for one in known if one.state is DeliveryState.SENT), default=None)
    tried = sorted((one for one in known if one.tried_ms is not None), key=lambda one: one.tried_ms or 0)
    bad = tried[-1] if tried and tried[-1].state is not DeliveryState.SENT else None
    waiting = sum(one.state is DeliveryState.WAITING for one in known)
    return waiting, iso(sent), "" if bad is None else bad.status or "not sent"
