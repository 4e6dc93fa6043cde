"""Keeps a runtime's files of the run's home, and puts them back after set-up, which writes there, too."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from pathlib import Path

from node_agent.workspace.folders import Places, erase, give, must_be_folder, write_below

KEPT = "home.json"
"""Beside the home, where nothing of the attempt writes."""


def keep(places: Places, files: Mapping[str, bytes]) -> None:
    """Idempotent."""
    held = {name: base64.b64encode(data).decode("ascii") for name, data in files.items()}
    write_below(places.folder, KEPT, json.dumps(held).encode("ascii"))


def renew(places: Places) -> None:
    """Everything below the topmost folder of each file goes: a setting beside it counts for the program, too.

    Links that were left are taken away, never followed. Nothing was kept by a node agent of before: then all
    stays as it is.
    """
    try:
        held = json.loads((places.folder / KEPT).read_bytes())
    except FileNotFoundError:
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
