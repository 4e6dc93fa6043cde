"""`pancode models`: which models there are to choose from, how able they are and what they cost."""

from __future__ import annotations

import os
from typing import Any

import click

from pancode.cli.face import Face, example, json_option
from pancode.cli.render import table
from pancode.connection import home_of

_HEAD = ("MODEL", "TIER", "CONTEXT", "$/M IN", "CACHED", "OUT")


@click.command("models", epilog=example("pancode models --runtime claude --tier mid"))
@click.option("--runtime", metavar="R", required=True, help="Vendors' models that this runtime can use.")
@click.option("--tier", metavar="T", help="Only small, mid or frontier ones.")
@json_option
def models(face: Face, runtime: str, tier: str | None) -> None:
    """Vendors' models by runtime, with their tier and what a million tokens cost; needs no network.

    The list is as new as this PanCode: a model that is not on it can be named all the same.
    """
    show_vendors(face, runtime, tier)


def show_vendors(face: Face, runtime: str, tier: str | None) -> None:
    """From the kept list; a `-` is what nobody knows."""
    from node_agent.wire.clock import SystemClock
    from pancode.offline.models import models_of

    rows = models_of(runtime, tier, home_of(os.environ), os.environ, SystemClock().wall_ms())
    face.show({"models": rows}, lambda: table(_HEAD, [_cells(row) for row in rows]))


def _cells(row: dict[str, Any]) -> tuple[Any, ...]:
    prices = (row["input_usd"], row["cached_usd"], row["output_usd"])
    return (row["model"], row["tier"], row["context"], *prices)
