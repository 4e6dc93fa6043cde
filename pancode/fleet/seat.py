"""The seat of the coordinator: which of several coordinators with the fleet's key may use the nodes.

A home that was restored takes a new seat when a user takes its fleet up. The coordinator with the newest
seat leaves a signed claim on each node that it reaches; one with an older seat that finds such a claim is
fenced: its process ends, and the next one only answers what reads, until a user takes the fleet back.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from pydantic import Field

from node_agent.wire.model import MOST
from node_agent.wire.signing import (
    Message,
    PublicKey,
    SigningKey,
    WireRefusal,
    open_as,
    parse_envelope,
    verify_envelope,
)
from pancode.kernel.errors import PancodeError
from pancode.kernel.ports import Ledger, Transaction
from pancode.kernel.records import Setting
from pancode.runs import keyring
from pancode.runs.core import Core

log = logging.getLogger("pancode.seat")

SEAT, FENCED = "seat", "fenced"
"""The settings with the seat of this ledger's coordinator, and with the seat that fenced it off."""
CLAIM_FILE = "seat.json"
"""The file with the claim, in the node home and in a folder of copies."""
AHEAD_MS = 86_400_000
"""How far a newer seat may be ahead of this machine's clock."""
NONE = "none"
"""What a node prints if it has no claim."""


@dataclass(frozen=True, slots=True, order=True)
class Seat:
    """A seat. `number`: wall-clock ms of the restore that took it, above all earlier ones; 0: never restored.
    `id`: tells two restores with the same number apart."""

    number: int = 0
    id: str = ""


class SeatClaim(Message):
    """The claim that a coordinator leaves on a node, signed with the fleet's key."""

    fleet: str = Field(max_length=64)
    number: int = Field(ge=0, le=MOST)
    id: str = Field(max_length=64)


class Verdict(StrEnum):
    """What a coordinator does about the claim that it found on a node."""

    KEEP = "keep"
    TAKE = "take"
    FENCED = "fenced"
    FOREIGN = "foreign"
    """The claim is not from this fleet, or of a retired key, so it proves nothing; a restored coordinator
    does not use the node until it is removed."""


def read_seat(tx: Transaction) -> Seat:
    """Return the seat of this ledger's coordinator."""
    row = tx.get(Setting, SEAT)
    return seat_in(None if row is None else row.value)


def seat_in(value: object) -> Seat:
    """Return the seat in a setting's value."""
    match value:
        case {"number": int(number), "id": str(token)} if 0 <= number <= MOST and number is not True:
            return Seat(number, token)
        case _:
            return Seat()


def take_seat(tx: Transaction, seat: Seat, wall_ms: int, by: str) -> None:
    """Give this ledger's coordinator a new seat; it is not fenced any more."""
    tx.put(Setting(SEAT, {"number": seat.number, "id": seat.id}, wall_ms, by))
    tx.delete(Setting, FENCED)


def make_next_seat(known: Seat, wall_ms: int, token: str) -> Seat:
    """Return a seat above the known one. Later restores get higher numbers, unless a clock is set back."""
    return Seat(max(known.number + 1, wall_ms), token)


def judge_claim(
    mine: Seat, found: str, fleet: str, current: PublicKey, retired: Mapping[str, PublicKey], wall_ms: int
) -> tuple[Verdict, Seat]:
    """Decide about the text of a claim; return the verdict and the claimed seat.

    `current`: the key that this coordinator signs with. `retired`: its earlier keys, by id; they prove only
    its own or an older seat, which is then claimed with the current key.
    """
    if found.strip() == NONE:
        return (Verdict.TAKE if mine.number else Verdict.KEEP), Seat()
    keys = {**retired, current.keyid: current}
    try:
        envelope = parse_envelope(found)
        signer, claim = verify_envelope(envelope, keys), open_as(SeatClaim, envelope, keys)
    except WireRefusal:
        return Verdict.FOREIGN, Seat()
    there, is_current = Seat(claim.number, claim.id), signer.keyid == current.keyid
    if claim.fleet != fleet:
        return Verdict.FOREIGN, Seat()
    if there == mine:
        return (Verdict.KEEP if is_current else Verdict.TAKE), there
    if there.number < mine.number:
        return Verdict.TAKE, there
    # equal numbers: two restores at once; the first on the node wins
    is_valid = is_current and there.number <= wall_ms + AHEAD_MS
    return (Verdict.FENCED, there) if is_valid else (Verdict.FOREIGN, Seat())


def sign_claim(seat: Seat, fleet: str, key: SigningKey) -> bytes:
    """Return the claim as it is stored on a node."""
    envelope = SeatClaim(fleet=fleet, number=seat.number, id=seat.id).signed(key)
    return envelope.model_dump_json().encode() + b"\n"


class SeatKeeper:
    """This coordinator's seat, and whether it was fenced off. Thread-safe."""

    def __init__(
        self,
        ledger: Ledger,
        fleet: str,
        key: Callable[[], SigningKey],
        wall_ms: Callable[[], int],
        note: Callable[[str], None],
    ) -> None:
        """`key`: the coordinator's current key. `note`: records in the audit log that the coordinator was
        fenced; called once."""
        self._ledger, self._fleet, self._key, self._wall_ms, self._note = ledger, fleet, key, wall_ms, note
        self._seat: Seat | None = None
        self.held: PancodeError | None = None
        """The error for each use of a node while this coordinator does not lead; None: it leads."""
        self._lock = threading.Lock()
        self.is_fenced = False
        """Whether a newer coordinator was found; then this process ends."""

    @property
    def mine(self) -> Seat:
        if self._seat is None:
            with self._ledger.transaction() as tx:
                self._seat = read_seat(tx)
        return self._seat

    def lead(self) -> None:
        """Use nodes from now on, with the seat that the ledger now has."""
        self._seat = self.held = None

    def judge(self, found: str) -> Verdict:
        """Decide about a claim found on a node; a newer coordinator's claim fences this one off, for good."""
        current, now_ms = self._key().public, self._wall_ms()
        verdict, there = judge_claim(self.mine, found, self._fleet, current, {}, now_ms)
        if verdict is Verdict.FOREIGN:  # rarely, so the ledger is not read for each claim
            with self._ledger.transaction() as tx:
                known = keyring.read_trusted_keys(tx).coordinators
            retired = {keyid: one.key for keyid, one in known.items()}
            verdict, there = judge_claim(self.mine, found, self._fleet, current, retired, now_ms)
        with self._lock:
            is_news = verdict is Verdict.FENCED and not self.is_fenced
            if is_news:
                with self._ledger.transaction() as tx:
                    value: dict[str, object] = {"number": there.number, "id": there.id}
                    tx.put(Setting(FENCED, value, self._wall_ms(), "coordinator"))
                self.is_fenced = True
        if is_news:
            self._note(f"a coordinator with seat {there.number} was found; this one has {self.mine.number}")
        return verdict

    def claim(self) -> bytes:
        """Return this coordinator's claim as it is stored on a node."""
        return sign_claim(self.mine, self._fleet, self._key())


def keep_seat(core: Core) -> SeatKeeper:
    """Return the keeper of this coordinator's seat."""

    def note(words: str) -> None:
        log.error("this coordinator was replaced and ends: %s", words)
        core.live.record_trust("error", "this coordinator was replaced after a restore", why=words)

    return SeatKeeper(core.ports.ledger, core.fleet, lambda: core.key, core.wall_ms, note)
