"""Saves a runtime's files in the run's home, and restores them after set-up, which writes there, too."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from pathlib import Path

from node_agent.workspace.folders import AttemptFolders, erase, give, must_be_folder, write_below

KEPT = "home.json"
"""Beside the home, where nothing of the attempt writes."""
LENT = "login.json"
"""Likewise: what is the agent's alone. No wall shows it."""


def keep(places: AttemptFolders, files: Mapping[str, bytes], name: str = KEPT) -> None:
    """Idempotent."""
    held = {name: base64.b64encode(data).decode("ascii") for name, data in files.items()}
    write_below(places.folder, name, json.dumps(held).encode("ascii"))


def lend(places: AttemptFolders, files: Mapping[str, bytes], later: bool) -> None:
    """Nothing of the attempt has run. What an earlier try wrote too soon is taken away. Idempotent."""
    if not files:
        return
    keep(places, files, LENT)
    for name, data in files.items():
        if later:
            (places.home / name).unlink(missing_ok=True)
        else:
            write_below(places.home, name, data)


def take_back(places: AttemptFolders) -> None:
    """With the folders around it, where its program may have put more of it. Idempotent."""
    for top in {Path(name).parts[0] for name in _held(places, LENT)}:
        must_be_folder(places.home)
        erase(places.home / top)
    (places.folder / LENT).unlink(missing_ok=True)


def renew(places: AttemptFolders) -> None:
    """Everything below the topmost folder of each file goes: a setting beside it counts for the program, too.

    Links that were left are taken away, never followed. Nothing was kept by a node agent of before: then all
    stays as it is.
    """
    held = {**_held(places, KEPT), **_held(places, LENT)}
    if not held:
        return
    must_be_folder(places.home)
    owner = os.lstat(places.home).st_uid
    tops = {Path(name).parts[0] for name in held}
    for top in tops:
        erase(places.home / top)
    for name, data in held.items():
        write_below(places.home, name, base64.b64decode(data))
    for top in tops if owner != os.geteuid() else ():
        give(places.home / top, owner)
        os.chown(places.home / top, owner, owner, follow_symlinks=False)


def _held(places: AttemptFolders, name: str) -> dict[str, str]:
    try:
        return dict(json.loads((places.folder / name).read_bytes()))
    except FileNotFoundError:
        return {}
