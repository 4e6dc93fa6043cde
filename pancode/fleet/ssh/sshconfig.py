"""Runs the user's own `ssh -G NAME`, to resolve a name and to read what the SSH configuration sets for it."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from pancode.fleet.ssh.errors import TargetError

ASK_S = 20.0
"""Seconds that ssh may take to answer, since a `Match exec` in its configuration may use the network."""
_OURS = ("PATH", "SHELL", "USER", "LOGNAME", "LANG")
"""Variables of our own environment that ssh and a `Match exec` need; all others are the caller's."""


@dataclass(frozen=True, slots=True)
class Overrides:
    """The SSH settings given on the command line for a node; they override every file."""

    host: str | None = None
    user: str | None = None
    port: int | None = None
    identity: str | None = None

    def options(self) -> list[str]:
        """Return the settings as ssh options, so that `Match` conditions apply to them as well."""
        named = {"HostName": self.host, "User": self.user, "Port": self.port}
        return [part for name, value in named.items() if value for part in ("-o", f"{name}={value}")]


@dataclass(frozen=True)
class SshPlaces:
    """The SSH configuration that applies. `environ`: the caller's variables, which name its SSH agent."""

    home: Path
    environ: Mapping[str, str] = field(default_factory=dict)
    config: Path | None = None
    """A file that replaces the user's and the system's configuration, like `ssh -F`; None: none."""

    @classmethod
    def of(cls, environ: Mapping[str, str], config: Path | None = None) -> SshPlaces:
        """Return the files that ssh reads for this caller."""
        return cls(Path(environ.get("HOME") or Path.home()), dict(environ), config)

    @cached_property
    def defaults(self) -> dict[str, tuple[str, ...]]:
        """Return the values that this ssh uses for any name if no file sets them."""
        return self._ask_ssh(["-F", "none"], "host")

    def ask(self, alias: str, given: Overrides) -> dict[str, tuple[str, ...]]:
        """Return what the SSH configuration sets for this alias, by lowercase keyword.

        Host name, port and user are always included. Raises TargetError with ssh's message if ssh rejects the
        configuration or is not installed.
        """
        return {
            key: values
            for key, values in self._ask_ssh([*self._find_options(), *given.options()], alias).items()
            if values != self.defaults.get(key) or key in ("hostname", "port", "user")
        }

    def _find_options(self) -> list[str]:
        """Return options for the one file to read: `config`, or the file in HOME if the login's home differs,
        since ssh itself ignores HOME."""
        config = self.config
        if config is None and str(self.home) != pwd.getpwuid(os.getuid()).pw_dir:
            config = self.home / ".ssh/config"
            config = config if config.is_file() else Path("none")
        return [] if config is None else ["-F", str(config)]

    def _ask_ssh(self, options: list[str], alias: str) -> dict[str, tuple[str, ...]]:
        argv = ["ssh", "-G", "-T", *options, "--", alias]
        try:
            done = subprocess.run(
                argv,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=ASK_S,
                env={**{name: os.environ[name] for name in _OURS if name in os.environ}, **self.environ},
                check=False,
            )
        except FileNotFoundError as error:
            raise TargetError(
                "ssh is not installed on this machine",
                why=f"PanCode uses it to resolve {alias}",
                fix="install OpenSSH's client (Debian: apt install openssh-client)",
            ) from error
        except subprocess.TimeoutExpired as error:
            raise TargetError(
                f"ssh could not resolve {alias}",
                why=f"ssh -G {alias} did not finish within {ASK_S:.0f} s",
                fix=f"ssh -G {alias}",
            ) from error
        if done.returncode:
            lines = [line for line in done.stderr.decode(errors="replace").splitlines() if line.strip()]
            raise TargetError(
                f"ssh rejects its configuration for {alias}",
                why="; ".join(lines[:3]),
                fix=f"ssh -G {alias} prints the same error; correct the line that it names",
            )
        found: dict[str, tuple[str, ...]] = {}
        for line in done.stdout.decode(errors="replace").splitlines():
            key, _, value = line.partition(" ")
            found[key.lower()] = (*found.get(key.lower(), ()), value)
        return found
