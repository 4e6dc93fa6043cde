"""The thread that delivers notices. Each channel has one try at a time, with a deadline, and a pause after a
failure, so that a slow or unreachable channel blocks one of the few threads for one try only."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pancode.config.notify import NotifyRules
from pancode.kernel.errors import ConfigError, NotFoundError, PancodeError, UnavailableError, UsageError
from pancode.kernel.ports import Transaction
from pancode.kernel.records import ApiToken, EventKind, FeedEvent
from pancode.kernel.visitors import NOTICE, AccessScope, NewToken
from pancode.notices import store as rows
from pancode.notices.batching import NOTICE_AGAIN_MS, NOTIFY, delay_target, to_send
from pancode.notices.records import Delivery
from pancode.notices.store import ChannelState, DeliveryTry, OutgoingPort, TokensPort
from pancode.notices.texts import ASKS, CALL, KIND_OF, WAITS, count_others, notice_of
from pancode.notices.views import list_failures
from pancode.runs import occasions
from pancode.runs.core import Core
from pancode.runs.feed_thread import FeedThread
from pancode.runs.inbox_answers import list_inbox
from pancode.runs.occasions import facts_of, occasion_of
from pancode.runs.unit_of_work import unit_of_work

LINK_MS = 3 * 86_400_000
PAGE = "answer"
BY = "the end of its question"


def with_link(
    core: Core, tokens: TokensPort, rules: NotifyRules, notice: Mapping[str, Any], channel: str
) -> Mapping[str, Any]:
    """Return the notice with its answer link; unchanged if it asks nothing, links are off, or nothing waits
    now. The link is made when the notice is sent, so that its secret is never stored."""
    run = notice.get(ASKS)
    if not run or not rules.answers or rules.console is None:
        return notice
    wanted = NewToken(NOTICE + core.ports.ids.short(8), (AccessScope.ANSWER,), LINK_MS, str(run))
    try:
        made = tokens.create(core, wanted, f"notice to {channel}"[:200])
    except UsageError:  # The question was answered before the notice was sent.
        return notice
    return {**notice, "link": f"{rules.console.rstrip('/')}/{PAGE}#{made['token']}", "answers": True}


def forget_answered(core: Core, tokens: TokensPort, events: Iterable[FeedEvent] | None) -> None:
    """Revoke the links of answered questions. `events` None: some events are missing, so check all links."""
    if events is not None and all(event.kind is not EventKind.INBOX_ANSWERED for event in events):
        return
    with core.ports.ledger.transaction() as tx:
        links = [one for one in tx.find(ApiToken) if one.name.startswith(NOTICE)]
    waiting = {item["id"] for item in list_inbox(core)} if links else set()
    for token in links:
        if token.item not in waiting:
            try:
                tokens.revoke(core, token.name, BY)
            except NotFoundError:  # The link has been revoked meanwhile.
                continue


def drop_answered(core: Core, batch: Sequence[Delivery]) -> list[Delivery]:
    """Return the deliveries without those about inbox items that no longer wait."""
    if all(WAITS not in one.body for one in batch):
        return list(batch)
    waiting = {(item["run"], item["command"] if item["call"] else "") for item in list_inbox(core)}
    return [one for one in batch if WAITS not in one.body or (one.body[WAITS], one.body[CALL]) in waiting]


BEHIND = 500
"""After how many events the position in the feed is stored even without a delivery."""


class FeedFollower:
    """Turns events into deliveries. Deliveries and the position in the feed are committed together."""

    def __init__(self, core: Core, tokens: TokensPort) -> None:
        self._core, self._tokens = core, tokens
        self._read: int | None = None
        self._since: dict[str, int] | None = None
        """By channel, the newest event when the channel was first seen; it gets the events after that."""

    def follow(self, rules: NotifyRules) -> None:
        """Make deliveries for the events since the last call."""
        core = self._core
        with core.ports.ledger.transaction() as tx:
            known = rows.read_cursor(tx) if self._read is None else self._read
            events = core.feed.since(known) if known is not None else None
            last = events[-1].number if events else core.feed.last if events is None else known
            since = rows.channels_since(tx) if self._since is None else self._since
            now = {name: since.get(name, last or 0) for name in rules.channels}
            found: list[Delivery] = []
            if events and rules.channels:
                found = [one for event in events for one in _make_deliveries(core, tx, event, rules, now)]
        forget_answered(core, self._tokens, events)
        if found or known is None or events is None or len(events) > BEHIND or now != since:
            with unit_of_work(core) as work:
                rows.add_deliveries(work, last or 0, found)
                rows.put_channels(work, now)
        self._since = now
        # Otherwise only memory has the position: a restart repeats these events, but not for newer channels.
        self._read = last


def _make_deliveries(
    core: Core, tx: Transaction, event: FeedEvent, rules: NotifyRules, since: Mapping[str, int]
) -> list[Delivery]:
    """Return the deliveries for an event. `since`: the event after which a channel begins, by channel."""
    occasion = occasion_of(event)
    if occasion is None or occasion not in KIND_OF:
        return []
    facts, kind, found = facts_of(core, tx, event), KIND_OF[occasion], []
    notice = notice_of(event, occasion, facts, rules.console)
    for channel in rules.channels_for(kind, facts):
        if event.number <= since[channel]:
            continue
        target, now = f"{NOTIFY}{channel}", core.wall_ms()
        due = rules.due_ms(kind, now)
        found.append(Delivery(f"{target}:{event.number}", target, now, kind, notice.row(), due))
    return found


log = logging.getLogger("pancode.outgoing")
LOOK_S, AT_ONCE = 15.0, 4


class Outgoing(FeedThread):
    """Sends deliveries. `run_pass` makes deliveries and starts tries, each with a time limit. A killed try is
    repeated, so a notice can arrive twice."""

    def __init__(self, core: Core, port: OutgoingPort, tokens: TokensPort) -> None:
        super().__init__(core, "outgoing", LOOK_S, occasions.KINDS | {EventKind.INBOX_ANSWERED})
        self._port, self._tokens = port, tokens
        self._follower = FeedFollower(core, tokens)
        self._busy: set[str] = set()
        self._rests: dict[str, int] = {}
        """Unreachable targets, and until when no delivery to them is tried."""
        self.troubles: list[str] = []
        """What was not delivered, as text; updated after each try."""
        self._lock = threading.Lock()
        self._tries = ThreadPoolExecutor(AT_ONCE, "deliveries")

    def stop(self) -> None:
        """Stop without waiting for deliveries under way. Idempotent."""
        self._end()
        self._tries.shutdown(wait=False, cancel_futures=True)
        self._join()

    def run_pass(self, *, here: bool = False) -> float:
        """Run a pass; return the seconds until the next. `here`: make the tries in this thread."""
        try:
            rules = self._port.rules()
        except ConfigError as error:
            log.warning("no notices: %s: %s", error, error.why)
            rules = NotifyRules()
        self._follower.follow(rules)
        wait_s = LOOK_S
        with self._core.ports.ledger.transaction() as tx:
            waiting, states = rows.list_pending(tx), rows.read_states(tx)
        found: dict[str, list[Delivery]] = {}
        for one in waiting:
            found.setdefault(one.target, []).append(one)
        for target, mine in found.items():
            now = self._core.wall_ms()
            sent_ms = states.get(target, ChannelState()).sent_ms
            plan = delay_target(to_send(mine, sent_ms, now), self._rests.get(target, 0), now)
            if plan.again_ms is not None:
                wait_s = min(wait_s, max(0.0, (plan.again_ms - now) / 1000))
            if plan.now:
                self._begin(target, plan.now, rules, here)
        return wait_s

    def _begin(self, target: str, batch: Sequence[Delivery], rules: NotifyRules, here: bool) -> None:
        with self._lock:
            if target in self._busy or self._stopping.is_set():
                return
            self._busy.add(target)
        if here:
            self._deliver(target, batch, rules)
        else:
            self._tries.submit(self._deliver, target, batch, rules)

    def _deliver(self, target: str, batch: Sequence[Delivery], rules: NotifyRules) -> None:
        """Make one try. Other deliveries to this target wait for the next pass, after other targets."""
        try:
            sent = self._try_delivery(target, batch, rules)
            with unit_of_work(self._core) as work:
                rows.record_attempt(work, target, batch, sent)
            self._rests.pop(target, None)
            if sent.why and not sent.final:
                self._rests[target] = self._core.wall_ms() + NOTICE_AGAIN_MS[0]
            self.troubles = list_failures(self._core, rules)
        except Exception:
            log.exception("%s: a delivery could not be made or recorded", target)
            self._rests[target] = self._core.wall_ms() + NOTICE_AGAIN_MS[0]
        finally:
            with self._lock:
                self._busy.discard(target)
            self._woken.set()

    def _try_delivery(self, target: str, batch: Sequence[Delivery], rules: NotifyRules) -> DeliveryTry:
        try:
            channel = target.removeprefix(NOTIFY)
            if channel not in rules.channels:
                return DeliveryTry("the settings no longer have this channel", final=True)
            batch = drop_answered(self._core, batch)
            if not batch:
                return DeliveryTry(needless=True)
            address = self._port.secret(rules.channels[channel])
            newest = with_link(self._core, self._tokens, rules, batch[-1].body, channel)
            self._port.notify(address, count_others(newest, len(batch) - 1))
            return DeliveryTry()
        except UnavailableError as error:
            return DeliveryTry(error.words)
        except PancodeError as error:
            return DeliveryTry(error.words, final=not isinstance(error, NotFoundError))
