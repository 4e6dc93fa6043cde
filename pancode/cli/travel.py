"""The checkout where the person stands, when the coordinator is on another machine."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pancode.cli.face import aside
from pancode.client import Client, path_of
from pancode.remote.place import RemoteCoordinator, remote_of

if TYPE_CHECKING:
    from pancode.offline.own_checkout import OwnCheckout


def travelled(there: RemoteCoordinator) -> str | None:
    """Its folder there, with the files of now; None: the person stands in no checkout."""
    found = _checkout(there)
    return None if found is None else found.travel()


def own_checkout(client: Client, run: str) -> OwnCheckout | None:
    """That in which the run began, if it is here; None: its files are where the coordinator is."""
    there = remote_of(os.environ)
    if there is None or there.folder is not None:
        return None
    found = _checkout(there)
    if found is None:
        return None
    began = str(client.get(path_of("runs", run))["project"] or "")
    return found if began.endswith(f"/{found.copy}") else None


def _checkout(there: RemoteCoordinator) -> OwnCheckout | None:
    from pancode.offline.own_checkout import checkout_of  # git, and only for a coordinator elsewhere

    return checkout_of(there, lambda text: aside(f"{text}\n"))
