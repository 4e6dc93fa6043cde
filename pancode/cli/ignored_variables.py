"""Finds variables of this command that a running coordinator does not have."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pancode.client import Client
from pancode.config.variables import PER_DISPATCH, VARIABLES
from pancode.connection import home_of
from pancode.remote.place import remote_of

_ITS_OWN = {name: key for name, (key, _) in VARIABLES.items() if name not in PER_DISPATCH}


def unheeded(client: Client, cwd: str, environ: Mapping[str, str]) -> list[str]:
    """A sentence for each that is set otherwise than the coordinator was started with.

    ConfigError for one that does not fit: here, as the coordinator will not look at it.
    """
    named = {name: key for name, key in _ITS_OWN.items() if environ.get(name, "").strip()}
    if not named:
        return []
    remote = remote_of(environ)
    if remote is not None:
        return [f"{name} does not count: the coordinator on {remote} has its own settings" for name in named]
    from pancode.offline.settings import settings_here

    here = {row["key"]: row for row in settings_here(home_of(environ), Path(cwd), environ)[0]}
    there: dict[str, Any] = {row["key"]: row["value"] for row in client.get("/v1/config")["settings"]}
    return [
        f"{name} does not count: the coordinator was started without it, with {there.get(key)} for {key} "
        "(fix: pancode fleet down, then this command again)"
        for name, key in named.items()
        if here[key]["origin"] == name and here[key]["value"] != there.get(key)
    ]
