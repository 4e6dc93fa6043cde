"""`pancode key`: the keys that sign for the fleet, and a new one for the coordinator."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Annotated

from pancode.fleet.answers import PING
from pancode.interfaces.cli.commands import Commands
from pancode.interfaces.cli.output import Face, find_user
from pancode.interfaces.cli.parameters import Json, Node, option
from pancode.interfaces.cli.terminal import RowColumns, format_rows, short_time
from pancode.interfaces.client.client import home_of
from pancode.kernel.errors import ConflictError, NotFoundError, UnavailableError
from pancode.kernel.names import KEY_LOST
from pancode.runs.answers import KEYS, ROTATE, KeysAnswer, UsedKey

app = Commands()


@app.group("key", "pancode key ls", default="ls")
def key() -> None:
    """A node's key signs its receipts; the coordinator's signs orders, and countersigns receipts."""


@key.verb("ls", "pancode key ls")
def ls(face: Json) -> None:
    """Every key that signs or has signed. Former ones are kept: old receipts are verified with them."""
    answer = face.client().get(KEYS)
    face.show(answer, lambda: format_rows(answer["keys"], _COLUMNS))


@key.verb("show", "pancode key show gpubox > gpubox.pem")
def show(name: Node, face: Json) -> None:
    """The public key of a node, of the coordinator (`coordinator`), or of that key id, as PEM.

    Of a name the key that is in use now; former ones by their id.
    """
    rows = face.client().get(KEYS)["keys"]
    found = [row for row in rows if _is_meant(row, name)]
    if not found:
        raise NotFoundError(f"key {name} not found", fix="pancode key ls", code="key_not_found")
    face.show(found[-1], lambda: found[-1]["pem"])


def _is_meant(row: UsedKey, name: str) -> bool:
    """Whether the key is the one named: by the first digits of its id, or by its name while it is in use."""
    if len(name) >= _SHORTEST_ID and row["keyid"].startswith(name):
        return True
    return row["until"] is None and name in (row["name"], row["role"] if row["role"] == "coordinator" else "")


_SHORTEST_ID = 10


@key.verb("rotate", "pancode key rotate", "pancode key rotate --lost")
def rotate(
    *,
    lost: Annotated[
        bool, option("Begin with another key, because the fleet's key is lost for good.", "--lost")
    ] = False,
    face: Json,
) -> None:
    """A new key for the coordinator. Nodes learn it over SSH at the next `pancode fleet up`.

    Until then each is spoken to with the key that it knows, so nothing stops; receipts stay verifiable.
    The fleet up after that takes the old key off the nodes.
    """
    answer = _begun_anew(face) if lost else face.client().post(ROTATE, {"by": find_user()})
    message = "the coordinator has a new key; next: pancode fleet up\n"
    face.show(answer, lambda: message + format_rows(answer["keys"], _COLUMNS))


def _begun_anew(face: Face) -> KeysAnswer:
    """Have a new key begun by a file in the home, as a coordinator that lost its key does not start."""
    home = home_of(os.environ)
    with suppress(UnavailableError):
        face.client(starts=False).get(PING)
        raise ConflictError("the coordinator is running, so its key is not lost", fix="pancode key rotate")
    mark = home / KEY_LOST
    mark.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    mark.touch(mode=0o600)
    return face.client(works=True).get(KEYS)


_COLUMNS: RowColumns[UsedKey] = {
    **{"ROLE": "role", "NAME": "name", "KEY": lambda row: row["keyid"][:10]},
    "FROM (UTC)": lambda row: short_time(row["from"]),
    "UNTIL (UTC)": lambda row: short_time(row["until"]) if row["until"] else "in use",
    "SIGNS FOR": "nodes",
}
