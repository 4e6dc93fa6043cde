"""Which coordinator leads its fleet, and what it records when a user lets a restored one lead."""

from __future__ import annotations

import pytest

from pancode.fleet.seat import FENCED, Seat, read_seat, take_seat
from pancode.fleet.standing import STARTS, FencedError, HeldError, read_held, take_up
from pancode.kernel.ports import Ledger
from pancode.kernel.records import Audit, Node, Setting
from pancode.runs.core import BEHIND, RESTORED
from pancode.runs.restored.mode import EPOCH, EPOCH_BEFORE, Facts, FleetMode, decide_mode
from tests.fakes.ledger import MemoryLedger


@pytest.mark.parametrize(
    ("facts", "mode"),
    [
        (Facts(file=7, ledger=7), FleetMode.LEADS),
        (Facts(file=6, ledger=7, before=6), FleetMode.LEADS),  # it crashed between ledger and file
        (Facts(file=5, ledger=7, before=5), FleetMode.LEADS),  # twice, as on a full disk
        (Facts(file=6, ledger=7, before=5), FleetMode.HELD),
        (Facts(file=6, ledger=7), FleetMode.HELD),
        (Facts(file=8, ledger=7, before=6), FleetMode.HELD),  # the ledger alone was put back
        (Facts(file=None, ledger=7, before=6), FleetMode.HELD),
        (Facts(file=None, ledger=1, before=0), FleetMode.HELD),
        (Facts(file=None, ledger=1, before=None), FleetMode.HELD),
        (Facts(file=None, ledger=1, before=0, is_used=False), FleetMode.LEADS),  # nothing to act on
        (Facts(file=None, ledger=None), FleetMode.LEADS),  # a new fleet
        (Facts(file=7, ledger=7, is_behind=True), FleetMode.HELD),
        (Facts(file=7, ledger=7, is_behind=True, is_used=False), FleetMode.HELD),
        (Facts(file=7, ledger=7, is_fenced=True), FleetMode.FENCED),
        (Facts(file=None, ledger=7, is_behind=True, is_fenced=True), FleetMode.FENCED),
    ],
)
def test_it_leads_only_with_the_ledger_that_it_had(facts: Facts, mode: FleetMode) -> None:
    assert decide_mode(facts) is mode


def _ledger(*more: Setting) -> Ledger:
    """The ledger of a fleet whose coordinator has begun epoch 7 and did something at 5,000 ms."""
    ledger = MemoryLedger()
    with ledger.transaction() as tx:
        tx.put(Node("gpubox", 1, {}, {}, 4))
        tx.put(Audit(1, 4_000, "fleet", "info", "coordinator started", {}))
        tx.put(Audit(2, 5_000, "fleet", "info", "something", {}))
        for row in (Setting(EPOCH, 7, 1, "t"), Setting(EPOCH_BEFORE, 6, 1, "t"), *more):
            tx.put(row)
    return ledger


@pytest.mark.parametrize(
    ("more", "taken_ms"),
    [
        ((), 5_000),
        ((Setting(RESTORED, {"copy": "c-1", "taken_ms": 4_500}, 1, "t"),), 4_500),
        ((Setting(RESTORED, {"copy": "c-1", "taken_ms": 400, "up_ms": 500}, 1, "t"),), 5_000),
    ],
)
def test_once_it_is_taken_up_it_leads_with_a_new_seat(more: tuple[Setting, ...], taken_ms: int) -> None:
    ledger = _ledger(*more)
    with ledger.transaction() as tx:
        take_seat(tx, Seat(20_000, "old"), 1, "t")
        assert read_held(tx, 7) is None
        held = read_held(tx, None)
        assert held is not None and (held.mode, held.restored["taken_ms"]) == (FleetMode.HELD, taken_ms)
        assert isinstance(held.refuse(), HeldError) and held.refuse().fix == "pancode fleet up"
        assert take_up(tx, held, 1_000_000, 9_000, "x", "ana") == read_seat(tx) == Seat(20_001, "x")
        restored, epoch = tx.get(Setting, RESTORED), tx.get(Setting, EPOCH)
    assert restored is not None and epoch is not None and epoch.value == 1_000_000 + STARTS
    assert restored.value == {
        **{"copy": "c-1" if taken_ms == 4_500 else "", "taken_ms": taken_ms},
        **{"up_ms": 9_000, "by": "ana", "was": "held"},
    }


def test_a_fenced_one_says_by_which_and_since_when_and_is_taken_back_with_a_newer_seat() -> None:
    fenced = Setting(FENCED, {"number": 1_790_000_000_000, "id": "k3x9"}, 1_790_000_060_000, "t")
    ledger = _ledger(fenced, Setting(BEHIND, "gpubox has seen the epoch 9", 1, "t"))
    with ledger.transaction() as tx:
        held = read_held(tx, 7)
        assert held is not None and held.mode is FleetMode.FENCED
        error = held.refuse()
        assert isinstance(error, FencedError) and (error.code, int(error.exit_code)) == ("fenced", 3)
        assert "since 2026-09-21T14:13:20.000Z (seat k3x9)" in error.why and "14:14:20" in error.why
        assert "pancode fleet up --take" in error.fix and "mv " not in error.fix
        assert take_up(tx, held, 5, 1_000, "x", "ana") == Seat(1_790_000_000_001, "x")
        assert read_held(tx, 7) is not None, "until the new epoch is in the home"
        assert read_held(tx, STARTS + 5) is None


def test_one_whose_ledger_a_node_knows_to_be_old_says_which() -> None:
    with _ledger(Setting(BEHIND, "gpubox has seen the epoch 9", 1, "t")).transaction() as tx:
        held = read_held(tx, 7)
    assert held is not None and "gpubox has seen the epoch 9" in held.shape()["why"]
