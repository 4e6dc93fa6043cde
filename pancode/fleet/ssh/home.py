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
"""The home's ignore file for git: if a repository holds the home (dotfiles), no snapshot takes its keys."""


@dataclass(frozen=True, slots=True)
class LoopbackKeys:
    """Private keys as OpenSSH text, made by `make_key`, kept by the coordinator: one pair for each node."""

    host: str
    client: str


def make_key() -> str:
    """A new Ed25519 private key as OpenSSH text."""
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
        """The file with the newest epoch, the only one that no backup may put back."""
        return self.root / "epoch"

    @property
    def secrets(self) -> Path:
        """The folder of channels' addresses, forges' tokens and webhooks' keys, a file for each."""
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

    @property
    def direct(self) -> Path:
        """The folder of the authority for direct links, with the coordinator's own certificate."""
        return self.root / "key" / "direct"

    def prepare(self) -> None:
        """Make the folder, private to the owner. ConfigError when it is somebody else's or cannot be made."""
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            state = self.root.stat()
        except OSError as exc:
            raise ConfigError(
                f"cannot use {self.root}", why=str(exc), fix="set PANCODE_HOME to a directory of your own"
            ) from exc
        if state.st_uid != os.getuid():
            raise ConfigError(
                f"{self.root} belongs to another user",
                why=f"its owner has the user id {state.st_uid}",
                fix="set PANCODE_HOME to a directory of your own",
            )
        if state.st_mode & 0o077:
            self.root.chmod(0o700)
        ignored = self.root / ".gitignore"
        if not os.path.lexists(ignored):
            write_durable(ignored, _IGNORED)

    def signing_key(self) -> SigningKey | None:
        """The coordinator's own key; None: there is none. ConfigError for a damaged file."""
        return self._key_at(OWN_KEY)

    def next_key(self) -> SigningKey | None:
        """The key with which a rotation has begun to replace the signing key; None: there is none."""
        return self._key_at(NEXT_KEY)

    def former_keys(self) -> dict[str, SigningKey]:
        """The replaced signing keys that some node may still need, by id."""
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
                fix=f"restore it from your backup; if lost: rm {path}; pancode admin keys --rotate --lost",
            ) from exc

    def keep_key(self, key: SigningKey) -> None:
        """Make this the coordinator's own key."""
        write_durable(self.root / OWN_KEY, key.text().encode())
        (self.root / NEXT_KEY).unlink(missing_ok=True)
        (self.root / KEY_LOST).unlink(missing_ok=True)

    def keep_both(self, old: SigningKey, fresh: SigningKey) -> None:
        """Keep both keys before a rotation: whichever the ledger names after a crash is then there."""
        write_durable(self.root / FORMER / f"{old.public.keyid}.key", old.text().encode())
        write_durable(self.root / NEXT_KEY, fresh.text().encode())

    def forget_former(self, keyid: str) -> None:
        """Remove a former key that nothing needs any more."""
        (self.root / FORMER / f"{keyid}.key").unlink(missing_ok=True)

    def is_key_lost(self) -> bool:
        """Whether a user has said (`pancode admin keys --rotate --lost`) that the fleet's key is lost."""
        return (self.root / KEY_LOST).exists()

    def node_password(self, tag: str, ids: Ids) -> str:
        """The Redis password of one node; it stays the same, so that a second `fleet up` changes nothing."""
        return self._make_once(f"key/nodes/{tag}.redis", lambda: ids.token(24))

    def loopback_keys(self, name: str) -> LoopbackKeys:
        """The host key and the client key of our own SSH server for this machine."""
        folder = f"key/loopback/{name}"
        return LoopbackKeys(
            self._make_once(f"{folder}.host", make_key), self._make_once(f"{folder}.client", make_key)
        )

    def audit_secret(self, ids: Ids) -> str:
        """The key for the digests by which settings are compared; made at its first use."""
        return self._make_once("key/audit.secret", lambda: ids.token(32))

    def fleet_key(self) -> str:
        """The fleet's private SSH key, for nodes whose owner agreed to it; made at its first use."""
        return self._make_once("key/fleet.ssh", make_key)

    def forget_node(self, name: str, tag: str | None) -> None:
        """Remove what was kept for a node that has left the fleet."""
        for path in (f"key/nodes/{tag}.redis", f"key/loopback/{name}.host", f"key/loopback/{name}.client"):
            (self.root / path).unlink(missing_ok=True)

    def _make_once(self, name: str, make: Callable[[], str]) -> str:
        """The file's text, which is made and kept at its first use."""
        path = self.root / name
        try:
            return path.read_text()
        except FileNotFoundError:
            text = make()
            write_durable(path, text.encode())
            return text
