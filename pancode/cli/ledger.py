"""`pancode ledger`: the record of the fleet, and where it is kept."""

from __future__ import annotations

import os
from typing import Any

import click

from pancode.cli.face import Face, example, json_option
from pancode.cli.lazy import LazyGroup
from pancode.cli.render import safe, table
from pancode.connection import home_of


@click.group("ledger", cls=LazyGroup, epilog=example("pancode ledger move --from file"))
def ledger() -> None:
    """Where the record of the fleet is kept; pancode doctor looks at it."""


@ledger.command(
    "move",
    epilog=example("pancode ledger move --from file", "pancode ledger move --from postgresql:///pancode"),
)
@click.option(
    "--from", "source", required=True, metavar="PLACE", help="`file`, or postgresql://USER@HOST/NAME."
)
@click.option("--password-file", metavar="FILE", help="With the password for PLACE.")
@json_option
def move(source: str, password_file: str | None, face: Face) -> None:
    """Move it from PLACE to where the settings now say: all of it or nothing, compared row by row.

    First stop the fleet (pancode fleet down) and name the new place, in PANCODE_DATABASE_URL or ledger.url;
    neither of them means the file in your home. What is there already is never written over.
    """
    from pancode.offline.moving import move_ledger

    answer = move_ledger(home_of(os.environ), os.environ, source, password_file)
    face.show(answer, lambda: _told(answer))


def _told(answer: dict[str, Any]) -> str:
    rows = [(t["table"], str(t["rows"]), t["digest"][:12]) for t in answer["tables"] if t["rows"]]
    count = sum(t["rows"] for t in answer["tables"])
    said = f"moved to {safe(answer['to'])}: {count} rows, the same in both places\n"
    kept = f"the old one is kept, and used no more: {safe(answer['kept'])}\n"
    return table(("TABLE", "ROWS", "DIGEST"), rows) + said + kept
