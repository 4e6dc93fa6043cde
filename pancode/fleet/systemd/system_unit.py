"""Installs and removes the coordinator's system-wide service; reports whether it is installed."""

from __future__ import annotations

import subprocess
from pathlib import Path

from pancode.fleet.systemd.systemctl import is_on_its_way, run_program
from pancode.fleet.systemd.unit import CoordinatorUnit
from pancode.kernel.errors import PancodeError, UnavailableError
from pancode.kernel.host.files import write_durable

FOLDER = Path("/etc/systemd/system")
_TIMEOUT_S = 30.0


class SystemService:
    """The system service of one PANCODE_HOME. Root installs it; it runs as the owner of that home."""

    def __init__(self, unit: CoordinatorUnit, folder: Path = FOLDER) -> None:
        self._unit = unit
        self.path = folder / unit.name

    def is_there(self) -> bool:
        return self.path.exists()

    def on_its_way(self) -> bool:
        """Whether the system manager is about to start or stop the service."""
        return self.is_there() and is_on_its_way(("systemctl",), self._unit.name, _TIMEOUT_S)

    def install(self) -> bool:
        """Enable the service without starting it; it starts at the next boot. Return whether anything
        changed. Raises UnavailableError."""
        text = self._unit.text().encode()
        same = self.path.exists() and self.path.read_bytes() == text
        if not same:
            try:
                write_durable(self.path, text)
                self.path.chmod(0o644)
            except OSError as exc:
                raise self._make_unit_error(str(exc)) from exc
            self._run_systemctl("daemon-reload")
        self._run_systemctl("enable", self._unit.name)
        return not same

    def remove(self) -> bool:
        """Remove the service; its running processes continue. Return whether the service existed. Raises
        UnavailableError."""
        if not self.path.exists():
            return False
        self._run_systemctl("disable", self._unit.name)
        try:
            self.path.unlink()
        except OSError as exc:
            raise self._make_unit_error(str(exc)) from exc
        self._run_systemctl("daemon-reload")
        return True

    def _run_systemctl(self, *words: str) -> None:
        argv = ("systemctl", *words)
        try:
            done = run_program(argv, _TIMEOUT_S)
        except (OSError, subprocess.TimeoutExpired) as exc:
            raise self._make_unit_error(str(exc)) from exc
        if done.returncode != 0:
            raise self._make_unit_error(f"{' '.join(argv)}: {done.stderr.strip() or done.returncode}")

    def _make_unit_error(self, why: str) -> PancodeError:
        return UnavailableError(
            f"cannot change {self.path}",
            why=why,
            fix="run it as root, where systemd is running",
            code="no_systemd",
        )
