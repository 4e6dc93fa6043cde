"""Sets up the export of traces if the settings request it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from pancode.config.agents.presets import NO_PRESET
from pancode.config.load import ConfigPlaces, load
from pancode.kernel.errors import ConfigError
from pancode.notices.traces.exporter import Tracing
from pancode.runs.core import Core
from pancode.runs.unit_of_work import unit_of_work

log = logging.getLogger("pancode.telemetry")


def tracing_of(root: Path, environ: Mapping[str, str], core: Core) -> tuple[Tracing, ...]:
    """Return the threads that send traces; empty, without importing OpenTelemetry, if no endpoint is set. If
    OpenTelemetry is missing, only log, audit and `doctor` report it. ConfigError for bad settings."""
    telemetry = load(ConfigPlaces(root), environ, preset=NO_PRESET).settings.telemetry
    if telemetry.endpoint is None:
        return ()
    from pancode.notices.traces.otlp import OtlpExport

    try:
        export = OtlpExport(telemetry.endpoint, core.fleet)
    except ConfigError as missing:
        log.warning("no traces are sent: %s; fix: %s", missing.words, missing.fix)
        with unit_of_work(core) as work:
            work.audit("config", "warning", "no traces are sent", None, why=missing.words, fix=missing.fix)
        return ()
    return (Tracing(core, export, telemetry.tasks),)
