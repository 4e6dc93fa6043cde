"""`pancode admin keys`: lists the keys that sign for the fleet, and makes a new key for the coordinator."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Annotated

from pancode.fleet.answers import PING
from pancode.interfaces.cli.parameters import Argument, Face, Json, completions, option, verb
from pancode.interfaces.cli.terminal import RowColumns, format_rows, short_time
from pancode.interfaces.client.client import home_of
from pancode.kernel.errors import ConflictError, NotFoundError, UnavailableError, UsageError
from pancode.kernel.names import KEY_LOST
from pancode.runs.answers import KEYS, ROTATE, KeysAnswer, UsedKey


@verb("admin keys", "", "gpubox > gpubox.pem", "--rotate")
def keys(
    *,
    name: Annotated[str | None, Argument(autocompletion=completions.nodes)] = None,
    rotate: Annotated[bool, option("Make a new key for the coordinator.")] = False,
    lost: Annotated[
        bool, option("With --rotate: the fleet's key is lost permanently; start with a new one.")
    ] = False,
    face: Json,
) -> None:
    """List every key that signs or has signed; with NAME print the public key, as PEM.

    A node's key signs its receipts; the coordinator's signs jobs, and countersigns receipts. Former keys are
    retained to verify old receipts. NAME is a node, `coordinator`, or the id of a key; for a node or the
    coordinator, the key now in use is printed.

    Nodes learn a new key over SSH at the next `pancode fleet up`. Until then the coordinator uses the key
    that each node knows, so nothing stops. The next `pancode fleet up` removes the old key from the nodes.
    """
    if (rotate and name is not None) or (lost and not rotate):
        fix = "pancode admin keys --rotate --lost"
        raise UsageError("--lost requires --rotate, and --rotate takes no NAME", fix=fix)
    message = "the coordinator has a new key; next: pancode fleet up\n" if rotate else ""
    answer = face.get(KEYS) if not rotate else _begun_anew(face) if lost else face.post(ROTATE)
    if name is None:
        return face.show(answer, lambda: message + format_rows(answer["keys"], _COLUMNS))
    found = [row for row in answer["keys"] if _is_meant(row, name)]
    if not found:
        raise NotFoundError(f"key {name} not found", fix="pancode admin keys", code="key_not_found")
    return face.show(found[-1], lambda: found[-1]["pem"])


def _is_meant(row: UsedKey, name: str) -> bool:
    """Whether `name` means the key: the first digits of its id, or its owner's name if it is in use."""
    if len(name) >= 10 and row["keyid"].startswith(name):
        return True
    return row["until"] is None and name in (row["name"], row["role"] if row["role"] == "coordinator" else "")


def _begun_anew(face: Face) -> KeysAnswer:
    """Start the coordinator with a new key; a file in the home requests this, since it cannot start
    otherwise."""
    home = home_of(os.environ)
    with suppress(UnavailableError):
        face.client(starts=False).get(PING)
        fix = "pancode admin keys --rotate"
        raise ConflictError("the coordinator is running, so its key is not lost", fix=fix)
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
