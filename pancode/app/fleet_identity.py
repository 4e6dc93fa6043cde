"""Checks that ledger, home and key belong to one fleet."""

from __future__ import annotations

from dataclasses import dataclass

from node_agent.wire.clock import Ids
from node_agent.wire.signing import PublicKey, SigningKey
from pancode.fleet.ssh.home import OWN_KEY, Home
from pancode.kernel.errors import ConfigError, UnavailableError
from pancode.kernel.ports import Transaction
from pancode.kernel.records import Node, Setting, StoredReceipt
from pancode.runs import keyring
from pancode.runs.keyring import CURRENT
from pancode.store.ledger import SqlLedger
from pancode.store.move import MOVED
from pancode.store.postgres import Database


class LedgerLostError(UnavailableError):
    """The ledger is missing or empty, but other files of the fleet remain."""

    code = "ledger_lost"
    retryable = False


def fleet_id(ledger: SqlLedger, home: Home, wall_ms: int, ids: Ids) -> str:
    """Return the fleet's id, which is created with the first ledger and never changes. Raises LedgerLostError
    if the ledger is empty but the home had a fleet; ConfigError if the ledger was moved."""
    with ledger.transaction() as tx:
        moved = tx.get(Setting, MOVED)
        if moved is not None:
            raise ConfigError(
                f"the ledger at {ledger.place} was moved to {moved.value}",
                why="the new ledger has all later changes",
                fix="set ledger.url or PANCODE_DATABASE_URL to that address (unset both for the file in the "
                "home)",
                code="ledger_moved",
            )
        known = tx.get(Setting, "fleet")
        if known is not None:
            return str(known.value)
        if home.epoch.exists():
            copy = "a copy of ledger.db" if ledger.place == str(home.ledger) else "a dump of the database"
            raise LedgerLostError(
                f"the ledger at {ledger.place} is empty, but this home has a fleet",
                why=f"{home.epoch} exists; an empty ledger would lose its nodes, runs and costs",
                fix=(
                    f"restore {copy}; or, if the ledger is still at an earlier place: pancode admin ledger "
                    f"--from PLACE; to start a new fleet: mv {home.root} {home.root}.old"
                ),
            )
        fleet = f"f-{ids.short(6)}"
        tx.put(Setting("fleet", fleet, wall_ms, "coordinator"))
        return fleet


class KeyLostError(ConfigError):
    """The key that this ledger's nodes trust is not in the home."""

    code = "key_lost"


@dataclass(frozen=True, slots=True)
class OwnKey:
    """The coordinator's key. `instead_of`: the tag of the former key, which a user reported as lost."""

    key: SigningKey
    instead_of: str = ""


def own_key(
    ledger: SqlLedger, home: Home, database: Database | None, found: SigningKey, wall_ms: int
) -> OwnKey:
    """Return the key that this ledger's fleet trusts: `found`, or the new key of an interrupted rotation.

    `found`: the key in the home, or a new key if the home has none. Raises KeyLostError, or ConfigError if
    the ledger belongs to another home.
    """
    with ledger.transaction() as tx:
        known = tx.get(Setting, CURRENT)
        begun = home.next_key()
        if known is not None and begun is not None and known.value == begun.public.text():
            found = begun
        text = found.public.text()
        free = database is None and not _has_used_it(tx)
        if known is None or known.value == text or free:
            tx.put(Setting(CURRENT, text, wall_ms, "coordinator"))
            home.keep_key(found)
            return OwnKey(found)
        old = PublicKey.parse(str(known.value))
        if not home.is_key_lost():
            raise _make_key_error(home, database, old)
        fleet = tx.get(Setting, "fleet")
        fleet_of = str(fleet.value) if fleet is not None else ""
        keyring.end_key(tx, fleet_of, old.text(), wall_ms)
        keyring.keep_obeyed(tx, old)
        tx.put(Setting(CURRENT, text, wall_ms, "coordinator"))
        home.keep_key(found)
        return OwnKey(found, instead_of=old.tag)


def _has_used_it(tx: Transaction) -> bool:
    """Whether a node trusts the ledger's key, or the key has countersigned a receipt."""
    return any(n.public_key for n in tx.find(Node)) or bool(tx.find(StoredReceipt, limit=1))


def _make_key_error(home: Home, database: Database | None, old: PublicKey) -> ConfigError:
    path, there = home.root / OWN_KEY, home.signing_key()
    if there is not None and database is not None:
        return ConfigError(
            f"the ledger at {database.place} belongs to another fleet",
            why="the database was created with the key of another coordinator, which its nodes trust",
            fix=f"use the home of that fleet (PANCODE_HOME), or set {database.origin} to another database",
            code="ledger_of_another",
        )
    found = f"{path} contains the key {there.public.tag}" if there is not None else f"{path} does not exist"
    return KeyLostError(
        "the coordinator's key is lost"
        if there is None
        else "the coordinator's key belongs to another fleet",
        why=(f"{found}; the nodes and receipts in this ledger trust only the key {old.tag}"),
        fix=(
            f"restore the key {old.tag} from your backup as {path}; if it is lost: pancode admin keys "
            "--rotate --lost, then pancode fleet up"
        ),
    )
