"""Reads and writes the rows of deliveries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pancode.config.notify import NotifyRules
from pancode.kernel.ports import Transaction
from pancode.kernel.records import Delivery, DeliveryState, Setting
from pancode.kernel.values import replace
from pancode.kernel.visitors import NewToken
from pancode.notices.batching import MOST_WAITING, again_ms, too_old
from pancode.runs.core import Core
from pancode.runs.unit_of_work import Work


class OutgoingPort(Protocol):
    """Settings and secrets of notices, and a sender. Each call of `notify` takes at most half a minute."""

    def rules(self) -> NotifyRules:
        """Return the settings of notices from the current files. ConfigError names the file and the key."""

    def secret(self, name: str) -> str:
        """Return a stored secret by its name. NotFoundError names the command that stores it."""

    def notify(self, address: str, notice: Mapping[str, Any]) -> None:
        """Send one notice to an Apprise URL. UnavailableError on failure; its text never has the URL."""


class TokensPort(Protocol):
    """The tokens in the links of notices."""

    def create(self, core: Core, wanted: NewToken, by: str) -> Mapping[str, object]:
        """Create a token; return it with its secret as `token`. UsageError if its item no longer waits."""

    def revoke(self, core: Core, name: str, by: str) -> object:
        """Revoke the token. NotFoundError if it does not exist."""


@dataclass(frozen=True, slots=True)
class DeliveryTry:
    """The result of a try to deliver. `final`: a retry would end the same way."""

    ok: bool
    status: str
    final: bool = False


MARK = "outgoing"
"""Name of the setting with the number of the newest processed event."""
CHANNELS = "outgoing.channels"
"""Name of the setting with the newest event when a channel was first seen, by channel."""
KEPT = 300
"""How many ended deliveries of each target are retained, newest first."""


def read_cursor(tx: Transaction) -> int | None:
    known = tx.get(Setting, MARK)
    return known.value if known is not None and isinstance(known.value, int) else None


def channels_since(tx: Transaction) -> dict[str, int]:
    """Return the newest event when a channel was first seen in the settings, by channel."""
    known = tx.get(Setting, CHANNELS)
    return dict(known.value) if known is not None and isinstance(known.value, dict) else {}


def put_channels(work: Work, since: dict[str, int]) -> None:
    if since != channels_since(work.tx):
        work.tx.put(Setting(CHANNELS, since, work.core.wall_ms(), "coordinator"))


def add_deliveries(work: Work, number: int, new: Sequence[Delivery]) -> None:
    """Add deliveries and the position in the feed in one transaction, so no delivery is lost or doubled."""
    work.tx.put(Setting(MARK, number, work.core.wall_ms(), "coordinator"))
    for one in new:
        if work.tx.get(Delivery, one.id) is None:
            work.tx.insert(one)
    for target in sorted({one.target for one in new}):
        _drop_waiting(work, target)
        _forget_old(work, target)


def list_pending(tx: Transaction) -> list[Delivery]:
    """Return the waiting deliveries, oldest first."""
    return sorted(
        tx.find(Delivery, {"state": DeliveryState.WAITING}), key=lambda one: (one.created_ms, one.id)
    )


def list_newest(tx: Transaction, target: str, count: int) -> list[Delivery]:
    """Return the newest deliveries of a target, newest first."""
    return tx.find(Delivery, {"target": target}, order="created_ms", descending=True, limit=count)


def record_attempt(work: Work, batch: Sequence[Delivery], sent: DeliveryTry) -> None:
    """Record how a try of these deliveries ended; write a final failure to the audit too."""
    now = work.core.wall_ms()
    for one in batch:
        known = work.tx.get(Delivery, one.id)
        if known is None or known.state is not DeliveryState.WAITING:
            continue
        tries = known.tries + 1
        pause = None if sent.final else again_ms(tries)
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
    what = "notice not delivered"
    work.audit("fleet", "warning", what, None, target=one.target, words=one.status, about=one.kind)


def _drop_waiting(work: Work, target: str) -> None:
    """Drop a target's oldest deliveries above the limit: mark all as failed, and write one audit entry."""
    mine = work.tx.find(Delivery, {"target": target, "state": DeliveryState.WAITING}, order="created_ms")
    dropped = [
        replace(
            one,
            state=DeliveryState.FAILED,
            status=f"dropped: more than {MOST_WAITING} deliveries waited",
            done_ms=work.core.wall_ms(),
        )
        for one in too_old(mine)
    ]
    for one in dropped:
        work.tx.put(one)
    if dropped:
        _record(work, dropped[-1])


def _forget_old(work: Work, target: str) -> None:
    for one in list_newest(work.tx, target, 2 * KEPT)[KEPT:]:
        if one.state is not DeliveryState.WAITING:
            work.tx.delete(Delivery, one.id)
