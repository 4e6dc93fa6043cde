"""The coordinator's home folder: where everything lies, and the keys that are made once."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from node_agent.wire.clock import Ids
from node_agent.wire.signing import SigningKey
from pancode.adapters.files import write_durable
from pancode.adapters.ssh.loopback import LoopbackKeys, make_key
from pancode.config.presets import APPLIED, applied
from pancode.errors import ConfigError

_IGNORED = b"*\n!pancode.yaml\n!panagents.yaml\n"
"""For git: where the home lies in a repository (dotfiles), a snapshot of it must not carry our keys away."""


@dataclass(frozen=True, slots=True)
class Home:
    """`$PANCODE_HOME` or `~/.pancode`."""

    root: Path

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Home:
        given = environ.get("PANCODE_HOME")
        user = Path(environ.get("HOME") or Path.home())
        return cls(Path(given).expanduser().absolute() if given else user / ".pancode")

    @property
    def ledger(self) -> Path:
        return self.root / "ledger.db"

    @property
    def epoch(self) -> Path:
        """The one file that no backup may put back."""
        return self.root / "epoch"

    @property
    def depots(self) -> Path:
        return self.root / "depots"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def receipts(self) -> Path:
        return self.root / "receipts"

    @property
    def bundles(self) -> Path:
        return self.root / "bundles"

    @property
    def valkey(self) -> Path:
        return self.root / "valkey"

    @property
    def direct(self) -> Path:
        """The authority of nodes that come in by TLS, and the coordinator's own certificate for them."""
        return self.root / "key" / "direct"

    def prepare(self) -> None:
        """Make the folder, ours alone. ConfigError when it is somebody else's or cannot be made."""
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            state = self.root.stat()
        except OSError as exc:
            raise ConfigError(
                f"{self.root} cannot be used", why=str(exc), fix="set PANCODE_HOME to a folder of your own"
            ) from exc
        if state.st_uid != os.getuid():
            raise ConfigError(
                f"{self.root} belongs to another user",
                why=f"its owner has the id {state.st_uid}",
                fix="set PANCODE_HOME to a folder of your own",
            )
        if state.st_mode & 0o077:
            self.root.chmod(0o700)
        ignored = self.root / ".gitignore"
        if not os.path.lexists(ignored):
            write_durable(ignored, _IGNORED)

    def signing_key(self, ids: Ids) -> SigningKey:
        """The coordinator's own key; made at the first start, never replaced."""
        text = self._once("key/coordinator.key", lambda: SigningKey(bytes.fromhex(ids.token(32))).text())
        try:
            return SigningKey.parse(text)
        except ValueError as exc:
            raise ConfigError(
                f"{self.root / 'key/coordinator.key'} is damaged",
                why=str(exc),
                fix="restore it from your backup; without it every node must be trusted anew",
            ) from exc

    def node_password(self, tag: str, ids: Ids) -> str:
        """The Redis password of one node; stays the same, so that a second `fleet up` changes nothing."""
        return self._once(f"key/nodes/{tag}.redis", lambda: ids.token(24))

    def loopback_keys(self, name: str) -> LoopbackKeys:
        """Host and client key of our own SSH server for this machine."""
        folder = f"key/loopback/{name}"
        return LoopbackKeys(self._once(f"{folder}.host", make_key), self._once(f"{folder}.client", make_key))

    def fleet_key(self) -> str:
        """The private SSH key of the fleet, for nodes whose owner agreed to it; made at its first use."""
        return self._once("key/fleet.ssh", make_key)

    def forget_node(self, name: str, tag: str | None) -> None:
        """Remove what was kept for a node that is gone."""
        for path in (f"key/nodes/{tag}.redis", f"key/loopback/{name}.host", f"key/loopback/{name}.client"):
            (self.root / path).unlink(missing_ok=True)

    def applied_preset(self, name: str | None) -> str | None:
        """Keep the preset that dispatches have by themselves, or none; the one before, readable or not."""
        path = self.root / APPLIED
        try:
            before = applied(self.root)
        except ConfigError:
            before = "unreadable"
        if name is None:
            path.unlink(missing_ok=True)
        else:
            write_durable(path, json.dumps({"preset": name}).encode())
        return before

    def _once(self, name: str, make: Callable[[], str]) -> str:
        """The file's text; made and kept at the first time."""
        path = self.root / name
        try:
            return path.read_text()
        except FileNotFoundError:
            text = make()
            write_durable(path, text.encode())
            return text
