"""Puts together what sends traces, where the settings ask for it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from pancode.config.load import ConfigPlaces, load
from pancode.config.presets import NO_PRESET
from pancode.control.core import Core
from pancode.control.telemetry.tracing import Tracing


class BackgroundThread(Protocol):
    """A thread of the coordinator that acts by itself."""

    def start(self) -> None:
        """Once."""

    def stop(self) -> None:
        """Idempotent."""


def tracing_of(root: Path, environ: Mapping[str, str], core: Core) -> tuple[Tracing, ...]:
    """Empty where no endpoint is set: nothing of OpenTelemetry is loaded then. ConfigError."""
    telemetry = load(ConfigPlaces(root), environ, preset=NO_PRESET).settings.telemetry
    if telemetry.endpoint is None:
        return ()
    from pancode.adapters.telemetry.otlp import OtlpExport

    return (Tracing(core, OtlpExport(telemetry.endpoint, core.fleet), telemetry.tasks),)
