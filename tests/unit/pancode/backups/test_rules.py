"""On what a copy is based, what is removed, when a copy is due, and what it leaves out."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from pancode.backups import rules
from pancode.backups.contents import is_copied
from pancode.backups.model import CHAIN, CopyRecord, PlaceRecord
from tests.unit.pancode.backups.memory import a_copy


def chain(first: int, many: int = CHAIN) -> list[CopyRecord]:
    copies = [a_copy(first)]
    for number in range(first + 1, first + many):
        copies.append(a_copy(number, copies[-1]))
    return copies


def record(*copies: CopyRecord) -> PlaceRecord:
    return PlaceRecord(place="n", public="p", copies=copies)


def numbers(copies: tuple[CopyRecord, ...] | list[CopyRecord]) -> list[int]:
    return [one.sequence for one in copies]


def test_the_newest_chains_stay_whole() -> None:
    copies = [*chain(1, 3), *chain(4, 2), *chain(6, 1)]
    gone, left = rules.select_prunable(record(*copies), 2)
    assert gone == tuple(one.name for one in copies[:3]) and numbers(left.copies) == [4, 5, 6]
    assert rules.select_prunable(record(copies[0]), 0)[0] == (), "the last one stays, whatever is set"


def test_a_chain_whose_first_copy_is_lost_does_not_count() -> None:
    lost = a_copy(4, is_damaged=True)
    copies = [*chain(1, 2), lost, a_copy(5, lost), a_copy(6)]
    gone, left = rules.select_prunable(record(*copies), 2)
    assert gone == (copies[2].name, copies[3].name) and numbers(left.copies) == [1, 2, 6]


def test_a_clock_that_is_set_back_does_not_make_a_copy_old() -> None:
    old, new = a_copy(1, taken_ms=2_000_000), a_copy(2, taken_ms=1_000)
    assert rules.select_prunable(record(new, old), 1)[0] == (old.name,)
    after_restore = a_copy(1, seat=7, taken_ms=1, name="c-00000001-zzzzzz")
    assert rules.select_prunable(record(old, new, after_restore), 1)[1].copies == (after_restore,)


def test_a_copy_is_whole_if_those_that_it_needs_are() -> None:
    copies = chain(1, 4)
    assert numbers(rules.list_whole(record(*copies))) == [4, 3, 2, 1]
    for changes in ({"is_damaged": True}, {"verified_ms": 0}):
        damaged = copies[2].model_copy(update=changes)
        assert numbers(rules.list_whole(record(*copies[:2], damaged, copies[3]))) == [2, 1]
    assert numbers(rules.list_whole(record(copies[0], copies[2]))) == [1]
    itself = a_copy(1).model_copy(update={"base": "c-00000001-x7k2pq"})
    assert rules.find_chain({itself.name: itself}, itself.name) is None


def test_each_seventh_copy_is_whole_and_so_is_one_without_a_base_that_is_known_and_whole() -> None:
    copies = chain(1)
    for many in range(1, CHAIN):
        newest = copies[many - 1]
        assert rules.choose_base(record(*copies[:many]), "p", newest.name) is newest
    assert rules.choose_base(record(*copies), "p", copies[-1].name) is None
    two = record(*copies[:2])
    assert rules.choose_base(two, "another key", copies[1].name) is None
    assert rules.choose_base(two, "p", copies[0].name) is None, "its contents are not known"
    lost = copies[0].model_copy(update={"is_damaged": True})
    assert rules.choose_base(record(lost, copies[1]), "p", copies[1].name) is None
    assert rules.choose_base(record(), "p", "") is None


def test_a_copy_is_damaged_until_it_is_seen_whole_again() -> None:
    one, two, unknown = a_copy(1), a_copy(2), a_copy(3, digest="", verified_ms=0)
    digests = {one.name: "a" * 64, two.name: "b" * 64, unknown.name: "c" * 64}
    names = set(digests)
    seen = rules.check_copies(record(one, two, unknown), names, digests, 7)
    assert [(c.is_damaged, c.verified_ms) for c in seen.copies] == [
        (False, 7),
        (True, two.verified_ms),
        (False, 0),
    ]
    again = rules.check_copies(seen, {two.name}, {two.name: "a" * 64}, 8)
    assert [c.is_damaged for c in again.copies] == [False, False, False]
    gone = rules.check_copies(seen, names, {}, 9)
    assert all(c.is_damaged for c in gone.copies)


NOON = int(datetime(2026, 11, 29, 12, tzinfo=UTC).timestamp() * 1000)
H = 3_600_000


@pytest.mark.parametrize(
    ("copied", "tried", "due"),
    [
        (0, 0, True),
        (NOON - 8 * H, 0, False),
        (NOON - 10 * H, 0, True),
        (NOON - 10 * H, NOON - H // 2, False),
        (NOON - 10 * H, NOON - 2 * H, True),
        (NOON - 10 * H, NOON + 9 * H, True),
    ],
)
def test_a_nightly_copy_is_due(copied: int, tried: int, due: bool) -> None:
    assert rules.is_night_due(NOON, UTC, copied, tried) is due


def test_before_three_the_night_is_that_of_the_day_before() -> None:
    assert not rules.is_night_due(NOON - 10 * H, UTC, NOON - 30 * H, 0)
    assert rules.is_night_due(NOON - 10 * H, UTC, NOON - 34 * H, 0)


@pytest.mark.parametrize(
    ("size", "trouble", "pause_ms"),
    [(50_000_000, "", 600_000), (50_000_001, "", 3_600_000), (1, "it failed", 3_600_000)],
)
def test_a_landing_is_copied_after_ten_minutes_and_after_an_hour_if_the_copy_is_large(
    size: int, trouble: str, pause_ms: int
) -> None:
    changes = {"tried_ms": NOON, "trouble": trouble}
    one = record(a_copy(1, size=size, taken_ms=NOON)).model_copy(update=changes)
    assert not rules.is_landing_due(one, NOON + 1, NOON + pause_ms - 1)
    assert rules.is_landing_due(one, NOON + 1, NOON + pause_ms)
    assert not rules.is_landing_due(one, NOON, NOON + 2 * pause_ms), "it is in the copy"


def test_what_a_copy_leaves_out() -> None:
    gone = [
        ("", "epoch"),
        ("", "run"),
        ("", "valkey"),
        ("", "ledger.db-wal"),
        ("depots/p.git/objects", "tmp_obj_1"),
    ]
    assert not any(is_copied(*one) for one in gone)
    stays = [("", "key"), ("key", "coordinator.key"), ("checkouts/m/n", "uv.lock"), ("skills/a", "run")]
    assert all(is_copied(*one) for one in stays)


def test_the_next_number_is_above_all_own_copies() -> None:
    assert rules.next_sequence([]) == 1
    assert rules.next_sequence([PlaceRecord(place="a", last=3), PlaceRecord(place="b", last=9)]) == 10
