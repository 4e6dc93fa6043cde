"""Prints, installs and removes the service of the coordinator or of a node agent; needs no coordinator."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pancode.app.reboot import only_in_environ, service_of, unit_of
from pancode.fleet.ssh.unit import Unit
from pancode.fleet.systemd.system_unit import SystemService
from pancode.fleet.systemd.unit import SYSTEM_NODE, format_lines
from pancode.interfaces.client.client import home_here
from pancode.kernel.errors import ConfigError, UnavailableError, UsageError


@dataclass(frozen=True, slots=True)
class Whose:
    """The user of a system service: name, uid and home directory."""

    name: str
    uid: int
    home: Path

    @classmethod
    def of(cls, name: str | None) -> Whose:
        """Return the unit's user: the named one, else who called sudo, else the caller. Raises UsageError."""
        try:
            wanted = name or os.environ.get("SUDO_USER")
            found = pwd.getpwnam(wanted) if wanted else pwd.getpwuid(os.getuid())
        except KeyError as exc:
            raise UsageError(
                f"user {name or os.getuid()} not found", why=str(exc), fix="--user NAME"
            ) from exc
        return cls(found.pw_name, found.pw_uid, Path(found.pw_dir))


def unit_text(root: Path, environ: Mapping[str, str], system: Whose | None) -> str:
    """Return the text of a systemd unit. ConfigError for a variable that no unit can contain."""
    try:
        return unit_of(root, environ, (system.name, system.uid) if system else None).text()
    except ValueError as exc:
        raise ConfigError(f"cannot write the unit: {exc}", fix="set that variable to one line") from exc


def node_text(node_home: Path, python: str, system: Whose | None) -> str:
    """Return the unit of the node agent in `node_home`: a user unit as in `fleet up`, or a system unit."""
    from pancode.fleet.ssh.steps import NodeLocation

    place = NodeLocation(
        node_home.name, str(system.home if system else Path.home()), str(node_home), os.getuid()
    )
    argv = place.command(python, "run")
    if system is None:
        return place.unit(python).text()
    return Unit(place.fleet, str(node_home), argv, system.name, format_lines(SYSTEM_NODE)).text()


def home_for(environ: Mapping[str, str], system: Whose | None) -> Path:
    """Return the coordinator's home: from the environment, else the default home of the unit's user."""
    return home_here(environ if system is None else {**environ, "HOME": str(system.home)})


def install(root: Path, environ: Mapping[str, str], system: Whose | None) -> dict[str, Any]:
    """Install a service that starts the coordinator at boot. UsageError, ConfigError, UnavailableError."""
    if not (root / "key/coordinator.key").exists():
        raise UsageError(
            f"{root} has no fleet yet",
            why="a service never creates a fleet: a missing home, as of an unmounted disk, is an error",
            fix="as the user of the service, run once: pancode admin serve --background",
        )
    from pancode.config.agents.presets import NO_PRESET
    from pancode.config.load import ConfigPlaces, load

    settings = load(ConfigPlaces(root), environ, preset=NO_PRESET).settings
    never = only_in_environ((settings.redis.url, settings.ledger.url), environ)
    if never:
        raise ConfigError(
            never,
            fix="put the password in a file and name that file: redis.password_file or ledger.password_file",
        )
    if system is None:
        service = service_of(root, (None, None), environ)
        before = service.seen()
        status = service.install()
        if not status.startswith("restarted"):
            raise UnavailableError(
                f"cannot start the coordinator as a user service: {status}",
                fix="if there is no systemd user manager: sudo pancode admin service --install --system",
                code="no_systemd",
            )
        changed = service.seen() != before
        return {"told": status, "name": unit_of(root, environ).name, "system": False, "changed": changed}
    unit = unit_of(root, environ, (system.name, system.uid))
    changed = SystemService(unit).install()
    status = f"restarted at boot, as {system.name}, by the system service {unit.name}"
    return {"told": status, "name": unit.name, "system": True, "changed": changed}


def remove(root: Path, environ: Mapping[str, str], system: Whose | None) -> dict[str, Any]:
    """Remove the service; a running coordinator continues. UnavailableError."""
    unit = unit_of(root, environ)
    if system is None:
        service = service_of(root, (None, None), environ)
        before = service.seen()
        service.remove()
        return {"name": unit.name, "system": False, "changed": service.seen() != before}
    return {"name": unit.name, "system": True, "changed": SystemService(unit).remove()}
