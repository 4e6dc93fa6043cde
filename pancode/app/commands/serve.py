"""`pancode admin serve`, `service` and `api-stdio`: the coordinator's process on this machine."""

from __future__ import annotations

import errno
import os
import signal
import sys
import time
from pathlib import Path
from typing import Annotated

from typer import Option

from pancode.fleet.answers import PING
from pancode.interfaces.cli.output import Face, internal_error, tell_error
from pancode.interfaces.cli.parameters import Json, option, verb
from pancode.interfaces.client.client import FULL, Client, home_of, start_coordinator, unusable_home_error
from pancode.kernel.errors import ExitCode, PancodeError, UsageError

HELD = 73
"""Exit status by which the systemd units recognize that another coordinator has locked the home."""


@verb("admin serve", "", "--background")
def serve(
    background: Annotated[bool, option("Start it in the background and return when it answers.")] = False,
    check: Annotated[bool, option("Start nothing: exit status 0 if a coordinator answers, else 6.")] = False,
    child: Annotated[bool, Option("--child", hidden=True)] = False,
    stamp: Annotated[int | None, Option("--down-stamp", hidden=True)] = None,
) -> int:
    """Run the coordinator in the foreground. Ctrl-C stops it cleanly; runs on nodes continue."""
    Face(as_json=False).acts_here("pancode admin serve")
    if check:
        Client(home_of(os.environ), starts=False).get(PING)
        return ExitCode.DONE
    if background:
        from pancode.kernel.host.single_instance import holder_of

        root = home_of(os.environ)
        before = holder_of(root)
        start_coordinator(root)
        now = holder_of(root)
        words = "already running" if before is not None else "running"
        sys.stdout.write(f"{words}, pid {now.pid if now is not None else '?'}\n")
        return ExitCode.DONE
    if child:
        return _as_child(stamp)
    from pancode.app.http_routes import make_threads
    from pancode.app.server.serve import serve_here

    serve_here(os.environ, make_threads, quiet=False)
    return ExitCode.DONE


def _as_child(stamp: int | None) -> int:
    from pancode.app.http_routes import make_threads
    from pancode.app.server.serve import left_to_service, serve_here
    from pancode.kernel.host.single_instance import AlreadyRunningError

    for number in (signal.SIGINT, signal.SIGHUP):
        # Signals that a background command ignores must not stay ignored in the coordinator.
        signal.signal(number, signal.SIG_DFL)
    by_service = "NOTIFY_SOCKET" in os.environ
    if not by_service and left_to_service(home_of(os.environ), os.environ, time.sleep):
        return ExitCode.DONE
    try:
        serve_here(os.environ, make_threads, quiet=True, stamp=stamp)
    except AlreadyRunningError as there:
        sys.stderr.write(f"{there}\n")
        # With exit status 0, systemd would restart the service, as if it had ended before it was ready.
        return HELD if by_service else ExitCode.DONE
    except PancodeError as error:
        return tell_error(error, as_json=True)
    except OSError as exc:
        full = exc.errno in (*FULL, errno.EROFS)
        problem = unusable_home_error(home_of(os.environ), exc) if full else internal_error(exc)
        return tell_error(problem, as_json=True)
    return ExitCode.DONE


_USER = "The user of the coordinator with --system (default: the user who called sudo)."
_REMOVES = "Remove the unit; a running coordinator continues until `fleet down`."


@verb(
    "admin service", "--system", "--install", 'sudo "$(command -v pancode)" admin service --install --system'
)
def service(
    *,
    installs: Annotated[
        bool, option("Install the unit; it starts the coordinator at the next boot.", "--install")
    ] = False,
    removes: Annotated[bool, option(_REMOVES, "--remove")] = False,
    system: Annotated[bool, option("Use the system's service manager instead of your user's.")] = False,
    user: Annotated[str | None, option(_USER, "NAME")] = None,
    node_home: Annotated[
        str | None, option("Print the unit of the node agent of this folder instead.", "FOLDER")
    ] = None,
    python: Annotated[
        str, option("The Python of the node agent, for --node-home.", "PROGRAM")
    ] = "/usr/bin/python3",
    face: Json,
) -> None:
    """Print the unit that --install would write, without changing anything.

    `pancode fleet up` installs your user's unit where possible. Repeating --install has no effect.
    """
    from pancode.app import units

    face.acts_here("pancode admin service")
    if user is not None and not system:
        command = "pancode admin service --install --system --user NAME"
        raise UsageError("--user requires --system", fix=command)
    whose = units.Whose.of(user) if system else None
    root = units.home_for(os.environ, whose)
    if installs + removes + bool(node_home) > 1:
        raise UsageError("--install, --remove and --node-home cannot be combined", fix="use only one of them")
    if installs:
        answer = units.install(root, os.environ, whose)
        now = "it starts at the next boot; pancode fleet down removes it, pancode fleet up restores it"
        if system:
            now = f"to start it now: pancode fleet down, then systemctl start {answer['name']}"
        return face.show(answer, lambda: f"{answer['told']}\n{now}\n")
    if removes:
        gone = units.remove(root, os.environ, whose)
        return face.show(gone, lambda: f"{gone['name']} removed; the coordinator no longer starts at boot\n")
    text = units.unit_text(root, os.environ, whose)
    if node_home:
        text = units.node_text(Path(node_home).absolute(), python, whose)
    return face.show({"text": text}, lambda: text)


@verb("admin api-stdio", "", "ssh desk pancode admin api-stdio")
def api_stdio() -> int:
    """Forward connections to this machine's coordinator over standard input and output.

    Commands on other machines whose PANCODE_COORDINATOR names this machine run this through SSH.
    """
    from pancode.app.server.api_stdio import serve_stdio

    return serve_stdio()
