"""`pancode serve`: the coordinator in the foreground, in the background, or as a service."""

from __future__ import annotations

import errno
import os
import signal
import sys
import time
from typing import Annotated

from typer import Option

from pancode.cli.face import Face
from pancode.cli.output.tell import tell_error
from pancode.cli.parsing.lazy import Commands
from pancode.cli.parsing.params import option
from pancode.client import Client, start_coordinator
from pancode.connection import FULL, home_of, unusable
from pancode.errors import ExitCode, PancodeError

app = Commands()

HELD = 73
"""Exit status for a service: another coordinator has the home. The units know it."""


@app.verb("serve", "pancode serve", "pancode serve --background")
def serve(
    background: Annotated[
        bool, option("Start it in its own session and come back when it answers.", "--background")
    ] = False,
    check: Annotated[bool, option("Start nothing: exit status 0 if one answers, else 6.", "--check")] = False,
    child: Annotated[bool, Option("--child", hidden=True)] = False,
) -> int:
    """The coordinator in the foreground; Ctrl-C stops it cleanly, and runs on nodes go on."""
    Face(as_json=False).acts_here("pancode serve")
    if check:
        Client(home_of(os.environ), starts=False).get("/v1/ping")
        return ExitCode.DONE
    if background:
        return _in_background()
    if not child:
        return _in_foreground()
    for number in (signal.SIGINT, signal.SIGHUP):
        # Of its own session: what a command in the background ignores is not for what starts here.
        signal.signal(number, signal.SIG_DFL)
    return _as_child()


def _in_background() -> int:
    from pancode.offline.server.single_instance import holder_of

    root = home_of(os.environ)
    before = holder_of(root)
    start_coordinator(root)
    now = holder_of(root)
    words = "already running" if before is not None else "running"
    sys.stdout.write(f"{words}, pid {now.pid if now is not None else '?'}\n")
    return ExitCode.DONE


def _in_foreground() -> int:
    from pancode.offline.server.serve_here import serve_here

    serve_here(os.environ, quiet=False)
    return ExitCode.DONE


def _as_child() -> int:
    from pancode.offline.server.serve_here import serve_here
    from pancode.offline.server.service_check import left_to_service
    from pancode.offline.server.single_instance import AlreadyRunningError

    by_service = "NOTIFY_SOCKET" in os.environ
    if not by_service and left_to_service(home_of(os.environ), os.environ, time.sleep):
        return ExitCode.DONE
    try:
        serve_here(os.environ, quiet=True)
    except AlreadyRunningError as there:
        sys.stderr.write(f"{there}\n")
        # A service would take 0 for one that ended before it was ready, and start it again.
        return HELD if by_service else ExitCode.DONE
    except PancodeError as error:
        return tell_error(error, as_json=True)
    except OSError as exc:
        if exc.errno not in (*FULL, errno.EROFS):
            raise
        return tell_error(unusable(home_of(os.environ), exc), as_json=True)
    return ExitCode.DONE
