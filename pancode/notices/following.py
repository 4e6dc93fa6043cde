"""Makes deliveries of events: notices for the channels that want them, payloads for webhooks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pancode.access.tokens import create, revoke
from pancode.control.core import Core
from pancode.control.run import at
from pancode.control.work import Work, unit_of_work
from pancode.core.names import not_found
from pancode.core.ports import Transaction
from pancode.core.records import ApiToken, Delivery, DeliveryState, EventKind, FeedEvent, Setting, Webhook
from pancode.core.values import replace
from pancode.core.visitors import NOTICE, AccessScope, NewToken
from pancode.errors import ConflictError, NotFoundError, UsageError
from pancode.life.changes import occasion_of
from pancode.notices.pacing import MOST_WAITING, NOTIFY, WEBHOOK, again_ms, too_old
from pancode.notices.ports import DeliveryTry
from pancode.notices.routing import NotifyRules
from pancode.notices.signing import payload, wants
from pancode.notices.words import ASKS, KIND_OF, notice_of
from pancode.work.people.answering import items
from pancode.work.schedule.happenings import facts_of

MARK = "outgoing"
"""The setting with the number of the newest event that was looked at."""
CHANNELS = "outgoing.channels"
"""The setting with the channels, and the newest event when each was first seen."""
KEPT = 300
"""So many ended deliveries of each target are kept, the newest ones."""


def mark(tx: Transaction) -> int | None:
    known = tx.get(Setting, MARK)
    return known.value if known is not None and isinstance(known.value, int) else None


def channels_since(tx: Transaction) -> dict[str, int]:
    """By channel of the settings: the newest event when it was first seen."""
    known = tx.get(Setting, CHANNELS)
    return dict(known.value) if known is not None and isinstance(known.value, dict) else {}


def put_channels(work: Work, since: dict[str, int]) -> None:
    if since != channels_since(work.tx):
        work.tx.put(Setting(CHANNELS, since, work.core.wall_ms(), "coordinator"))


def put(work: Work, number: int, new: Sequence[Delivery]) -> None:
    """New deliveries and the place in the feed: in one transaction, so that none is lost or made twice."""
    work.tx.put(Setting(MARK, number, work.core.wall_ms(), "coordinator"))
    for one in new:
        if work.tx.get(Delivery, one.id) is None:
            work.tx.insert(one)
    for target in sorted({one.target for one in new}):
        _drop_waiting(work, target)
        _forget_old(work, target)


def waiting(tx: Transaction) -> list[Delivery]:
    """The oldest first."""
    return sorted(
        tx.find(Delivery, {"state": DeliveryState.WAITING}), key=lambda one: (one.created_ms, one.id)
    )


def newest(tx: Transaction, target: str, count: int) -> list[Delivery]:
    """The newest first."""
    return tx.find(Delivery, {"target": target}, order="created_ms", descending=True, limit=count)


def ended(work: Work, batch: Sequence[Delivery], sent: DeliveryTry) -> None:
    """One try of these is over; a final failure is on record."""
    now = work.core.wall_ms()
    for one in batch:
        known = work.tx.get(Delivery, one.id)
        if known is None or known.state is not DeliveryState.WAITING:
            continue
        tries = known.tries + 1
        pause = None if sent.final else again_ms(known.target, tries)
        tried = replace(known, tries=tries, status=sent.status[:300], tried_ms=now)
        if sent.ok:
            tried = replace(tried, state=DeliveryState.SENT, done_ms=now)
        elif pause is None:
            tried = replace(tried, state=DeliveryState.FAILED, done_ms=now)
            _record(work, tried)
        else:
            tried = replace(tried, due_ms=now + pause)
        work.tx.put(tried)


def _record(work: Work, one: Delivery) -> None:
    what = "notice not delivered" if one.target.startswith(NOTIFY) else "webhook not delivered"
    work.audit("fleet", "warning", what, None, target=one.target, words=one.status, about=one.kind)


def add_webhook(work: Work, hook: Webhook) -> None:
    """ConflictError where the name is taken."""
    if work.tx.get(Webhook, hook.name) is not None:
        fix = f"take another name, or: pancode webhook rm {hook.name}"
        raise ConflictError(f"there is a webhook {hook.name} already", fix=fix, code="name_taken")
    work.tx.insert(hook)


def webhook(tx: Transaction, name: str) -> Webhook:
    """NotFoundError with the nearest name."""
    found = tx.get(Webhook, name)
    if found is None:
        raise not_found("webhook", name, [one.name for one in tx.find(Webhook)], "pancode webhook ls")
    return found


def remove(work: Work, name: str, target: str) -> None:
    """The webhook with its deliveries."""
    for one in work.tx.find(Delivery, {"target": target}):
        work.tx.delete(Delivery, one.id)
    work.tx.delete(Webhook, name)


def again(work: Work, delivery: str, core: Core) -> Delivery:
    """Send it once more, under its id. NotFoundError."""
    found = work.tx.get(Delivery, delivery)
    if found is None:
        raise not_found("delivery", delivery, (), "pancode webhook deliveries")
    now = core.wall_ms()
    anew = replace(found, state=DeliveryState.WAITING, tries=0, due_ms=now, done_ms=None)
    work.tx.put(anew)
    return anew


def _drop_waiting(work: Work, target: str) -> None:
    """Old ones of a target that takes too little: the log has them as failed, the audit the last of them."""
    mine = work.tx.find(Delivery, {"target": target, "state": DeliveryState.WAITING}, order="created_ms")
    dropped = [
        replace(
            one,
            state=DeliveryState.FAILED,
            status=f"dropped: more than {MOST_WAITING} waited",
            done_ms=work.core.wall_ms(),
        )
        for one in too_old(mine)
    ]
    for one in dropped:
        work.tx.put(one)
    if dropped:
        _record(work, dropped[-1])


def _forget_old(work: Work, target: str) -> None:
    for one in newest(work.tx, target, 2 * KEPT)[KEPT:]:
        if one.state is not DeliveryState.WAITING:
            work.tx.delete(Delivery, one.id)


LINK_MS = 3 * 86_400_000
PAGE = "answer"
BY = "the end of its question"


def with_link(core: Core, rules: NotifyRules, notice: Mapping[str, Any], channel: str) -> Mapping[str, Any]:
    """The notice with its link; unchanged where it asks nothing, links are off, or nothing waits any more.

    Made when it is sent: its secret is in no row.
    """
    run = notice.get(ASKS)
    if not run or not rules.answers or rules.console is None:
        return notice
    wanted = NewToken(NOTICE + core.ports.ids.short(8), (AccessScope.ANSWER,), LINK_MS, str(run))
    try:
        made = create(core, wanted, f"notice to {channel}"[:200])
    except UsageError:  # it was answered before the notice went out
        return notice
    return {**notice, "link": f"{rules.console.rstrip('/')}/{PAGE}#{made['token']}", "answers": True}


def forget_answered(core: Core, events: Iterable[FeedEvent] | None) -> None:
    """End the links of questions that wait no more. `events` None: more happened than is known."""
    if events is not None and all(event.kind is not EventKind.INBOX_ANSWERED for event in events):
        return
    with core.ports.ledger.transaction() as tx:
        tokens = [one for one in tx.find(ApiToken) if one.name.startswith(NOTICE)]
    waiting = {item["id"] for item in items(core)} if tokens else set()
    for token in tokens:
        if token.item not in waiting:
            try:
                revoke(core, token.name, BY)
            except NotFoundError:  # somebody has revoked it meanwhile
                continue


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
            known = mark(tx) if self._read is None else self._read
            hooks = tx.find(Webhook)
            events = core.feed.since(known) if known is not None else None
            last = events[-1].number if events else core.feed.last if events is None else known
            since = channels_since(tx) if self._since is None else self._since
            now = {name: since.get(name, last or 0) for name in rules.channels}
            found: list[Delivery] = []
            if events and (hooks or rules.channels):
                found = [one for event in events for one in _deliveries(core, tx, event, rules, (hooks, now))]
        forget_answered(core, events)
        if found or known is None or events is None or len(events) > BEHIND or now != since:
            with unit_of_work(core) as work:
                put(work, last or 0, found)
                put_channels(work, now)
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
