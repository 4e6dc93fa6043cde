"""Shows the models of vendors: how able they are and what they cost."""

from __future__ import annotations

import os
from typing import Any

from pancode.cli.face import Face
from pancode.cli.output.tables import table
from pancode.connection import home_of

_HEAD = ("MODEL", "TIER", "CONTEXT", "$/M IN", "CACHED", "OUT")


def show_vendors(face: Face, runtime: str, tier: str | None) -> None:
    """From the kept list; a `-` is what nobody knows."""
    from node_agent.wire.clock import SystemClock
    from pancode.offline.models import models_of

    rows = models_of(runtime, tier, home_of(os.environ), os.environ, SystemClock().wall_ms())
    face.show({"models": rows}, lambda: table(_HEAD, [_cells(row) for row in rows]))


def _cells(row: dict[str, Any]) -> tuple[Any, ...]:
    prices = (row["input_usd"], row["cached_usd"], row["output_usd"])
    return (row["model"], row["tier"], row["context"], *prices)
