"""Serves the coordinator of this environment's home, as wired for production."""

from __future__ import annotations

import getpass
import logging
import os
import sys
from collections.abc import Mapping, MutableMapping
from pathlib import Path

from node_agent.wire import logs
from node_agent.wire.clock import SystemClock
from pancode.api.coordinator_api import CoordinatorApi
from pancode.client import home_of
from pancode.host.open_files import raise_limit
from pancode.offline.server.serve import API, ROUNDS, serve
from pancode.systemd.notify import watched

log = logging.getLogger("pancode.serve")


def make_real(root: Path, environ: Mapping[str, str]) -> CoordinatorApi:
    """The coordinator as wired for production. ConfigError names file and key."""
    from pancode.wiring.faces import build_for_faces

    return build_for_faces(root, environ)


def prepare_home(environ: Mapping[str, str]) -> Path:
    """The home's folder, made for its owner alone. ConfigError when it is somebody else's."""
    from pancode.wiring.home import Home

    home_of(environ)  # which says what is wrong with a path that cannot be one
    home = Home.of(environ)
    home.prepare()
    return home.root


def name_ourselves() -> None:
    """A uid that no account has, as in a container, has no name; SSH wants one all the same."""
    try:
        getpass.getuser()
    except (KeyError, OSError):
        os.environ["LOGNAME"] = f"uid{os.getuid()}"


def serve_here(environ: MutableMapping[str, str], *, quiet: bool) -> None:
    """The coordinator of this environment's home. `quiet`: nobody is watching, so only the log is told."""
    root = prepare_home(environ)
    name_ourselves()
    logs.set_up(environ.get(logs.VARIABLE, ""), sys.stderr)
    files = raise_limit()

    def ready() -> None:
        log.info("serving %s, pid %d, up to %d open files", root, os.getpid(), files)
        if not quiet:
            sys.stderr.write(f"coordinator on {root}, pid {os.getpid()}; Ctrl-C stops it\n")

    watch = watched(environ, SystemClock(), frozenset({ROUNDS, API}))
    serve(root, lambda: make_real(root, environ), ready=ready, watch=watch)
