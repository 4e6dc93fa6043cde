"""The settings of traces."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Telemetry(BaseModel):
    """Traces of runs, sent to an OpenTelemetry collector. Nothing is sent where no endpoint is set.

    `tasks`: the words of tasks, too.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    endpoint: str | None = Field(default=None, pattern=r"^https?://[^\s@]+$")
    tasks: bool = False
