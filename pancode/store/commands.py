"""`pancode admin ledger`: moves the fleet's database to another place."""

from __future__ import annotations

import os
from typing import Annotated

from pancode.interfaces.cli.parameters import Json, option, verb
from pancode.interfaces.cli.terminal import escape_line, format_rows
from pancode.interfaces.client.client import home_of


@verb("admin ledger", "--from file", "pancode admin ledger --from postgresql:///pancode")
def move(
    source: Annotated[str, option("`file`, or postgresql://USER@HOST/NAME.", "--from", "PLACE")],
    *,
    password_file: Annotated[
        str | None, option("The file that contains the password for PLACE.", "FILE")
    ] = None,
    face: Json,
) -> None:
    """Move the fleet's ledger from PLACE to the place in the settings: completely or not at all.

    First stop the fleet (pancode fleet down) and set the new place in PANCODE_DATABASE_URL or ledger.url;
    without either, the new place is the file in your home. An existing ledger is never overwritten.
    """
    from pancode.app.administration import move_ledger

    answer = move_ledger(home_of(os.environ), os.environ, source, password_file)
    rows = [one for one in answer["tables"] if one["rows"]]
    text = format_rows(rows, {"TABLE": "table", "ROWS": "rows"})
    text += f"moved to {escape_line(answer['to'])}: {sum(one['rows'] for one in rows)} rows\n"
    text += f"the old ledger is kept, but no longer used: {escape_line(answer['kept'])}\n"
    face.show(answer, lambda: text)
