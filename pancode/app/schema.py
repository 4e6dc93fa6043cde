"""The tables of the ledger: those of the engine, and those that the features declare."""

from __future__ import annotations

from pancode.app.features import FEATURES
from pancode.kernel.records import TABLES
from pancode.store.tables import Schema

SCHEMA = Schema((*TABLES, *FEATURES.tables))
