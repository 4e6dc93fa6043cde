"""Opens a vendor's login or a shell on a node in this terminal, sets a secret there or installs programs."""

from __future__ import annotations

import asyncio
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pancode.fleet.place import Reach
from pancode.fleet.ssh.connection import Session, open_session
from pancode.fleet.ssh.home import Home
from pancode.fleet.ssh.reach import login_for, pins_of, target_of
from pancode.fleet.ssh.remote import OPEN, Completed, Remote
from pancode.fleet.ssh.target import AGENT, with_agent
from pancode.fleet.ssh.terminal import attach
from pancode.kernel.declared import from_json
from pancode.kernel.errors import UnavailableError, UsageError
from pancode.kernel.names import must_be_hideable

OUT_OF_SERVICE = 75
SECRET_S, PROGRAMS_S = 30.0, 3_600.0
STAYED = 3
"""The exit status of `ENTER` if the user has detached and may return."""
ENTER = """\
cd "$1" || exit 1
unset TMUX
trap : INT
if command -v tmux >/dev/null 2>&1; then
  tmux new-session -A -s "$2" -c "$1" "${SHELL:-sh}" || exit 1
  ! tmux has-session -t "=$2" 2>/dev/null || exit 3
else
  echo "no tmux here: a plain shell, which ends with this connection; exit leaves the workspace"
  "${SHELL:-sh}"
fi
exit 0
"""
"""Opens a shell. $1: folder, $2: name of the session. It writes nothing there: an agent may have left links.
"""


def log_in(name: str, target: Mapping[str, Any], runtime: str, environ: Mapping[str, str]) -> int:
    """Log in to a runtime on a node; return the exit status. `target`: how the coordinator reaches the
    node."""
    reach = from_json(Reach, target)
    if not at_terminal():
        raise UsageError(
            "a login needs a terminal",
            why="the login's questions must be answered interactively",
            fix="run the command in a terminal, without a pipe",
        )
    if reach.installed_home is None:
        raise UnavailableError(f"node {name} has never been started", fix=f"pancode fleet up {name}")
    return _run_attached(
        reach, ("sh", "-c", OPEN, "pancode", reach.installed_home, "login", runtime), environ
    )


def at_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


def open_shell(target: Mapping[str, Any], folder: str, session: str, environ: Mapping[str, str]) -> bool:
    """Open a shell in this folder of a node until it ends; return whether the user has left it for good.
    UnavailableError if the folder or a terminal there is not available."""
    status = _run_attached(from_json(Reach, target), ("sh", "-c", ENTER, "pancode", folder, session), environ)
    if status not in (0, STAYED):
        fix = "run the same command again"
        raise UnavailableError(
            "the shell on the node did not start, or was interrupted", why=f"exit {status}", fix=fix
        )
    return status == 0


def _run_attached(reach: Reach, argv: tuple[str, ...], environ: Mapping[str, str]) -> int:
    """Run the command with this terminal; return its exit status."""
    if reach.local:
        # The terminal already exists: Ctrl-C goes to the login, and this process waits for how it reacts.
        process = subprocess.Popen(argv, env=dict(environ_of(reach, environ)))
        while True:
            try:
                status = process.wait()
                return status if status >= 0 else 128 - status
            except KeyboardInterrupt:
                continue
    return asyncio.run(_attach_remote(reach, argv, environ))


def describe_remotes(target: Mapping[str, Any], folder: str) -> dict[str, Any]:
    """Return what a user's own ssh and remote editors need to connect to the node."""
    reach = from_json(Reach, target)
    if reach.local:
        return {"host": None, "ssh": f"cd {shlex.quote(folder)}", "code": shlex.join(["code", folder])}
    place = target_of(reach)
    host = f"[{place.host}]" if ":" in place.host else place.host
    named = place.alias != place.host  # the other settings are in the user's SSH configuration
    address = place.alias if named else f"{place.user}@{host}:{place.port}"
    there = f'cd {shlex.quote(folder)} && exec "$SHELL"'
    return {
        "host": address,
        "ssh": shlex.join([*(["ssh", place.alias] if named else place.by_hand.split()), "-t", there]),
        "code": shlex.join(["code", "--remote", f"ssh-remote+{address}", folder]),
        "zed": shlex.join(["zed", f"ssh://{address}{quote(folder)}"]),
    }


