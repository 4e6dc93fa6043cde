"""`pancode init`, `demo`, `config`, `doctor`, `serve`: commands that need no coordinator, or are one."""

from __future__ import annotations

import errno
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from typer import Option

from pancode.cli.face import Face, folder_here
from pancode.cli.output.render import safe
from pancode.cli.output.tables import table
from pancode.cli.output.tell import tell_error
from pancode.cli.parsing.lazy import Commands
from pancode.cli.parsing.params import Json, option
from pancode.client import Client, start_coordinator
from pancode.connection import FULL, home_of, unusable
from pancode.errors import ExitCode, PancodeError, UnavailableError, UsageError

app = Commands()


@app.verb("init", "pancode init", "cd my-project && pancode init --write")
def init(
    *,
    write: Annotated[
        bool, option("Write the proposed pancode.yaml of this repository without asking.", "--write")
    ] = False,
    face: Json,
) -> None:
    """Write your configuration files, all comments, into your home; never overwrites.

    Inside a repository also propose its pancode.yaml (set-up, kept folders, gates), from pyproject.toml,
    package.json, Cargo.toml, go.mod or a Makefile. It is written after your yes, or with --write.
    """
    from pancode.offline.init import proposed_here, write_files

    def agreed(path: str, text: str) -> bool:
        if write or not face.can_ask():
            return write
        face.note(f"proposed for {path}:\n\n{text}")
        return face.agreed(f"Write {path}?", "--write")

    face.acts_here("pancode init")
    answer = write_files(home_of(os.environ))
    answer["project"] = proposed_here(Path(folder_here()), agreed)
    face.show(answer, lambda: _initialised(answer, shown=face.can_ask() and not write))


def _initialised(answer: dict[str, Any], shown: bool) -> str:
    words = "".join(
        f"{f['path']}  {'written' if f['written'] else 'is there, untouched'}\n" for f in answer["files"]
    )
    project = answer["project"]
    if project is None:
        return words
    if project["written"]:
        return f"{words}{project['path']}  written\n" + ("" if shown else f"\n{project['text']}")
    if project["text"] is None:
        return f"{words}{project['path']}  is there, untouched\n"
    rest = "" if shown else f"proposed, and not written (pancode init --write does):\n\n{project['text']}"
    return f"{words}{project['path']}  not written\n{rest}"


@app.verb("demo", "pancode demo", "pancode demo --keep", "pancode demo --remove")
def demo(
    *,
    keep: Annotated[bool, option("Leave the fleet running, for the curious.", "--keep")] = False,
    remove: Annotated[bool, option("Remove what an earlier --keep has left.", "--remove")] = False,
    face: Json,
) -> int:
    """A whole fleet on this machine, under a minute: no root, no key, no model, no network.

    Two machines over SSH, four runs, a node agent killed in the middle of one, receipts verified, a change
    landed, the books balanced, everything taken away. Exit code 0 only if every check held.
    """
    from pancode.offline.demo import demo as offline

    face.acts_here("pancode demo")
    if remove:
        count = offline.remove(os.environ, write=_narrator(face))
        face.show({"removed": count}, lambda: "" if count else "no demo is left here\n")
        return ExitCode.DONE
    report = offline.play(os.environ, keep=keep, write=_narrator(face))
    face.show(report, lambda: "")
    return ExitCode.DONE if report["ok"] else ExitCode.INTERNAL


def _narrator(face: Face) -> Callable[[str], None]:
    """The story is the result: on standard output, and with --json nowhere but in the answer."""

    def write(text: str) -> None:
        if not face.as_json:
            sys.stdout.write(text)
            sys.stdout.flush()

    return write


@app.group("config", "pancode config show --origin")
def config() -> None:
    """Built in < /etc/pancode < your home < the repository < PANCODE_ variables < flags."""


@config.verb("show", "pancode config show --origin")
def show(
    *, origin: Annotated[bool, option("Where each value was set.", "--origin")] = False, face: Json
) -> None:
    """Every setting as it is in this folder."""
    from pancode.offline.settings import settings_here

    rows, warnings = settings_here(home_of(os.environ), Path(folder_here()), os.environ)
    for warning in (*warnings, *_unheeded_here()):
        face.note(f"warning: {warning}")
    cells = [(r["key"], r["value"], *([r["origin"]] if origin else [])) for r in rows]
    head = ("KEY", "VALUE", *(["ORIGIN"] if origin else []))
    face.show({"settings": rows}, lambda: table(head, cells))


def _unheeded_here() -> list[str]:
    """Variables that a coordinator which runs now does not have; none where none answers."""
    from pancode.cli.ignored_variables import unheeded

    try:
        return unheeded(Client(home_of(os.environ), starts=False), folder_here(), os.environ)
    except UnavailableError:
        return []


@app.verb("doctor", "pancode doctor")
def doctor(*, mend: Annotated[bool, option("Not there yet.", "--fix")] = False, face: Json) -> int:
    """What is wrong on this machine, each with its fix; nodes: pancode fleet doctor."""
    from pancode.offline.doctor.doctor import examine

    if mend:
        raise UsageError("pancode doctor --fix is not there yet", fix="pancode doctor", code="not_there_yet")
    face.acts_here("pancode doctor")
    checks = examine(home_of(os.environ), os.environ)
    rows = [("ok" if c["ok"] else c["level"], c["what"], c["detail"]) for c in checks]
    face.show(
        {"checks": checks}, lambda: table(("", "WHAT", "HOW WE KNOW"), rows, toned=("",)) + _fixes(checks)
    )
    return (
        ExitCode.UNAVAILABLE if any(not c["ok"] and c["level"] == "error" for c in checks) else ExitCode.DONE
    )


def _fixes(checks: list[dict[str, Any]]) -> str:
    return "".join(
        f"  {safe(c['what'])}\n    fix: {safe(c['fix'])}\n" for c in checks if not c["ok"] and c["fix"]
    )


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
    from pancode.offline.server.serve import serve_here

    serve_here(os.environ, quiet=False)
    return ExitCode.DONE


def _as_child() -> int:
    from pancode.offline.server.serve import serve_here
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
