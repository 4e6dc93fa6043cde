"""The home of a node agent: its paths, its settings and the version number of its layout."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import Field, ValidationError

from node_agent.files.durable import create_exclusive, make_folder, write_atomic
from node_agent.wire.clock import Ids
from node_agent.wire.keep import KEEP, NodeKeep
from node_agent.wire.model import FleetId, NodeTag, WireModel
from node_agent.wire.node import HOME_LAYOUT
from node_agent.wire.signing import PublicKey, SigningKey

M = TypeVar("M", bound=WireModel)


class SettingsError(Exception):
    """The error when the node's home cannot be used; the message says how to fix that."""


class RedisLogin(WireModel):
    """This node's login for the coordinator's Redis. `password_file`: absolute, or relative to the home."""

    user: str
    password_file: str


class NodeSettings(WireModel):
    """The contents of `node.json`, which is written when the node is added to the fleet."""

    fleet: FleetId
    name: str = Field(min_length=1)
    tag: NodeTag
    slots: int = Field(ge=0, le=256)
    redis: RedisLogin
    time_factor: float = Field(default=1.0, gt=0, strict=False)
    disk_reserve: int = Field(default=512 << 20, ge=0)
    """Bytes of free disk below which the node accepts no job."""
    path: str | None = None
    """PATH of agents and checks; None: the node agent's PATH and a user's usual folders."""
    gateway: bool = True
    """Whether calls with a vendor's key go through PanCode's gateway, which has the key and counts usage."""
    machines: tuple[str, ...] = Field(default=(), strict=False)
    """Addresses of model servers to check in addition to this node's own: HOST:PORT or NAME=HOST."""
    keep: NodeKeep = KEEP
    log: str = ""
    """Log levels, in the format of the coordinator's PANCODE_LOG; the node agent's own variable takes
    priority."""