def set_secret(
    name: str, target: Mapping[str, Any], secret: str, value: bytes, environ: Mapping[str, str]
) -> str:
    """Put a value into the node's secrets.json; return the node's message about it. UsageError. The value
    goes directly to the node, on a program's standard input: the coordinator never has it."""
    if value.strip():  # the node refuses an empty value itself
        must_be_hideable(value.decode("utf-8", "replace"))
    status, out, err = _on(name, target, ("secret", secret), value, SECRET_S, environ)
    if status:
        words = err.decode("utf-8", "replace").strip().removeprefix("pancode-node: ")
        raise UsageError(
            f"the secret was not set on {name}",
            why=words or f"exit {status}",
            fix=f"type it on a terminal, or: pancode node secret {name} NAME < FILE",
            code="secret_not_set",
        )
    return out.decode("utf-8", "replace").strip()


def change_programs(
    name: str, target: Mapping[str, Any], words: tuple[str, ...], environ: Mapping[str, str]
) -> tuple[bool, str]:
    """Install agent programs on a node for its user, or remove them; return whether all succeeded, and the
    node's message. `words`: arguments of the node agent's verb `install`."""
    status, out, err = _on(name, target, ("install", *words), b"", PROGRAMS_S, environ)
    output = f"{out.decode('utf-8', 'replace')}{err.decode('utf-8', 'replace') if status else ''}"
    return status == 0, output


def _on(
    name: str,
    target: Mapping[str, Any],
    words: tuple[str, ...],
    data: bytes,
    most_s: float,
    environ: Mapping[str, str],
) -> tuple[int, bytes, bytes]:
    """Return exit status, output and errors of a verb of the node agent. UnavailableError if no node agent
    runs there."""
    reach = from_json(Reach, target)
    if reach.installed_home is None:
        raise UnavailableError(f"node {name} has never been started", fix=f"pancode fleet up {name}")
    argv = ("sh", "-c", OPEN, "pancode", reach.installed_home, *words)
    if reach.local:
        done = subprocess.run(
            argv, env=environ_of(reach, environ), input=data, capture_output=True, check=False
        )
        status, out, err = done.returncode, done.stdout, done.stderr
    else:
        far = asyncio.run(_run_with_input(reach, argv, data, most_s, environ))
        status, out, err = 1 if far.status is None else far.status, far.stdout, far.stderr
    if status == OUT_OF_SERVICE:
        raise UnavailableError(f"the node agent is not running on {name}", fix=f"pancode fleet up {name}")
    return status, out, err


def environ_of(reach: Reach, environ: Mapping[str, str]) -> dict[str, str]:
    return {**environ, **({"HOME": reach.local_home} if reach.local_home else {})}


async def _run_with_input(
    reach: Reach, argv: tuple[str, ...], data: bytes, most_s: float, environ: Mapping[str, str]
) -> Completed:
    session = await session_to(reach, environ)
    try:
        return await Remote(session).run(argv, most_s, stdin=data)
    finally:
        await session.close()


async def session_to(reach: Reach, environ: Mapping[str, str]) -> Session:
    """Open a connection to the node with the user's keys and SSH agent, and the fleet's own key."""
    home = Home.of(environ)
    target = with_agent(target_of(reach), environ.get(AGENT))
    own = (home.fleet_key(),) if reach.fleet_key else ()
    login = login_for(reach, own, Path(environ.get("HOME") or Path.home()), environ)
    return await open_session(target, pins_of(reach), login)


async def _attach_remote(reach: Reach, argv: tuple[str, ...], environ: Mapping[str, str]) -> int:
    session = await session_to(reach, environ)
    try:
        return await attach(
            session, argv, sys.stdin.fileno(), sys.stdout.fileno(), environ.get("TERM", "xterm")
        )
    finally:
        await session.close()
