"""`pancode service`: the coordinator as a service of systemd or launchd."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pancode.cli.parsing.lazy import Commands
from pancode.cli.parsing.params import Json, option
from pancode.errors import UsageError

if TYPE_CHECKING:
    from pancode.offline.units import Whose

app = Commands()

System = Annotated[bool, option("Use the system's manager, not your own user manager.", "--system")]
User = Annotated[
    str | None,
    option("The user of the coordinator with --system (default: the user who called sudo).", "NAME"),
]


@app.group("service", "pancode service print", "pancode service install")
def service() -> None:
    """The coordinator as a service, ready and watched; `pancode fleet up` installs yours where it can."""


@service.verb("print", "pancode service print --system", "pancode service print --launchd")
def show(
    *,
    system: System = False,
    user: User = None,
    launchd: Annotated[
        bool, option("Print a service for macOS, where it was never tried.", "--launchd")
    ] = False,
    node_home: Annotated[
        str | None, option("Print the unit of the node agent of that folder instead.", "FOLDER")
    ] = None,
    python: Annotated[
        str, option("The Python of the node agent of --node-home.", "PROGRAM")
    ] = "/usr/bin/python3",
    face: Json,
) -> None:
    """The very unit that install would write, and changes nothing."""
    from pancode.offline import units

    face.acts_here("pancode service")
    if launchd and (system or node_home):
        raise UsageError("--launchd is about your own coordinator", fix="pancode service print --launchd")
    whose = _whose(system, user)
    root = units.home_for(os.environ, whose)
    if launchd:
        text = units.plist_text(root, os.environ)
    elif node_home:
        text = units.node_text(Path(node_home).absolute(), python, whose)
    else:
        text = units.unit_text(root, os.environ, whose)
    face.show({"text": text}, lambda: text)


@service.verb("install", "pancode service install", "sudo pancode service install --system")
def install(*, system: System = False, user: User = None, face: Json) -> None:
    """Install the unit that starts the coordinator from the next boot on. A second time changes nothing."""
    from pancode.offline import units

    face.acts_here("pancode service")
    whose = _whose(system, user)
    answer = units.install(units.home_for(os.environ, whose), os.environ, whose)
    manager = "systemctl" if system else "systemctl --user"
    now = f"now: pancode fleet down, then {manager} start {answer['name']}\n"
    face.show(answer, lambda: f"{answer['told']}\n{now}")


@service.verb("remove", "pancode service remove", "sudo pancode service remove --system")
def remove(*, system: System = False, user: User = None, face: Json) -> None:
    """It starts the coordinator no more; one that runs goes on until `pancode fleet down`."""
    from pancode.offline import units

    face.acts_here("pancode service")
    whose = _whose(system, user)
    answer = units.remove(units.home_for(os.environ, whose), os.environ, whose)
    face.show(answer, lambda: f"not restarted after reboot; {answer['name']} is gone\n")


def _whose(system: bool, user: str | None) -> Whose | None:
    from pancode.offline import units

    if user is not None and not system:
        raise UsageError("--user goes with --system", fix="pancode service install --system --user NAME")
    return units.Whose.of(user) if system else None
