"""The coordinator's home folder: its paths, and the keys that are made once."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import asyncssh

from node_agent.wire.clock import Ids
from node_agent.wire.signing import SigningKey
from pancode.kernel.errors import ConfigError
from pancode.kernel.host.files import write_durable
from pancode.kernel.names import KEY_LOST

OWN_KEY, NEXT_KEY, FORMER = "key/coordinator.key", "key/coordinator.next", "key/former"

_IGNORED = b"*\n!pancode.yaml\n!panagents.yaml\n"
"""The home's ignore file for git: if a repository contains the home (dotfiles), no snapshot includes its
keys."""


@dataclass(frozen=True, slots=True)
class LoopbackKeys:
    """Private keys of the SSH server on this machine and of its client, as OpenSSH text: a pair per node."""

    host: str
    client: str


def make_key() -> str:
    """Return a new Ed25519 private key as OpenSSH text."""
    return asyncssh.generate_private_key("ssh-ed25519").export_private_key("openssh").decode()


@dataclass(frozen=True, slots=True)
class Home:
    """The coordinator's home: `$PANCODE_HOME` or `~/.pancode`."""

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
        """Return the file with the newest epoch, the only file never to be restored from a backup."""
        return self.root / "epoch"

    @property
    def secrets(self) -> Path:
        """Return the folder of channels' addresses, forges' tokens and webhooks' keys, one file each."""
        return self.root / "secrets"

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

    def prepare(self) -> None:
        """Create the home, accessible only to its owner. ConfigError if another user owns it or it cannot be
        created."""
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            state = self.root.stat()
        except OSError as exc:
            raise ConfigError(
                f"cannot use {self.root}", why=str(exc), fix="set PANCODE_HOME to a directory that you own"
            ) from exc
        if state.st_uid != os.getuid():
            raise ConfigError(
                f"{self.root} belongs to another user",
                why=f"its owner has user ID {state.st_uid}",
                fix="set PANCODE_HOME to a directory that you own",
            )
        if state.st_mode & 0o077:
            self.root.chmod(0o700)
        ignored = self.root / ".gitignore"
        if not os.path.lexists(ignored):
            write_durable(ignored, _IGNORED)

    def signing_key(self) -> SigningKey | None:
        """Return the coordinator's own key; None if there is none. ConfigError for a damaged file."""
        return self._key_at(OWN_KEY)

    def next_key(self) -> SigningKey | None:
        """Return the key that a rotation has begun to use instead of the signing key; None if there is
        none."""
        return self._key_at(NEXT_KEY)

    def former_keys(self) -> dict[str, SigningKey]:
        """Return the replaced signing keys that some node may still need, by id."""
        names = sorted((self.root / FORMER).glob("*.key"))
        found = (self._key_at(str(path.relative_to(self.root))) for path in names)
        return {key.public.keyid: key for key in found if key is not None}

    def _key_at(self, name: str) -> SigningKey | None:
        path = self.root / name
        try:
            return SigningKey.parse(path.read_text())
        except FileNotFoundError:
            return None
        except ValueError as exc:
            raise ConfigError(
                f"{path} is damaged",
                why=str(exc),
                fix=f"restore the key from your backup; if it is lost: rm {path}; pancode admin keys "
                "--rotate --lost",
            ) from exc

    def keep_key(self, key: SigningKey) -> None:
        """Store this key as the coordinator's own."""
        write_durable(self.root / OWN_KEY, key.text().encode())
        (self.root / NEXT_KEY).unlink(missing_ok=True)
        (self.root / KEY_LOST).unlink(missing_ok=True)

    def keep_both(self, old: SigningKey, fresh: SigningKey) -> None:
        """Store both keys before a rotation: after a crash, the key that the ledger names is then
        available."""
        write_durable(self.root / FORMER / f"{old.public.keyid}.key", old.text().encode())
        write_durable(self.root / NEXT_KEY, fresh.text().encode())

    def forget_former(self, keyid: str) -> None:
        """Remove a former key that is no longer needed."""
        (self.root / FORMER / f"{keyid}.key").unlink(missing_ok=True)

    def is_key_lost(self) -> bool:
        """Whether a user has declared the fleet's key lost (`pancode admin keys --rotate --lost`)."""
        return (self.root / KEY_LOST).exists()

    def node_password(self, tag: str, ids: Ids) -> str:
        """Return the Redis password of one node; it stays the same, so that a second `fleet up` changes
        nothing."""
        return self._make_once(f"key/nodes/{tag}.redis", lambda: ids.token(24))

    def loopback_keys(self, name: str) -> LoopbackKeys:
        """Return the host key and the client key of PanCode's own SSH server for this machine."""
        folder = f"key/loopback/{name}"
        return LoopbackKeys(
            self._make_once(f"{folder}.host", make_key), self._make_once(f"{folder}.client", make_key)
        )

    def audit_secret(self, ids: Ids) -> str:
        """Return the secret for the digests by which settings are compared; created at its first use."""
        return self._make_once("key/audit.secret", lambda: ids.token(32))

    def fleet_key(self) -> str:
        """Return the fleet's private SSH key, for nodes whose owner agreed to it; created at its first
        use."""
        return self._make_once("key/fleet.ssh", make_key)

    def forget_node(self, name: str, tag: str | None) -> None:
        """Remove the files of a node that has left the fleet."""
        for path in (f"key/nodes/{tag}.redis", f"key/loopback/{name}.host", f"key/loopback/{name}.client"):
            (self.root / path).unlink(missing_ok=True)

    def _make_once(self, name: str, make: Callable[[], str]) -> str:
        """Return the file's text, which is created and stored at its first use."""
        path = self.root / name
        try:
            return path.read_text()
        except FileNotFoundError:
            text = make()
            write_durable(path, text.encode())
            return text
