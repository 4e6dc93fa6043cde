"""The coordinator's key belongs to its ledger: a lost or swapped one is never replaced without a word."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from node_agent.wire.clock import SystemIds
from node_agent.wire.signing import SigningKey
from pancode.app.fleet_identity import KeyLostError, OwnKey, fleet_id, own_key
from pancode.app.schema import SCHEMA
from pancode.fleet.ssh.home import Home
from pancode.kernel.records import KnownKey, Node, Setting
from pancode.runs import keyring
from pancode.store.ledger import SqlLedger

MINE, OTHER = SigningKey(b"m" * 32), SigningKey(b"o" * 32)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@pytest.fixture
def ledger(home: Home) -> Iterator[SqlLedger]:
    """Of a fleet with one node, begun with our key."""
    opened = SqlLedger(home.ledger, SCHEMA)
    fleet = fleet_id(opened, home, 1, SystemIds())
    assert own_key(opened, home, None, MINE, 1) == OwnKey(MINE)
    with opened.transaction() as tx:
        keyring.start_key(tx, keyring.COORDINATOR, fleet, MINE.public, 1)
        tx.put(Node("gpubox", 1, {}, {}, 1, tag="0" * 10, public_key=OTHER.public.text()))
    yield opened
    opened.close()


def _path(home: Home) -> Path:
    return home.root / "key/coordinator.key"


def test_the_first_start_keeps_its_key(ledger: SqlLedger, home: Home) -> None:
    assert _path(home).read_text() == MINE.text()
    assert own_key(ledger, home, None, MINE, 2).instead_of == ""


@pytest.mark.parametrize("swapped", [False, True])
def test_a_lost_or_swapped_key_is_told_and_nothing_is_written(
    ledger: SqlLedger, home: Home, swapped: bool
) -> None:
    _path(home).unlink()
    if swapped:
        home.keep_key(OTHER)
    with pytest.raises(KeyLostError) as told:
        own_key(ledger, home, None, OTHER, 2)
    assert _path(home).exists() is swapped
    assert MINE.public.tag in told.value.why and MINE.public.tag in told.value.fix
    assert (f"contains the key {OTHER.public.tag}" if swapped else "does not exist") in told.value.why
    assert "pancode admin keys --rotate --lost" in told.value.fix
    home.keep_key(MINE)
    assert own_key(ledger, home, None, MINE, 3) == OwnKey(MINE), "the backup is put back"


def test_one_explicit_word_begins_anew_and_keeps_the_old_key_for_old_receipts(
    ledger: SqlLedger, home: Home
) -> None:
    _path(home).unlink()
    (home.root / "key/LOST").touch()
    assert own_key(ledger, home, None, OTHER, 2) == OwnKey(OTHER, instead_of=MINE.public.tag)
    assert _path(home).read_text() == OTHER.text() and not home.is_key_lost()
    with ledger.transaction() as tx:
        (old,) = tx.find(KnownKey)
        (node,) = tx.find(Node)
    assert node.obeys == MINE.public.keyid, "until it is brought up"
    assert (old.keyid, old.until_ms) == (MINE.public.keyid, 2)
    with pytest.raises(KeyLostError):
        own_key(ledger, home, None, MINE, 3)


@pytest.mark.parametrize("committed", [False, True])
def test_a_rotation_that_was_cut_short_ends_with_the_key_that_the_ledger_names(
    ledger: SqlLedger, home: Home, committed: bool
) -> None:
    fresh = SigningKey(b"f" * 32)
    home.keep_both(MINE, fresh)
    if committed:
        with ledger.transaction() as tx:
            tx.put(Setting(keyring.CURRENT, fresh.public.text(), 2, "ana"))
    due = fresh if committed else MINE
    assert own_key(ledger, home, None, MINE, 3).key.public == due.public
    assert _path(home).read_text() == due.text() and home.next_key() is None
    assert list(home.former_keys()) == [MINE.public.keyid]


def test_an_unused_ledger_takes_another_key(home: Home) -> None:
    ledger = SqlLedger(home.ledger, SCHEMA)
    try:
        own_key(ledger, home, None, MINE, 1)
        assert own_key(ledger, home, None, OTHER, 2) == OwnKey(OTHER)
    finally:
        ledger.close()
