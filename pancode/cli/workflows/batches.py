"""`pancode batches`: the newest batches, as `pancode workflow ls --kind batch`."""

from __future__ import annotations

from typing import Annotated

from typer import Argument

from pancode.cli.parsing.lazy import Commands
from pancode.cli.parsing.params import Json
from pancode.cli.workflows.group import MOST, list_newest

app = Commands()


@app.verb("batches", "pancode batches", "pancode batches 5")
def batches(*, number: Annotated[int, Argument(min=1, max=MOST)] = 20, face: Json) -> None:
    """The newest batches, newest first."""
    list_newest(face, number, "batch")
