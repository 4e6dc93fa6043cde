"""Implements the delivery port: settings and secrets from files, Apprise in a child process."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from node_agent.wire.proxies import rename_schemes
from pancode.config.notify import NotifyRules
from pancode.kernel.errors import ConfigError, NotFoundError, RefusedError, UnavailableError
from pancode.kernel.host.files import write_durable
from pancode.kernel.names import must_be_hideable

CHILD = ("-I", "-m", "pancode.notices.delivery.child")
CHILD_S = 30.0
"""Seconds allowed for sending a notice."""
_OURS = "PANCODE_"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")


class KeptSecrets:
    """Secrets in the folder `secrets` of PANCODE_HOME, one file each, readable only by its owner."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, name: str) -> str:
        """Return the secret. NotFoundError if it does not exist; ConfigError if others can read its file."""
        path = self._find_path(name)
        try:
            if path.stat().st_mode & 0o077:
                raise ConfigError(f"other users can read {path}", fix=f"chmod 600 {path}", code="secret_open")
            return path.read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as exc:
            fix = f"pancode config secret {name}"
            raise NotFoundError(f"secret {name} not found", why=str(exc), fix=fix, code="no_secret") from exc

    def keep(self, name: str, value: str | None) -> None:
        """Store a secret; None: delete it."""
        path = self._find_path(name)
        if value is None:
            path.unlink(missing_ok=True)
            return
        must_be_hideable(value)
        self._folder.mkdir(mode=0o700, exist_ok=True)
        write_durable(path, value.encode())

    def _find_path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise ConfigError(f"{name[:80]!r} is not a valid secret name", fix="use letters, digits, - and _")
        return self._folder / name


class Sender:
    """Sends notices; implements `OutgoingPort` of pancode.notices.store."""

    def __init__(self, read: Callable[[], NotifyRules], secrets: KeptSecrets) -> None:
        self.rules, self._secrets = read, secrets

    def secret(self, name: str) -> str:
        return self._secrets.read(name)

    def notify(self, address: str, notice: Mapping[str, Any]) -> None:
        environ = {
            name: value for name, value in rename_schemes(os.environ).items() if not name.startswith(_OURS)
        }
        request = json.dumps({"address": address, "notice": dict(notice)})
        try:
            done = subprocess.run(
                [sys.executable, *CHILD],
                input=request.encode(),
                capture_output=True,
                timeout=CHILD_S,
                env=environ,
                check=False,
                start_new_session=True,
            )
            answer = json.loads(done.stdout)
        except subprocess.TimeoutExpired as exc:
            raise UnavailableError(
                "the service did not answer", why=f"Apprise did not finish within {CHILD_S:g} s"
            ) from exc
        except (OSError, ValueError) as exc:
            raise UnavailableError(
                "Apprise failed to run", why="the Apprise process did not start, or exited without an answer"
            ) from exc
        if not answer["ok"]:
            kind = RefusedError if answer["final"] else UnavailableError
            raise kind(str(answer["why"]))
