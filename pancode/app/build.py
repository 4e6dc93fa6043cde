"""Builds the coordinator of a home from its settings; refuses inside one of its own runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from pancode.app.coordinator import Coordinator, CoordinatorSettings
from pancode.app.reboot import service_of
from pancode.app.schema import SCHEMA
from pancode.config.agents.presets import NO_PRESET
from pancode.config.listeners import figures_in, read_api_listener
from pancode.config.load import ConfigPlaces, Loaded, load
from pancode.config.schema import Settings
from pancode.fleet.ssh.home import Home
from pancode.interfaces.http.access.run_rights import refused_error, run_of
from pancode.kernel.host import process_attempts
from pancode.kernel.node import Deadlines
from pancode.kernel.quota import ForeignReceipts
from pancode.queue.valkey.access import Beside, RedisAccess, access_from_url
from pancode.runs.core import ControlSettings
from pancode.store.ledger import SqlLedger
from pancode.store.postgres import Database, database_of


def build(root: Path, environ: Mapping[str, str]) -> Coordinator:
    """Build the coordinator, under the home's lock. ConfigError names file and key; InsideRunError."""
    loaded = load(ConfigPlaces(root), environ, preset=NO_PRESET)  # presets only affect dispatches
    settings, database = loaded.settings, database_in(loaded)
    _not_inside(Home(root), database)

    def read() -> Settings:
        return load(ConfigPlaces(root), environ, preset=NO_PRESET).settings

    service = service_of(root, (settings.redis.url, settings.ledger.url), environ)
    chosen = replace(coordinator_settings(settings, read), database=database, redis=redis_in(loaded))
    chosen = replace(chosen, figures=figures_in(loaded), listener=read_api_listener(loaded))
    home = Home(root)
    home.prepare()
    return Coordinator(home, chosen, environ, service)


def database_in(loaded: Loaded) -> Database | None:
    """Return the configured PostgreSQL database; None: the ledger is a file. ConfigError: invalid address."""
    url = loaded.settings.ledger.url
    password = loaded.settings.ledger.password_file
    return None if url is None else database_of(url, loaded.origin("ledger.url"), password)


def redis_in(loaded: Loaded) -> RedisAccess | None:
    """Return the configured Redis; None: PanCode starts its own. ConfigError for an invalid address."""
    redis = loaded.settings.redis
    if redis.url is None:
        return None
    beside = Beside.of(**redis.model_dump(exclude={"url"}))
    return access_from_url(redis.url, loaded.origin("redis.url"), beside)


def _not_inside(home: Home, database: Database | None) -> None:
    """Raise InsideRunError if called inside a run of this fleet: the coordinator would end with that run."""
    attempts = process_attempts.attempts_of(os.getpid(), process_attempts.start_of(os.getpid()))
    if not attempts or not (home.epoch if database else home.ledger).exists():
        return
    ledger = SqlLedger(database or home.ledger, SCHEMA, sole=False)
    try:
        run = run_of(ledger, attempts)
    finally:
        ledger.close()
    if run is not None:
        raise refused_error(run, "starting the coordinator")


def coordinator_settings(settings: Settings, read: Callable[[], Settings]) -> CoordinatorSettings:
    """Return the coordinator's settings. `read`: rereads the files for settings that change at run time."""
    return CoordinatorSettings(
        rules=rules_of(settings),
        slots=settings.nodes.slots,
        least=settings.nodes.least,
        keep=settings.nodes.keep.bounds(),
        time_factor=settings.timing.factor,
        machines=lambda: read().models.machines,
    )


def rules_of(settings: Settings) -> ControlSettings:
    """Return the control plane's intervals and budget ceiling, before the test scaling of times."""
    timing = settings.timing
    return ControlSettings(
        ceiling_usd=settings.budget.ceiling,
        session_usd=settings.sessions.max_usd,
        deadlines=Deadlines(timing.ask, timing.suspect, timing.unreachable, timing.lost),
        heartbeat_ms=timing.beat,
        start_by_ms=timing.start_by,
        push_again_ms=timing.push_again,
        control_again_ms=timing.control_again,
        refused_pause_ms=timing.refused_pause,
        retry_pause_ms=timing.retry_pause,
        health=settings.health.rules(),
        keep=settings.keep.rules(),
        ahead=settings.nodes.ahead,
        ahead_usd=settings.nodes.ahead_usd,
        node_quota=settings.nodes.redis_quota,
        evidence=ForeignReceipts(settings.nodes.evidence_receipts, settings.nodes.evidence_size),
    )
