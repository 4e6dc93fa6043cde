"""The property list with which launchd starts a home's coordinator at login (pure). Never tried on macOS."""

from __future__ import annotations

import hashlib
import os
import plistlib
from collections.abc import Mapping, Sequence
from pathlib import Path


def label(home: Path) -> str:
    """Two homes of one user are two agents."""
    return f"dev.pancode.coordinator.{hashlib.sha256(os.fsencode(home)).hexdigest()[:10]}"


def property_list(home: Path, argv: Sequence[str], environ: Mapping[str, str]) -> bytes:
    """The text of `~/Library/LaunchAgents/LABEL.plist`.

    launchd has no readiness, no watchdog and no exit status that stops restarts: a coordinator with bad
    settings starts again every 15 s, and says so in its log.
    """
    log = str(home / "run/coordinator.log")
    return plistlib.dumps(
        {
            "Label": label(home),
            "ProgramArguments": list(argv),
            "EnvironmentVariables": {**environ, "PANCODE_HOME": str(home)},
            "WorkingDirectory": "/",
            "RunAtLoad": True,
            "KeepAlive": {"SuccessfulExit": False},
            "ThrottleInterval": 15,
            "ExitTimeOut": 60,
            "AbandonProcessGroup": True,  # node agents that were started from here go on
            "ProcessType": "Background",
            "Umask": 0o077,
            "SoftResourceLimits": {"Core": 0},
            "StandardOutPath": log,
            "StandardErrorPath": log,
        }
    )
