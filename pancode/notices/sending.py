"""The thread that delivers: one try at a time for each target, and a rest after one that failed.

So a target that is slow, or takes nothing, holds one of a few threads for one try, which has a deadline.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from pancode.control.core import Core
from pancode.control.feed_thread import FeedThread
from pancode.control.work import unit_of_work
from pancode.core.records import Delivery, DeliveryState, Webhook
from pancode.errors import ConfigError, NotFoundError, PancodeError, UnavailableError
from pancode.notices import rows
from pancode.notices.asking import with_link
from pancode.notices.following import FeedFollower
from pancode.notices.looking import troubles
from pancode.notices.pacing import NOTIFY, WEBHOOK, Sending, rest_ms, rested, to_send
from pancode.notices.ports import DeliveryTry, OutgoingPort
from pancode.notices.routing import NotifyRules
from pancode.notices.signing import encoded, headers
from pancode.notices.words import digest

log = logging.getLogger("pancode.outgoing")
LOOK_S, AT_ONCE, SHOWN = 15.0, 4, 20


class Outgoing(FeedThread):
    """`round` makes deliveries and begins tries; each try ends by itself.

    A kill during a try leaves it to be made again: a webhook has the same id then, a notice comes twice.
    """

    def __init__(self, core: Core, port: OutgoingPort) -> None:
        super().__init__(core, "outgoing", LOOK_S)
        self._port = port
        self._follower = FeedFollower(core)
        self._busy: set[str] = set()
        self._rests: dict[str, int] = {}
        """Targets that could not be reached, and until when they are left alone."""
        self.troubles: list[str] = []
        """What did not arrive, in words; newly looked up after each try."""
        self._lock = threading.Lock()
        self._tries = ThreadPoolExecutor(AT_ONCE, "deliveries")

    def stop(self) -> None:
        """Waits for no other side. Idempotent."""
        self._end()
        self._tries.shutdown(wait=False, cancel_futures=True)
        self._join()

    def _turn(self) -> float:
        return self.round()

    def round(self, *, here: bool = False) -> float:
        """Seconds until the next look. `here`: the tries are made by this thread (tests)."""
        try:
            rules = self._port.rules()
        except ConfigError as error:
            log.warning("no notices: %s: %s", error, error.why)
            rules = NotifyRules()
        self._follower.follow(rules)
        wait_s = LOOK_S
        for target, mine in self._by_target().items():
            now = self._core.wall_ms()
            plan = rested(self._plan(target, mine), self._rests.get(target, 0), now)
            if plan.again_ms is not None:
                wait_s = min(wait_s, max(0.0, (plan.again_ms - now) / 1000))
            if plan.now:
                self._begin(target, plan.now[0], rules, here)
        return wait_s

    def _by_target(self) -> dict[str, list[Delivery]]:
        with self._core.ports.ledger.transaction() as tx:
            waiting = rows.waiting(tx)
        found: dict[str, list[Delivery]] = {}
        for one in waiting:
            found.setdefault(one.target, []).append(one)
        return found

    def _plan(self, target: str, mine: Sequence[Delivery]) -> Sending:
        now = self._core.wall_ms()
        if target.startswith(WEBHOOK):
            later = min((one.due_ms for one in mine if one.due_ms > now), default=None)
            return Sending(tuple((one,) for one in mine if one.due_ms <= now), later)
        with self._core.ports.ledger.transaction() as tx:
            last = rows.newest(tx, target, SHOWN)
        sent = {one.done_ms for one in last if one.state is DeliveryState.SENT and one.done_ms is not None}
        return to_send(mine, sorted(sent), now)

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
        """One try. The other deliveries of this target have their turn with the next round, behind others."""
        try:
            sent = self._tried(target, batch, rules)
            with unit_of_work(self._core) as work:
                rows.ended(work, batch, sent)
            self._rests.pop(target, None)
            if not sent.ok and not sent.final:
                self._rests[target] = self._core.wall_ms() + rest_ms(target)
            self.troubles = troubles(self._core, rules)
        except Exception:
            log.exception("%s: a delivery could not be made, or not be written down", target)
            self._rests[target] = self._core.wall_ms() + rest_ms(target)
        finally:
            with self._lock:
                self._busy.discard(target)
            self._woken.set()

    def _tried(self, target: str, batch: Sequence[Delivery], rules: NotifyRules) -> DeliveryTry:
        try:
            if target.startswith(NOTIFY):
                return self._notified(target.removeprefix(NOTIFY), batch, rules)
            return self._posted(target.removeprefix(WEBHOOK), batch[0])
        except UnavailableError as error:
            return DeliveryTry(False, error.words)
        except PancodeError as error:
            return DeliveryTry(False, error.words, final=not isinstance(error, NotFoundError))

    def _notified(self, channel: str, batch: Sequence[Delivery], rules: NotifyRules) -> DeliveryTry:
        if channel not in rules.channels:
            return DeliveryTry(False, "the settings have no such channel any more", final=True)
        address = self._port.secret(rules.channels[channel])
        if len(batch) == 1:
            notice = with_link(self._core, rules, batch[0].body, channel)
        else:
            notice = digest([one.body for one in batch]).row()
        self._port.notify(address, notice)
        return DeliveryTry(True, "sent" if len(batch) == 1 else f"sent with {len(batch) - 1} others")

    def _posted(self, name: str, one: Delivery) -> DeliveryTry:
        with self._core.ports.ledger.transaction() as tx:
            hook = rows.webhook(tx, name)
        body, at_s = encoded(one.body), self._core.wall_ms() // 1000
        signed = headers(self._port.secret(secret_name(hook)), message_id(one), at_s, body)
        return DeliveryTry(True, self._port.post(hook.url, signed, body))


def secret_name(hook: Webhook) -> str:
    return f"webhook-{hook.name}"


def message_id(one: Delivery) -> str:
    """The same at each try, so that a receiver knows it again."""
    return "msg_" + one.id.replace(":", "_")
