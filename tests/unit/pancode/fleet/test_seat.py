"""Which of two coordinators with the same key may use a node."""

from __future__ import annotations

import pytest

from node_agent.wire.signing import SigningKey
from pancode.fleet.seat import (
    AHEAD_MS,
    FENCED,
    NONE,
    Seat,
    SeatKeeper,
    Verdict,
    judge_claim,
    make_next_seat,
    read_seat,
    sign_claim,
    take_seat,
)
from pancode.kernel.records import Setting
from pancode.runs import keyring
from tests.fakes.ledger import MemoryLedger

KEY, OTHER = SigningKey(b"k" * 32), SigningKey(b"o" * 32)
OLD = SigningKey(b"r" * 32)
RETIRED = {OLD.public.keyid: OLD.public}
NOW_MS = 1_000
FIRST, SECOND, THIRD = Seat(), Seat(100, "a"), Seat(200, "b")


def claim(seat: Seat, fleet: str = "f-1", key: SigningKey = KEY) -> str:
    return sign_claim(seat, fleet, key).decode()


@pytest.mark.parametrize(
    ("mine", "found", "verdict"),
    [
        (FIRST, NONE, Verdict.KEEP),
        (SECOND, NONE, Verdict.TAKE),
        (SECOND, claim(SECOND), Verdict.KEEP),
        (FIRST, claim(SECOND), Verdict.FENCED),
        (SECOND, claim(THIRD), Verdict.FENCED),
        (THIRD, claim(SECOND), Verdict.TAKE),
        (SECOND, claim(Seat(100, "z")), Verdict.FENCED),
        (FIRST, claim(THIRD, fleet="f-2"), Verdict.FOREIGN),
        (FIRST, claim(THIRD, key=OTHER), Verdict.FOREIGN),
        (SECOND, claim(SECOND, key=OLD), Verdict.TAKE),
        (THIRD, claim(SECOND, key=OLD), Verdict.TAKE),
        (SECOND, claim(THIRD, key=OLD), Verdict.FOREIGN),
        (SECOND, claim(Seat(NOW_MS + AHEAD_MS, "f")), Verdict.FENCED),
        (SECOND, claim(Seat(NOW_MS + AHEAD_MS + 1, "f")), Verdict.FOREIGN),
        (Seat(NOW_MS + AHEAD_MS + 1, "f"), claim(Seat(NOW_MS + AHEAD_MS + 1, "f")), Verdict.KEEP),
        (FIRST, "", Verdict.FOREIGN),
        (FIRST, "{}", Verdict.FOREIGN),
        (FIRST, claim(THIRD).replace("payload", "pay"), Verdict.FOREIGN),
    ],
)
def test_the_newest_seat_of_this_fleet_wins(mine: Seat, found: str, verdict: Verdict) -> None:
    assert judge_claim(mine, found, "f-1", KEY.public, RETIRED, NOW_MS)[0] is verdict


def test_a_restore_takes_a_seat_above_every_known_one() -> None:
    assert make_next_seat(FIRST, 500, "x") == Seat(500, "x")
    assert make_next_seat(Seat(900, "y"), 500, "x") == Seat(901, "x"), "its clock is behind"


def test_a_fenced_coordinator_is_fenced_until_it_takes_a_new_seat() -> None:
    ledger, told = MemoryLedger(), list[str]()
    keeper = SeatKeeper(ledger, "f-1", lambda: KEY, lambda: 1, told.append)
    assert keeper.judge(claim(THIRD, key=OTHER)) is Verdict.FOREIGN and not keeper.is_fenced
    for _ in range(2):
        assert keeper.judge(claim(THIRD)) is Verdict.FENCED
    assert keeper.is_fenced and len(told) == 1
    with ledger.transaction() as tx:
        assert tx.get(Setting, FENCED) is not None
        take_seat(tx, SECOND, 1, "restore")
    with ledger.transaction() as tx:
        assert tx.get(Setting, FENCED) is None and read_seat(tx) == SECOND
    keeper.lead()
    assert keeper.mine == SECOND


@pytest.mark.parametrize(
    "value", [None, 7, {}, {"number": -1, "id": ""}, {"number": True, "id": ""}, {"number": 2**60}]
)
def test_a_damaged_seat_counts_as_the_first(value: object) -> None:
    ledger = MemoryLedger()
    with ledger.transaction() as tx:
        tx.put(Setting("seat", value, 1, "t"))
    with ledger.transaction() as tx:
        assert read_seat(tx) == FIRST


def test_its_own_claim_is_that_of_its_ledger() -> None:
    ledger = MemoryLedger()
    with ledger.transaction() as tx:
        take_seat(tx, SECOND, 1, "restore")
    keeper = SeatKeeper(ledger, "f-1", lambda: KEY, lambda: 1, lambda words: None)
    assert keeper.judge(NONE) is Verdict.TAKE
    assert keeper.judge(keeper.claim().decode()) is Verdict.KEEP


def test_after_a_rotation_its_own_claims_are_signed_again() -> None:
    ledger, keys = MemoryLedger(), [OLD]
    with ledger.transaction() as tx:
        take_seat(tx, SECOND, 1, "restore")
        keyring.start_key(tx, keyring.COORDINATOR, "f-1", OLD.public, 1)
    keeper = SeatKeeper(ledger, "f-1", lambda: keys[-1], lambda: 1, lambda words: None)
    before = keeper.claim().decode()
    assert keeper.judge(before) is Verdict.KEEP
    with ledger.transaction() as tx:
        keyring.end_key(tx, "f-1", OLD.public.text(), 2)
    keys.append(KEY)
    assert keeper.judge(before) is Verdict.TAKE
    assert keeper.judge(keeper.claim().decode()) is Verdict.KEEP
    assert keeper.judge(claim(THIRD, key=OLD)) is Verdict.FOREIGN and not keeper.is_fenced
