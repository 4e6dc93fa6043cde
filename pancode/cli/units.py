"""`pancode service`: the coordinator as a service of systemd or launchd."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pancode.cli.face import Face, example, json_option
from pancode.cli.lazy import LazyGroup
from pancode.errors import UsageError

if TYPE_CHECKING:
    from pancode.offline.units import Whose

_system = click.option("--system", is_flag=True, help="Of the whole system, not of your own user manager.")
_user = click.option("--user", metavar="NAME", help="With --system: whose coordinator; else who called sudo.")


@click.group("service", cls=LazyGroup, epilog=example("pancode service print", "pancode service install"))
def service() -> None:
    """The coordinator as a service, ready and watched; `pancode fleet up` installs yours where it can."""


@service.command("print", epilog=example("pancode service print --system", "pancode service print --launchd"))
@_system
@_user
@click.option("--launchd", is_flag=True, help="For macOS, where it was never tried.")
@click.option("--node-home", metavar="FOLDER", help="The unit of the node agent of that folder instead.")
@click.option("--python", metavar="PROGRAM", default="/usr/bin/python3", help="With --node-home: its Python.")
@json_option
def show(
    system: bool, user: str | None, launchd: bool, node_home: str | None, python: str, face: Face
) -> None:
    """The very unit that install would write, and changes nothing."""
    from pancode.offline import units

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


@service.command(
    "install", epilog=example("pancode service install", "sudo pancode service install --system")
)
@_system
@_user
@json_option
def install(system: bool, user: str | None, face: Face) -> None:
    """From the next boot on it starts the coordinator. A second time changes nothing."""
    from pancode.offline import units

    whose = _whose(system, user)
    answer = units.install(units.home_for(os.environ, whose), os.environ, whose)
    manager = "systemctl" if system else "systemctl --user"
    now = f"now: pancode fleet down, then {manager} start {answer['name']}\n"
    face.show(answer, lambda: f"{answer['told']}\n{now}")


@service.command("remove", epilog=example("pancode service remove", "sudo pancode service remove --system"))
@_system
@_user
@json_option
def remove(system: bool, user: str | None, face: Face) -> None:
    """It starts the coordinator no more; one that runs goes on until `pancode fleet down`."""
    from pancode.offline import units

    whose = _whose(system, user)
    answer = units.remove(units.home_for(os.environ, whose), os.environ, whose)
    face.show(answer, lambda: f"not restarted after reboot; {answer['name']} is gone\n")


def _whose(system: bool, user: str | None) -> Whose | None:
    from pancode.offline import units

    if user is not None and not system:
        raise UsageError("--user goes with --system", fix="pancode service install --system --user NAME")
    return units.Whose.of(user) if system else None
