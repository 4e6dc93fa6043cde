"""Decides whether ledger, home and key belong together: what a fleet is founded with stays one."""

from __future__ import annotations

from node_agent.wire.clock import Ids
from pancode.adapters.store.ledger import SqlLedger
from pancode.adapters.store.move import MOVED
from pancode.adapters.store.postgres import Database
from pancode.domain.records import Setting
from pancode.errors import ConfigError, UnavailableError
from pancode.wiring.home import Home


class LedgerLostError(UnavailableError):
    """The ledger is gone, and what lies beside it is not."""

    code = "ledger_lost"
    retryable = False


def fleet_id(ledger: SqlLedger, home: Home, wall_ms: int, ids: Ids) -> str:
    """Made with the first ledger, kept for ever. An empty ledger where a fleet has lived is a lost one."""
    with ledger.transaction() as tx:
        moved = tx.get(Setting, MOVED)
        if moved is not None:
            raise ConfigError(
                f"the ledger at {ledger.place} was moved to {moved.value}",
                why="what has happened since is there",
                fix="name that place in ledger.url or PANCODE_DATABASE_URL (neither: the file in the home)",
                code="ledger_moved",
            )
        known = tx.get(Setting, "fleet")
        if known is not None:
            return str(known.value)
        if home.epoch.exists():
            copy = "a copy of ledger.db" if ledger.place == str(home.ledger) else "a dump of the database"
            raise LedgerLostError(
                f"the ledger at {ledger.place} is empty, and a fleet has lived here",
                why=f"{home.epoch} is there; a new ledger knows nothing of its machines, runs and books",
                fix=f"put {copy} back, or fetch it from where it was kept (pancode ledger move --help); "
                f"to begin anew: mv {home.root} {home.root}.old",
            )
        fleet = f"f-{ids.short(6)}"
        tx.put(Setting("fleet", fleet, wall_ms, "coordinator"))
        return fleet


def one_key(ledger: SqlLedger, database: Database, key: str, wall_ms: int) -> None:
    """A database is anybody's who has its address: one that another home's key began is not taken over."""
    with ledger.transaction() as tx:
        known = tx.get(Setting, "coordinator_key")
        if known is None:
            tx.put(Setting("coordinator_key", key, wall_ms, "coordinator"))
        elif known.value != key:
            raise ConfigError(
                f"the ledger at {database.place} is that of another home's fleet",
                why="it was begun with another coordinator's key, and its nodes obey that one",
                fix=f"use that home (PANCODE_HOME), or give {database.origin} a database of its own",
                code="ledger_of_another",
            )