@dataclass(frozen=True, slots=True)
class NodeHome:
    """The folders and files of one fleet on one node."""

    root: Path

    @property
    def key(self) -> Path:
        return self.root / "key" / "node.key"

    @property
    def coordinator(self) -> Path:
        return self.root / "key" / "coordinator.pub"

    @property
    def settings(self) -> Path:
        return self.root / "node.json"

    @property
    def ceiling(self) -> Path:
        return self.root / "ceiling.json"

    @property
    def secrets(self) -> Path:
        """Return the owner's file with the values of the secrets and variables that jobs name."""
        return self.root / "secrets.json"

    @property
    def prices(self) -> Path:
        """Return the owner's file of token prices, for models without a valid public price."""
        return self.root / "prices.json"

    @property
    def layout(self) -> Path:
        """Return the file with the version number of this home's layout."""
        return self.root / "layout"

    @property
    def journal(self) -> Path:
        return self.root / "journal"

    @property
    def lock(self) -> Path:
        return self.root / "run" / "agent.lock"

    @property
    def pid(self) -> Path:
        return self.root / "run" / "agent.pid"

    @property
    def slots(self) -> Path:
        """Return the folder of the lock files for the slots of each endpoint."""
        return self.root / "run" / "endpoints"

    @property
    def links(self) -> Path:
        return self.root / "s"

    def read_settings(self) -> NodeSettings:
        """Return the settings; SettingsError names the file and the key."""
        try:
            return NodeSettings.model_validate_json(self.settings.read_bytes())
        except OSError as exc:
            raise SettingsError(f"{self.settings} cannot be read: {exc.strerror}; enroll this node") from exc
        except ValidationError as exc:
            first = exc.errors(include_url=False, include_input=False)[0]
            key = ".".join(str(part) for part in first["loc"])
            raise SettingsError(f"{self.settings}: {key}: {first['msg']}") from exc

    def read_key(self) -> SigningKey:
        """Return this node's own key. Raises SettingsError."""
        try:
            if self.key.stat().st_mode & 0o077:
                raise SettingsError(f"{self.key} is readable by other users; run chmod 600 on it")
            return SigningKey.parse(self.key.read_text())
        except OSError as exc:
            raise SettingsError(
                f"{self.key} cannot be read: {exc.strerror}; on the coordinator's machine: pancode fleet up"
            ) from exc
        except ValueError as exc:
            raise SettingsError(f"{self.key} is not a PanCode key: {exc}") from exc

    def read_coordinators(self) -> dict[str, PublicKey]:
        """Return the coordinator's keys by id, two while one is being replaced. Raises SettingsError."""
        try:
            keys = [PublicKey.parse(line) for line in self.coordinator.read_text().splitlines()]
        except (OSError, ValueError) as exc:
            raise SettingsError(f"{self.coordinator} cannot be read: {exc}; enroll this node again") from exc
        if not keys:
            raise SettingsError(f"{self.coordinator} is empty; enroll this node again")
        return {key.keyid: key for key in keys}

    def redis_password(self, settings: NodeSettings) -> str:
        """Return the current password; empty if its file is unreadable, so that Redis refuses the login and
        the file is read again later."""
        try:
            return (self.root / settings.redis.password_file).read_text().strip()
        except OSError:
            return ""

    def make_key(self, ids: Ids) -> PublicKey:
        """Return the public half of this node's key, which is created if missing and never replaced."""
        self.key.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.path.lexists(self.key):
            fresh = SigningKey(bytes.fromhex(ids.token(32)))
            create_exclusive(self.key, fresh.text().encode() + b"\n")
        return self.read_key().public

    def read_prices(self) -> dict[str, str]:
        """Return the owner's price texts by model; empty if the file does not exist. Raises SettingsError."""
        try:
            raw = json.loads(self.prices.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as exc:
            raise SettingsError(f"{self.prices} cannot be read: {exc}") from exc
        if not isinstance(raw, dict) or not all(isinstance(words, str) for words in raw.values()):
            raise SettingsError(f'{self.prices} is not a JSON object such as {{"model": "2 0.2 2.5 10"}}')
        return raw

    def make_folders(self) -> None:
        """Create all folders to which the node agent writes."""
        for name in ("run", "journal", "work", "mirrors", "cache", "log", "s"):
            (self.root / name).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            make_folder(self.root / name)


End = str | tuple[str, int]
"""A Unix socket path, or (host, port)."""


@dataclass(frozen=True, slots=True)
class LinkEnds:
    """The current local ends of the tunnel."""

    redis: End
    depot: End


def current_link(links: Path) -> LinkEnds | None:
    """Return the newest link, from `s/current`: a line of JSON, or the name of the link's folder. None: no
    link."""
    try:
        text = (links / "current").read_text().strip()
    except (OSError, UnicodeDecodeError):
        return None
    if not text:
        return None
    if not text.startswith("{"):
        folder = links / Path(text).name
        return LinkEnds(str(folder / "redis.sock"), str(folder / "depot.sock"))
    try:
        shape = json.loads(text)
        return LinkEnds(_end(shape["redis"]), _end(shape["depot"]))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


class LinkFile:
    """Reads the current link with a cache: every Redis call needs it, and the file is reread only after it
    was replaced."""

    def __init__(self, links: Path) -> None:
        self._links, self._file = links, f"{links}/current"
        self._known: tuple[tuple[int, int, int], LinkEnds | None] | None = None

    def ends(self) -> LinkEnds | None:
        try:
            state = os.stat(self._file)
        except OSError:
            return None
        seen = (state.st_ino, state.st_mtime_ns, state.st_size)
        known = self._known
        if known is None or known[0] != seen:
            known = self._known = (seen, current_link(self._links))
        return known[1]


def _end(text: str) -> End:
    kind, _, rest = text.partition(":")
    if kind == "unix" and rest.startswith("/"):
        return rest
    host, _, port = rest.rpartition(":")
    if kind != "tcp" or not host:
        raise ValueError(f"{text!r} is not an end of a tunnel")
    return host, int(port)


def read_owner_settings(model: type[M], path: Path) -> M:
    """Return the current content of an owner's file; the defaults if it does not exist. SettingsError names
    file, key and problem."""
    try:
        return model.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return model()
    except OSError as exc:
        raise SettingsError(f"{path} cannot be read: {exc.strerror}") from exc
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_input=False)[0]
        key = ".".join(str(part) for part in first["loc"]) or "the file"
        raise SettingsError(f"{path}: {key}: {first['msg']}") from exc


LAYOUT, OLDEST = HOME_LAYOUT, 4
"""5: the journal's records are compressed; those of layout 4 are read as they are. 4: ADR 17 and 39, one
folder and one journal for each attempt. 1 to 3 were never released. A change of the place or form of stored
files raises the number, and describes here how older homes are read."""
_FIX = (
    "start this fleet with the last version of PanCode used here, or a newer one; or remove the "
    "node (pancode node rm NAME) and add it again"
)


def take_over(home: NodeHome) -> None:
    """Check the layout of the home before anything else in it is read, and record it. Raises SettingsError,
    without any change, for a layout that this node agent cannot read."""
    number = _read_number(home)
    if not OLDEST <= number <= LAYOUT:
        writer = "a newer" if number > LAYOUT else "an older"
        raise SettingsError(
            f"{home.root} has layout {number} of {writer} node agent; this node agent supports layouts "
            f"{OLDEST} to {LAYOUT}\n  fix: {_FIX}"
        )
    if number != LAYOUT or not home.layout.exists():
        write_atomic(home.layout, f"{LAYOUT}\n".encode())


def _read_number(home: NodeHome) -> int:
    try:
        text = home.layout.read_text("ascii", "replace").strip()
    except FileNotFoundError:
        return LAYOUT
    if not text.isdigit():
        raise SettingsError(f"{home.layout} does not contain a layout number: {text[:40]!r}\n  fix: {_FIX}")
    return int(text)
