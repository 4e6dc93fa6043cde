"""Stores secrets of the owner, such as tokens of forges and addresses of channels, in files of the home."""

from __future__ import annotations

import re
from pathlib import Path

from pancode.kernel.errors import ConfigError, NotFoundError
from pancode.kernel.host.files import write_durable
from pancode.kernel.names import must_be_hideable

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
