"""Channels and deliveries, in the form that the API returns."""

from __future__ import annotations

from pancode.config.notify import NotifyRules
from pancode.kernel.names import not_found
from pancode.kernel.ports import Transaction
from pancode.kernel.records import Delivery, DeliveryState
from pancode.notices import store as rows
from pancode.notices.answers import ChannelShape, DeliveryShape
from pancode.notices.batching import NOTIFY
from pancode.runs.core import Core
from pancode.runs.views import format_iso, format_optional_iso

_LOOKED = 50


def list_channels(core: Core, rules: NotifyRules) -> list[ChannelShape]:
    """Return all channels of the settings, sorted by name."""
    with core.ports.ledger.transaction() as tx:
        return [_make_channel(tx, name, rules) for name in sorted(rules.channels)]


def list_deliveries(core: Core, target: str, limit: int, rules: NotifyRules) -> list[DeliveryShape]:
    """Return the newest deliveries of a target such as `notify:phone`. NotFoundError if it is unknown."""
    name = target.removeprefix(NOTIFY)
    with core.ports.ledger.transaction() as tx:
        found = rows.list_newest(tx, target, limit)
    if not found and name not in rules.channels:
        raise not_found("channel", name, rules.channels, "pancode admin notify")
    return [describe_delivery(one) for one in found]


def list_failures(core: Core, rules: NotifyRules) -> list[str]:
    """Return one line for each channel whose last message failed, and for each unknown channel in a rule."""
    lines = [f"notices to {c['channel']}: {c['trouble']}" for c in list_channels(core, rules) if c["trouble"]]
    return lines + [f"a notice rule names the unknown channel {one}" for one in rules.unknown_channels()]


def describe_delivery(one: Delivery) -> DeliveryShape:
    return {
        "delivery": one.id,
        "target": one.target,
        "kind": one.kind,
        "state": one.state.value,
        "tries": one.tries,
        "status": one.status,
        "created_at": format_iso(one.created_ms),
        "next_at": format_optional_iso(one.due_ms) if one.state is DeliveryState.WAITING else None,
        "done_at": format_optional_iso(one.done_ms),
    }


def _make_channel(tx: Transaction, name: str, rules: NotifyRules) -> ChannelShape:
    waiting, last, trouble = _summarize_deliveries(tx, f"{NOTIFY}{name}")
    kinds = {kind for route in rules.routes if name in route.to for kind in route.kinds}
    return {
        "channel": name,
        "secret": rules.channels[name],
        "kinds": sorted(kinds),
        "waiting": waiting,
        "last_sent_at": last,
        "trouble": trouble,
    }


def _summarize_deliveries(tx: Transaction, target: str) -> tuple[int, str | None, str]:
    """Return how many deliveries wait, when one was last sent, and why the last try failed."""
    known = rows.list_newest(tx, target, _LOOKED)
    sent = max((one.done_ms or 0 for one in known if one.state is DeliveryState.SENT), default=None)
    tried = sorted((one for one in known if one.tried_ms is not None), key=lambda one: one.tried_ms or 0)
    bad = tried[-1] if tried and tried[-1].state is not DeliveryState.SENT else None
    waiting = sum(one.state is DeliveryState.WAITING for one in known)
    return waiting, format_optional_iso(sent), "" if bad is None else bad.status or "not sent"
