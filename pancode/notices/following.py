"""Makes deliveries of events: notices for the channels that want them, payloads for webhooks."""

from __future__ import annotations

from pancode.control.core import Core
from pancode.control.run import at
from pancode.control.work import unit_of_work
from pancode.core.ports import Transaction
from pancode.core.records import Delivery, FeedEvent, Webhook
from pancode.life.changes import occasion_of
from pancode.notices import rows
from pancode.notices.asking import forget_answered
from pancode.notices.pacing import NOTIFY, WEBHOOK
from pancode.notices.routing import NotifyRules
from pancode.notices.signing import payload, wants
from pancode.notices.words import KIND_OF, notice_of
from pancode.work.schedule.happenings import facts_of

BEHIND = 500
"""After so many events without a delivery the place in the feed is written down all the same."""


class FeedFollower:
    """Makes deliveries of events. They and the place in the feed are durable together."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._read: int | None = None
        self._since: dict[str, int] | None = None
        """By channel: the newest event when it was first seen; it gets those after that."""

    def follow(self, rules: NotifyRules) -> None:
        """What has happened since the last time, as deliveries."""
        core = self._core
        with core.ports.ledger.transaction() as tx:
            known = rows.mark(tx) if self._read is None else self._read
            hooks = tx.find(Webhook)
            events = core.feed.since(known) if known is not None else None
            last = events[-1].number if events else core.feed.last if events is None else known
            since = rows.channels_since(tx) if self._since is None else self._since
            now = {name: since.get(name, last or 0) for name in rules.channels}
            found: list[Delivery] = []
            if events and (hooks or rules.channels):
                found = [one for event in events for one in _deliveries(core, tx, event, rules, (hooks, now))]
        forget_answered(core, events)
        if found or known is None or events is None or len(events) > BEHIND or now != since:
            with unit_of_work(core) as work:
                rows.put(work, last or 0, found)
                rows.put_channels(work, now)
        self._since = now
        # Else in memory alone: a restart reads these events again, and no channel that is new then gets them.
        self._read = last


def _deliveries(
    core: Core,
    tx: Transaction,
    event: FeedEvent,
    rules: NotifyRules,
    to: tuple[list[Webhook], dict[str, int]],
) -> list[Delivery]:
    """`to`: the webhooks; and by channel, the event after which it begins."""
    occasion, (hooks, since) = occasion_of(event), to
    found = []
    for hook in hooks:
        if event.at_ms >= hook.created_ms and wants(hook.events, event, occasion):
            body = payload(event, occasion, at(event.at_ms))
            target = f"{WEBHOOK}{hook.name}"
            found.append(_delivery(core, target, event, str(body["type"]), (body, core.wall_ms())))
    if occasion is None or occasion not in KIND_OF or not rules.channels:
        return found
    facts, kind = facts_of(tx, event), KIND_OF[occasion]
    notice = notice_of(event, occasion, facts, rules.console)
    for channel in rules.channels_for(kind, facts):
        if event.number <= since[channel]:
            continue
        due = rules.due_ms(kind, core.wall_ms())
        found.append(_delivery(core, f"{NOTIFY}{channel}", event, kind, (notice.row(), due)))
    return found


def _delivery(
    core: Core, target: str, event: FeedEvent, kind: str, what: tuple[dict[str, object], int]
) -> Delivery:
    """`what`: its body, and when it is due."""
    return Delivery(f"{target}:{event.number}", target, core.wall_ms(), kind, *what)
