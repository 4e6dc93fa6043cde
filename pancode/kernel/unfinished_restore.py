"""The mark that a restore leaves in a home until it has ended; no other command uses such a home."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path

from pancode.kernel.errors import ConfigError

RESTORING = ".restore"
"""The folder in a home in which a restore collects the files. While it has an entry, the restore has not
ended."""
MARK = "moving.json"
"""The file there that is written first and removed last. It has the `command` of the restore, and once the
folder is filled, the `entries` to move into the home."""
HARMLESS = frozenset({"run", RESTORING, "lost+found", ".gitignore"})
"""Entries of a home that is still empty: the lock, an interrupted restore, a mount point's own folder."""


def refuse_unfinished_restore(home: Path) -> None:
    """Raise ConfigError, with the command that continues it, if a restore into this home has not ended."""
    folder = home / RESTORING
    try:
        if not os.listdir(folder):
            return
    except OSError:
        return
    try:
        mark = json.loads((folder / MARK).read_bytes())
    except (OSError, ValueError):
        mark = {}
    command, entries = (mark.get("command"), mark.get("entries")) if isinstance(mark, dict) else ("", ())
    # Until the first entry is moved, everything that the restore has written is in its own folder.
    restored = home if entries and set(os.listdir(home)) <= {*HARMLESS, *entries} else folder
    fix = f"continue it: {command or 'pancode admin restore --from HOST'}"
    if restored is home or not entries:
        fix += f"; or give it up, which leaves the copy as it is: rm -r {shlex.quote(str(restored))}"
    raise ConfigError(
        f"a restore into {home} has not ended",
        why="it was interrupted, or is still running; files of the fleet are not in the home yet",
        fix=fix,
        code="restore_unfinished",
    )
