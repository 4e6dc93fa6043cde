"""The channels of notices, in the form that the API returns."""

from __future__ import annotations

from pancode.config.notify import NotifyRules
from pancode.notices import store as rows
from pancode.notices.answers import ChannelShape
from pancode.notices.batching import NOTIFY
from pancode.notices.records import Delivery
from pancode.notices.store import ChannelState
from pancode.runs.core import Core
from pancode.runs.views import format_optional_iso


def list_channels(core: Core, rules: NotifyRules) -> list[ChannelShape]:
    """Return all channels of the settings, sorted by name."""
    with core.ports.ledger.transaction() as tx:
        states = rows.read_states(tx)
        waiting = {name: len(tx.find(Delivery, {"target": f"{NOTIFY}{name}"})) for name in rules.channels}
    return [
        _make_channel(name, rules, states.get(f"{NOTIFY}{name}", ChannelState()), waiting[name])
        for name in sorted(rules.channels)
    ]


def list_failures(core: Core, rules: NotifyRules) -> list[str]:
    """Return one line for each channel whose last message failed, and for each unknown channel in a rule."""
    lines = [f"notices to {c['channel']}: {c['trouble']}" for c in list_channels(core, rules) if c["trouble"]]
    return lines + [f"a notice rule names the unknown channel {one}" for one in rules.unknown_channels()]


def _make_channel(name: str, rules: NotifyRules, state: ChannelState, waiting: int) -> ChannelShape:
    kinds = {kind for route in rules.routes if name in route.to for kind in route.kinds}
    return {
        "channel": name,
        "secret": rules.channels[name],
        "kinds": sorted(kinds),
        "waiting": waiting,
        "last_tried_at": format_optional_iso(state.tried_ms or None),
        "last_sent_at": format_optional_iso(state.sent_ms or None),
        "trouble": state.trouble,
    }
