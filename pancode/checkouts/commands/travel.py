"""The checkout in the user's working directory, when the coordinator is on another machine."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from pancode.interfaces.cli.output import write_stderr
from pancode.interfaces.client.client import Client
from pancode.interfaces.client.remote.place import RemoteCoordinator, remote_of
from pancode.runs.answers import RUN

if TYPE_CHECKING:
    from pancode.interfaces.client.own_checkout import OwnCheckout


def send_checkout(there: RemoteCoordinator, files: bool = True) -> str | None:
    """Return the checkout's folder in its copy; `files`: after sending the files. None: not in a checkout."""
    found = _find_checkout(there)
    return None if found is None else found.travel() if files else found.folder_there()


def own_checkout(client: Client, run: str) -> OwnCheckout | None:
    """Return the checkout where the run began, if it is the working directory's; None: the run's files are on
    the coordinator's machine, or in another checkout, about which a note is printed."""
    there = remote_of(os.environ)
    if there is None or there.folder is not None:
        return None
    found = _find_checkout(there)
    began = str(client.get(RUN.at(run))["project"] or "")
    if found is not None and began.endswith(f"/{found.copy}"):
        return found
    if re.search(r"/checkouts/c-[0-9a-f]{16}/[^/]+$", began):
        next_ = "the next command there brings its change into it"
        write_stderr(f"note: {run} began in another checkout; {next_}\n")
    return None


def travel_now() -> None:
    """Synchronize the user's checkout with its copy: send its files, and bring back landed changes."""
    there = remote_of(os.environ)
    if there is not None and there.folder is None:
        send_checkout(there)


def _find_checkout(there: RemoteCoordinator) -> OwnCheckout | None:
    from node_agent.wire.clock import SystemIds
    from pancode.interfaces.client.own_checkout import checkout_of  # git code, for a remote coordinator

    return checkout_of(there, lambda text: write_stderr(f"{text}\n"), SystemIds())
