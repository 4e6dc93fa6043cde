"""Installs and removes the user service, and reports whether a reboot restarts the coordinator."""

from __future__ import annotations

import getpass
import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from pancode.fleet.systemd.systemctl import is_on_its_way, run_program
from pancode.fleet.systemd.unit import CoordinatorUnit
from pancode.kernel.host.files import write_durable

TIMEOUT_S = 10.0
ANSWERS = ("running", "degraded", "starting")
NOT_RESTARTED = "not restarted after reboot"
_VOLATILE = ("/dev/shm", "/run")


class UserService:
    """The user service of one PANCODE_HOME. Methods return, not raise, a failure of systemd, as text.

    `never`: the reason why no service may start this coordinator, or empty. `by_system`: whether the system's
    own manager starts the coordinator, so that no user service is needed.
    """

    def __init__(
        self,
        unit: CoordinatorUnit,
        user_home: Path,
        environ: Mapping[str, str],
        never: str = "",
        by_system: Callable[[], bool] = lambda: False,
    ) -> None:
        self._unit = unit
        self._path = user_home / ".config/systemd/user" / unit.name
        self._environ = {**environ, "XDG_RUNTIME_DIR": _runtime_folder(environ)}
        self._never = never or _explain_volatile(unit.home, environ)
        self._by_system = by_system
        self._status: str | None = None

    def status(self) -> str:
        """Return how, if at all, a reboot restarts the coordinator; cached until `install` or `remove`."""
        if self._status is None:
            self._status = self._look()
        return self._status

    def seen(self) -> tuple[str | None, str]:
        """Return the unit file's text and the status, so that a caller can detect a change."""
        text = self._path.read_text() if self._path.exists() else None
        return text, self._look()

    def on_its_way(self) -> bool:
        """Whether the user's manager is about to start or stop the service."""
        manager = ("systemctl", "--user")
        return self._path.exists() and is_on_its_way(manager, self._unit.name, TIMEOUT_S, self._environ)

    def install(self) -> str:
        """Enable the service without starting it; it starts at the next boot. Idempotent. Return `status`."""
        self._status = self._install()
        return self._status

    def remove(self) -> None:
        """Remove the service; a coordinator that it runs now continues until it exits. Idempotent."""
        self._status = None
        if not self._path.exists():
            return
        self._run_systemctl("disable", self._unit.name)
        # `systemctl disable` leaves these links if the manager does not answer
        for link in self._path.parent.glob(f"*.wants/{self._unit.name}"):
            link.unlink(missing_ok=True)
        self._path.unlink(missing_ok=True)
        self._run_systemctl("daemon-reload")

    def _install(self) -> str:
        if self._never:
            self.remove()
            return f"{NOT_RESTARTED}: {self._never}"
        if self._by_system():
            self.remove()
            return self._look()
        _, state = self._run_systemctl("is-system-running")
        if state not in ANSWERS:
            return NOT_RESTARTED
        try:
            self._write()
        except (OSError, ValueError) as error:
            return f"{NOT_RESTARTED}: cannot write its user service: {error}"
        if self._is_enabled():
            return self._look()
        for words in (("daemon-reload",), ("enable", self._unit.name)):
            status, output = self._run_systemctl(*words)
            if status != 0:
                return f"{NOT_RESTARTED}: systemctl --user {' '.join(words)} failed: {output or status}"
        return self._look()

    def _write(self) -> None:
        text = self._unit.text()
        try:
            if self._path.read_text() == text:
                return
        except FileNotFoundError:
            pass
        write_durable(self._path, text.encode())
        self._run_systemctl("daemon-reload")

    def _look(self) -> str:
        own = self._environ.get("SYSTEMD_EXEC_PID") == str(os.getpid())
        runs = "runs as" if own else "from then on it is"
        if self._by_system():
            return f"restarted at boot; {runs} the system's service {self._unit.name}"
        if self._never or not self._path.exists() or not self._is_enabled():
            return f"{NOT_RESTARTED}: {self._never}" if self._never else NOT_RESTARTED
        words = ("loginctl", "show-user", getpass.getuser(), "-p", "Linger")
        lingers = self._run(words) == (0, "Linger=yes")
        if lingers:
            return f"restarted at boot; {runs} the user service {self._unit.name}"
        return (
            f"restarted at your next login (at boot after `loginctl enable-linger`); "
            f"{runs} the user service {self._unit.name}"
        )

    def _is_enabled(self) -> bool:
        return self._run_systemctl("is-enabled", self._unit.name) == (0, "enabled")

    def _run_systemctl(self, *words: str) -> tuple[int, str]:
        return self._run(("systemctl", "--user", *words))

    def _run(self, argv: tuple[str, ...]) -> tuple[int, str]:
        """Run a program; return its exit status and the first line of its output, 127 if it cannot be run."""
        try:
            done = run_program(argv, TIMEOUT_S, self._environ)
        except (OSError, subprocess.TimeoutExpired) as error:
            return 127, str(error)
        lines = (done.stdout.strip() or done.stderr.strip()).splitlines()
        return done.returncode, lines[0] if lines else ""


def _runtime_folder(environ: Mapping[str, str]) -> str:
    """Return the user's runtime folder, which is not set in a shell without a login session (su, cron)."""
    return environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"


def _explain_volatile(home: Path, environ: Mapping[str, str]) -> str:
    folders = (environ.get("TMPDIR") or "/tmp", *_VOLATILE)
    if any(home.is_relative_to(folder) for folder in folders):
        return f"{home} is in a temporary folder"
    return ""
