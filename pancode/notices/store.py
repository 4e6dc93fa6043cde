"""Reads and writes the rows of deliveries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from pancode.config.notify import NotifyRules
from pancode.kernel.ports import Transaction
from pancode.kernel.records import Setting
from pancode.kernel.values import replace
from pancode.kernel.visitors import NewToken
from pancode.notices.batching import MOST_WAITING, again_ms, too_old
from pancode.notices.records import Delivery
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
    """The result of a try to deliver. `why`: why nothing was sent; empty: it was sent. `final`: a retry would
    end the same way. `needless`: nothing had to be sent, and nothing failed."""

    why: str = ""
    final: bool = False
    needless: bool = False


@dataclass(frozen=True, slots=True)
class ChannelState:
    """What is known of a channel's last try. `trouble`: why it failed; empty: it did not."""

    tried_ms: int = 0
    sent_ms: int = 0
    trouble: str = ""


MARK = "outgoing"
"""Name of the setting with the number of the newest processed event."""
CHANNELS = "outgoing.channels"
"""Name of the setting with the newest event when a channel was first seen, by channel."""
STATES = "outgoing.states"
"""Name of the setting with the state of each target."""


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


def list_pending(tx: Transaction) -> list[Delivery]:
    """Return the waiting deliveries, oldest first."""
    return sorted(tx.find(Delivery), key=lambda one: (one.created_ms, one.id))


def read_states(tx: Transaction) -> dict[str, ChannelState]:
    """Return the state of each target to which something was sent."""
    known = tx.get(Setting, STATES)
    rows = known.value if known is not None and isinstance(known.value, dict) else {}
    return {target: ChannelState(**row) for target, row in rows.items()}


def record_attempt(work: Work, target: str, batch: Sequence[Delivery], made: DeliveryTry) -> None:
    """Record how a try of these deliveries ended; write a final failure to the audit too."""
    now = work.core.wall_ms()
    for one in batch:
        known = work.tx.get(Delivery, one.id)
        if known is None:
            continue
        tries = known.tries + 1
        pause = again_ms(tries) if made.why and not made.final else None
        if pause is not None:
            work.tx.put(replace(known, tries=tries, due_ms=now + pause))
            continue
        work.tx.delete(Delivery, known.id)
        if made.why:
            _record(work, known, made.why)
    if made.needless:
        return
    states = read_states(work.tx)
    sent_ms = now if not made.why else states.get(target, ChannelState()).sent_ms
    states[target] = ChannelState(now, sent_ms, made.why[:300])
    plain = {name: asdict(one) for name, one in states.items()}
    work.tx.put(Setting(STATES, plain, now, "coordinator"))


def _record(work: Work, one: Delivery, why: str) -> None:
    what = "notice not delivered"
    work.audit("fleet", "warning", what, None, target=one.target, words=why[:300], about=one.kind)


def _drop_waiting(work: Work, target: str) -> None:
    """Drop a target's oldest deliveries above the limit, and write one audit entry."""
    dropped = too_old(work.tx.find(Delivery, {"target": target}, order="created_ms"))
    for one in dropped:
        work.tx.delete(Delivery, one.id)
    if dropped:
        _record(work, dropped[-1], f"dropped: more than {MOST_WAITING} deliveries waited")
