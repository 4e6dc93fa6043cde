"""The text of the systemd user unit that starts a home's coordinator, and its name (pure)."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pancode.adapters.ssh.unit import literal, quoted


@dataclass(frozen=True, slots=True)
class CoordinatorUnit:
    """One home's unit. `environ`: the variables without which this coordinator would be another one."""

    home: Path
    argv: tuple[str, ...]
    environ: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Two homes of one user are two services."""
        return f"pancode-{hashlib.sha256(os.fsencode(self.home)).hexdigest()[:10]}.service"

    def text(self) -> str:
        """What systemd reads."""
        told = {**self.environ, "PANCODE_HOME": str(self.home)}
        return UNIT.format(
            home=literal(str(self.home)),
            environ="\n".join(f"Environment={assigned(name, told[name])}" for name in sorted(told)),
            command=" ".join(quoted(word) for word in self.argv),
        )


# KillMode=process: node agents of this machine and their attempts may have been started from here, and go on.
# Exit 3: settings that cannot be used; starting again would not help.
UNIT = """\
[Unit]
Description=PanCode coordinator of {home}
ConditionPathExists={home}/ledger.db
StartLimitIntervalSec=3600
StartLimitBurst=40

[Service]
Type=exec
{environ}
ExecStart={command}
WorkingDirectory=/
KillMode=process
KillSignal=SIGTERM
TimeoutStopSec=60
Restart=on-failure
RestartSec=15
RestartPreventExitStatus=3
UMask=0077

[Install]
WantedBy=default.target
"""


def assigned(name: str, value: str) -> str:
    """One assignment of Environment=: in quotes, where `$` stands for itself. ValueError for a line break."""
    if any(ord(c) < 32 for c in value):
        raise ValueError(f"{name} holds a control character")
    text = literal(f"{name}={value}").replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'
