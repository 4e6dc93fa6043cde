"""Finds the Python environment behind a link on PATH, and the version of a package in it."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path


def environment_of(program: str) -> str | None:
    """The folder of the environment in whose `bin` this program, or what it links to, lies; None for none.

    One link and no further: that one's Python is itself a link, to the one that it was made from, and a
    sandbox shows no links that lie between.
    """
    places = [program]
    with suppress(OSError):
        places.append(os.path.join(os.path.dirname(program), os.readlink(program)))
    folders = (os.path.dirname(os.path.dirname(os.path.normpath(place))) for place in places)
    return next((one for one in folders if os.path.isfile(os.path.join(one, "pyvenv.cfg"))), None)


def found_environment(name: str, path: str) -> str | None:
    """Of the program of that name on `path` (PATH)."""
    found = shutil.which(name, path=path)
    return None if found is None else environment_of(os.path.abspath(found))


def version_in(environment: str, package: str) -> str | None:
    """Of a package, as its installer wrote it down; nothing is started for it."""
    name = f"{package.replace('-', '_')}-"
    with suppress(OSError):
        for folder in sorted(Path(environment, "lib").glob("python3*/site-packages")):
            for entry in folder.glob(f"{name}*.dist-info"):
                return entry.name.removeprefix(name).removesuffix(".dist-info")
    return None
