"""The checkout in the user's working directory, when the coordinator is on another machine."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Protocol

from pancode.interfaces.cli.output import write_stderr
from pancode.interfaces.client.client import Client
from pancode.interfaces.client.remote.place import RemoteCoordinator, remote_of
from pancode.runs.answers import RUN


class CopiedCheckout(Protocol):
    """A checkout with a copy on the coordinator's machine."""

    @property
    def copy(self) -> str:
        """Return the name of the copy."""

    def travel(self, *, lands: bool = False) -> str:
        """Update the copy from this checkout, after bringing back changes landed there. Return its folder.
        With `lands`, WorkspaceError is raised for a change that does not apply here; else it is reported."""

    def folder_there(self) -> str:
        """Return the copy's folder for the working directory, with the files as last sent."""

    def branch_home(self, name: str) -> None:
        """Fetch a landing's commits to this branch. WorkspaceError if the user's branch has other commits."""


def find_own(there: RemoteCoordinator) -> CopiedCheckout | None:
    from node_agent.wire.clock import SystemIds
    from pancode.checkouts.commands.own_checkout import checkout_of  # git code, for a remote coordinator

    return checkout_of(there, lambda text: write_stderr(f"{text}\n"), SystemIds())


FIND: tuple[Callable[[RemoteCoordinator], CopiedCheckout | None], ...] = (find_own,)
"""How the checkout of the working directory is found; None: it is not in a checkout."""


def send_checkout(there: RemoteCoordinator, files: bool = True) -> str | None:
    """Return the checkout's folder in its copy; `files`: after sending the files. None: not in a checkout."""
    found = find_checkout(there)
    return None if found is None else found.travel() if files else found.folder_there()


def own_checkout(client: Client, run: str) -> CopiedCheckout | None:
    """Return the checkout where the run began, if it is the working directory's; None: the run's files are on
    the coordinator's machine, or in another checkout, about which a note is printed."""
    there = remote_of(os.environ)
    if there is None or there.folder is not None:
        return None
    found = find_checkout(there)
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


def find_checkout(there: RemoteCoordinator) -> CopiedCheckout | None:
    """Return the checkout of the working directory; None if it is in none."""
    return next(filter(None, (find(there) for find in FIND)), None)
