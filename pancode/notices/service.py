"""Sends a test notice on request."""

from __future__ import annotations

from pancode.config.notify import NotifyRules
from pancode.kernel.names import not_found
from pancode.notices.answers import TestedChannel
from pancode.notices.batching import NOTIFY
from pancode.notices.records import Delivery
from pancode.notices.texts import Notice
from pancode.runs.core import Core
from pancode.runs.unit_of_work import unit_of_work
from pancode.runs.views import format_iso


def send_test(core: Core, rules: NotifyRules, channel: str, by: str) -> TestedChannel:
    """Send a test notice now, also in quiet hours. NotFoundError if the channel is unknown."""
    if channel not in rules.channels:
        raise not_found("channel", channel, rules.channels, "pancode admin notify")
    now, target = core.wall_ms(), f"{NOTIFY}{channel}"
    body = Notice(f"this is a test, requested by {by}"[:200], rules.console).row()
    one = Delivery(f"{target}:test-{now}", target, now, "test", body, now)
    with unit_of_work(core) as work:
        work.tx.insert(one)
        work.audit("fleet", "info", "notice tested", None, channel=channel, by=by)
    return {"channel": channel, "created_at": format_iso(now)}
