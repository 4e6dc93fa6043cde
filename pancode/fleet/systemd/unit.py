"""Builds the text of the systemd unit (user or system) that starts a home's coordinator."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pancode.fleet.ssh.unit import escape_percent, quote_argument

COORDINATOR = {
    "NoNewPrivileges": "yes",
    "LockPersonality": "yes",
    "RestrictRealtime": "yes",
    "RestrictAddressFamilies": "AF_UNIX AF_INET AF_INET6 AF_NETLINK",
    "SystemCallArchitectures": "native",
    "SystemCallFilter": "~@clock @cpu-emulation @module @obsolete @raw-io @reboot @swap",
    "SystemCallErrorNumber": "EPERM",
}
"""The settings of every coordinator's unit; a user's manager can apply them without extra privileges."""

SYSTEM_COORDINATOR = {
    "CapabilityBoundingSet": "",
    "AmbientCapabilities": "",
    "ProtectSystem": "full",
    "PrivateDevices": "yes",
    "ProtectClock": "yes",
    "ProtectControlGroups": "yes",
    "ProtectHostname": "yes",
    "ProtectKernelLogs": "yes",
    "ProtectKernelModules": "yes",
    "ProtectKernelTunables": "yes",
    "KeyringMode": "private",
}
"""More settings for a coordinator's unit that the system's manager starts."""

SYSTEM_NODE = {
    "CapabilityBoundingSet": (
        "~CAP_SYS_MODULE CAP_SYS_TIME CAP_SYS_BOOT CAP_SYS_RAWIO CAP_SYSLOG CAP_MAC_ADMIN CAP_MAC_OVERRIDE "
        "CAP_AUDIT_CONTROL CAP_WAKE_ALARM CAP_BLOCK_SUSPEND CAP_LEASE CAP_LINUX_IMMUTABLE CAP_SYS_PACCT"
    ),
    "KeyringMode": "private",
}
"""The settings of a node agent's unit under the system's manager; a user's manager can apply none of them."""


def format_lines(*settings: Mapping[str, str]) -> str:
    """Format the settings as lines of a unit file."""
    return "".join(f"{name}={value}\n" for one in settings for name, value in one.items())


@dataclass(frozen=True, slots=True)
class CoordinatorUnit:
    """The systemd unit of one PANCODE_HOME. `environ`: variables needed besides PANCODE_HOME. `user`: for a
    system unit, the user that runs the coordinator; None for a unit of the user's own manager."""

    home: Path
    argv: tuple[str, ...]
    environ: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None

    @property
    def name(self) -> str:
        """Return the unit's name, which differs for two homes of one user."""
        return f"pancode-{hashlib.sha256(os.fsencode(self.home)).hexdigest()[:10]}.service"

    def text(self) -> str:
        """Return the unit's text, as systemd reads it."""
        environ = {**self.environ, "PANCODE_HOME": str(self.home)}
        system = self.user is not None
        return UNIT.format(
            home=escape_percent(str(self.home)),
            beside="Wants=network-online.target\nAfter=network-online.target\n" if system else "",
            user=f"User={escape_percent(self.user)}\n" if self.user is not None else "",
            environ="\n".join(
                f"Environment={format_assignment(name, environ[name])}" for name in sorted(environ)
            ),
            command=" ".join(quote_argument(word) for word in self.argv),
            hardened=format_lines(COORDINATOR, SYSTEM_COORDINATOR if system else {}),
            target="multi-user.target" if system else "default.target",
        )


# KillMode=process: node agents here and their attempts may have been started by the coordinator, and must
# continue. Exit 3: the settings cannot be used, so a restart would not help. Exit 73: another coordinator
# uses this home. WatchdogSec: longer than a pass takes on a slow disk; SIGABRT writes the stack of each
# thread. TimeoutStartSec: a ledger may have to be migrated first. LimitCORE: keys are in memory. LimitNOFILE:
# 50 nodes with 64 connections each, plus the files that they open; a user's manager may allow less.
UNIT = """\
[Unit]
Description=PanCode coordinator of {home}
ConditionPathExists={home}/key/coordinator.key
{beside}StartLimitIntervalSec=3600
StartLimitBurst=40

[Service]
Type=notify
NotifyAccess=main
WatchdogSec=180
{user}{environ}
ExecStart={command}
WorkingDirectory=/
KillMode=process
KillSignal=SIGTERM
TimeoutStartSec=600
TimeoutStopSec=60
Restart=on-failure
RestartSec=15
RestartPreventExitStatus=3 73
LimitCORE=0
LimitNOFILE=65536
UMask=0077
{hardened}
[Install]
WantedBy={target}
"""


def format_assignment(name: str, value: str) -> str:
    """Format one assignment of Environment=, quoted, with `$` literal. ValueError for a control character."""
    if any(ord(c) < 32 for c in value):
        raise ValueError(f"{name} contains a control character")
    text = escape_percent(f"{name}={value}").replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'
