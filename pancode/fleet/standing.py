"""Decides whether a coordinator leads its fleet, and records that a user has let a restored home lead it.

A home that was restored, by `admin restore`, from an archive or with its disk, is held: its coordinator
answers what only reads, has no links and no acting threads, and begins no epoch, until `pancode fleet up`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from pancode.fleet.answers import HeldShape
from pancode.fleet.seat import FENCED, Seat, make_next_seat, read_seat, seat_in, take_seat
from pancode.kernel.errors import ConfigError, PancodeError, RefusedError
from pancode.kernel.ports import Transaction
from pancode.kernel.records import ApiToken, Audit, Setting
from pancode.kernel.visitors import AccessError
from pancode.runs.core import BEHIND, RESTORED
from pancode.runs.restored.mode import EPOCH, FleetMode, decide_mode, read_facts
from pancode.runs.views import format_iso

STARTS = 1_000
"""How many starts more another coordinator may have had than its clock allows."""


class HeldError(RefusedError):
    """A held coordinator does not act."""

    code = "fleet_held"


class FencedError(ConfigError):
    """Another coordinator has replaced this one."""

    code = "fenced"


@dataclass(frozen=True, slots=True)
class Held:
    """Why this coordinator does not lead, and what its ledger knows: the newest `epoch` and `seat`, and in
    `restored` from which copy it is and when that was taken."""

    mode: FleetMode
    why: str
    fix: str
    epoch: int = 1
    seat: Seat = Seat()
    restored: Mapping[str, object] = field(default_factory=dict)

    def refuse(self) -> PancodeError:
        """Return the error for a request that would act."""
        if self.mode is FleetMode.FENCED:
            return FencedError("another coordinator has replaced this one", why=self.why, fix=self.fix)
        return HeldError("this home was restored, and its fleet is not taken up", why=self.why, fix=self.fix)

    def must_accept(self, token: ApiToken) -> None:
        """Raise AccessError for a token that the ledger had when it was put back."""
        if token.created_ms <= int(str(self.restored.get("taken_ms", 0))):
            raise AccessError(
                f"token {token.name} is not valid while this home is {self.mode}",
                why="it is from before the restore, and may have been revoked since",
                fix=f"on the coordinator's machine: {self.fix}",
                code="token_over",
            )

    def shape(self) -> HeldShape:
        return {"mode": self.mode.value, "why": self.why, "fix": self.fix}


def read_held(tx: Transaction, file: int | None) -> Held | None:
    """Return why this ledger's coordinator may not lead; None if it leads. `file`: the epoch in the home."""
    fenced, behind, restored = (tx.get(Setting, name) for name in (FENCED, BEHIND, RESTORED))
    found = read_facts(tx, file)
    mode = decide_mode(replace(found, is_behind=behind is not None, is_fenced=fenced is not None))
    if mode is FleetMode.LEADS:
        return None
    newest, seat = tx.find(Audit, descending=True, limit=1), read_seat(tx)
    facts: Mapping[str, object] = {"copy": "", "taken_ms": newest[0].at_ms if newest else 0}
    if restored is not None and isinstance(restored.value, Mapping) and "up_ms" not in restored.value:
        facts = restored.value
    fix = "pancode fleet up"
    if fenced is not None:
        other = seat_in(fenced.value)
        why = f"a coordinator on another machine leads the fleet since {format_iso(other.number)} (seat "
        why += f"{other.id}), as a node said at {format_iso(fenced.changed_ms)}"
        fix, seat = (
            "use the fleet on that machine; to take it back to this one: pancode fleet up --take",
            other,
        )
    elif behind is not None:
        why = f"{behind.value}, which this ledger lacks: it was put back"
    else:
        why = f"its ledger is from {format_iso(int(str(facts['taken_ms'])))}; "
        why += "another coordinator may have led the fleet since"
    return Held(mode, why, fix, found.ledger or 1, seat, facts)


def take_up(tx: Transaction, held: Held, most_epochs: int, wall_ms: int, token: str, by: str) -> Seat:
    """Let this ledger's coordinator lead the fleet: take a new seat, and an epoch above all that others can
    have used; the next start of an epoch makes it durable outside the ledger. Return the seat."""
    seat = make_next_seat(held.seat, wall_ms, token)
    take_seat(tx, seat, wall_ms, by)
    tx.put(Setting(EPOCH, max(held.epoch, most_epochs + STARTS), wall_ms, by))
    tx.delete(Setting, BEHIND)
    value = {**held.restored, "up_ms": wall_ms, "by": by, "was": held.mode.value}
    tx.put(Setting(RESTORED, value, wall_ms, by))
    return seat
