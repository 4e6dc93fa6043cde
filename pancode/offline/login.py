"""Opens a vendor's own login on a node with this terminal, over SSH or, on this machine, beside us."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pancode.adapters.ssh.connect import open_session
from pancode.adapters.ssh.terminal import attach
from pancode.errors import UnavailableError, UsageError
from pancode.wiring.home import Home
from pancode.wiring.nodes import Reach, login_for

OPEN = """\
pid=$(cat "$1/run/agent.pid" 2>/dev/null) && python=$(readlink "/proc/$pid/exe") \\
  && tr '\\0' '\\n' <"/proc/$pid/cmdline" | grep -q '/start\\.py$' \\
  || { echo "no node agent runs there; fix: pancode fleet up" >&2; exit 75; }
exec "$python" -I -S -B "$1/current/start.py" login --home "$1" "$2"
"""
"""The node agent's own code knows the node's PATH and where its runs look."""


def log_in(name: str, target: Mapping[str, Any], runtime: str, environ: Mapping[str, str]) -> int:
    """The exit status of that login. `target`: how the node is reached, as the coordinator tells it."""
    reach = Reach.made_of(target)
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError(
            "a login needs a terminal", why="a person has to answer it", fix="run it in one, without a pipe"
        )
    if reach.installed_home is None:
        raise UnavailableError(f"node {name} was never brought up", fix=f"pancode fleet up {name}")
    argv = ("sh", "-c", OPEN, "login", reach.installed_home, runtime)
    if reach.local:
        return _here(argv, {**environ, **({"HOME": reach.local_home} if reach.local_home else {})})
    return asyncio.run(_there(reach, argv, environ))


def _here(argv: tuple[str, ...], environ: Mapping[str, str]) -> int:
    """This terminal is there already: Ctrl-C is for the login, and we wait for what it makes of it."""
    process = subprocess.Popen(argv, env=dict(environ))
    while True:
        try:
            status = process.wait()
            return status if status >= 0 else 128 - status
        except KeyboardInterrupt:
            continue


async def _there(reach: Reach, argv: tuple[str, ...], environ: Mapping[str, str]) -> int:
    home = Home.of(environ)
    agent = environ.get("SSH_AUTH_SOCK")
    target = replace(reach.target, agent_path=agent) if agent else reach.target
    own = (home.fleet_key(),) if reach.fleet_key else ()
    login = login_for(reach, own, Path(environ.get("HOME") or Path.home()))
    session = await open_session(target, reach.pins, login)
    try:
        return await attach(
            session, argv, sys.stdin.fileno(), sys.stdout.fileno(), environ.get("TERM", "xterm")
        )
    finally:
        await session.close()
