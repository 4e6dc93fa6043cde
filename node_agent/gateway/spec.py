"""A gateway's settings, as its standard input has them, and its files. Standard library only.

The key is among the settings and never in a file.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from node_agent.gateway.counting import Caps, Count
from node_agent.gateway.prices import Price, price_of
from node_agent.gateway.upstream import Proxy
from node_agent.shim import process

FOLDER, RECORD, DOOR, COUNT, LOG = "gateway", "record", "door", "count", "log"
GATE, SOCKET = "gate", "model.sock"
"""The folder that a sandbox may see, with nothing in it but the socket."""


def read_door(attempt: Path) -> tuple[int, str] | None:
    """Port and token, as they were given out."""
    raw = _read(attempt / FOLDER / DOOR)
    try:
        return None if raw is None else (int(raw["port"]), str(raw["token"]))
    except (KeyError, TypeError, ValueError):
        return None


def write_door(attempt: Path, port: int, token: str) -> None:
    replace_file(attempt / FOLDER / DOOR, json.dumps({"port": port, "token": token}).encode())


def read_count(attempt: Path) -> Count | None:
    """The last written content; None when there is none, or a crash of the machine has torn it."""
    try:
        return Count.from_json((attempt / FOLDER / COUNT).read_bytes())
    except (OSError, ValueError):
        return None


def write_record(attempt: Path) -> None:
    """Writes this process's identity over that of an earlier one."""
    replace_file(attempt / FOLDER / RECORD, json.dumps(_own()).encode())


def is_own(attempt: Path) -> bool:
    """Check whether the record still names this process."""
    return _read(attempt / FOLDER / RECORD) == _own()


def running(attempt: Path) -> process.Proc | None:
    """The gateway of this attempt, if it lives."""
    return alive(attempt / FOLDER / RECORD)


def alive(record: Path) -> process.Proc | None:
    """The process that such a record names, a shim's too, if it lives."""
    raw = _read(record)
    try:
        if raw is None or not process.is_alive(raw["boot"], raw["pid"], raw["start"]):
            return None
        return int(raw["pid"]), int(raw["start"])
    except (KeyError, TypeError, ValueError):
        return None


def replace_file(path: str | Path, data: bytes) -> None:
    """Whole or not at all for whoever reads it. Not synced: only a crash of the machine can lose it."""
    fresh = f"{path}.{os.getpid()}.new"
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)
    os.replace(fresh, path)


def _own() -> dict[str, Any]:
    found = process.stat(os.getpid())
    return {"boot": process.boot_id(), "pid": os.getpid(), "start": found.start if found else 0}


def _read(path: Path) -> dict[str, Any] | None:
    try:
        raw = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return raw if isinstance(raw, dict) else None


@dataclass(frozen=True, slots=True)
class GatewaySpec:
    """One run's gateway.

    `mount`: the part of a path that `upstream` stands for; `header`: which one carries the key there;
    `token`: what the agent must show in the place of a key; `models`: patterns, none: any; `public`: whether
    the vendors' price list counts; `prices`: the owner's, in words; `folder`: the attempt's; `hosted`,
    `fetched`, `proxy`, `direct`: what the owner's gateway.json says; `tunnel`: the hosts of a
    vendor that is reached by subscription, and then there is no upstream. `local`: a server that costs
    nothing; `slots`: how many calls it takes at once from all runs of this node together, which share
    `slots_folder`, 0: as many as come; `ca`: the file of certificates that it is known by;
    `host`: who serves many makers' models there.
    """

    upstream: str
    mount: str
    header: str
    key: str
    token: str
    folder: str
    models: tuple[str, ...] = ()
    public: bool = False
    prices: tuple[tuple[str, str], ...] = ()
    tokens: int | None = None
    usd: str | None = None
    requests: int | None = None
    wrap_up: bool = False
    hosted: str = "refuse"
    fetched: str = "refuse"
    proxy: str = ""
    proxy_login: str = ""
    direct: tuple[str, ...] = ()
    tunnel: tuple[str, ...] = ()
    local: bool = False
    slots: int = 0
    slots_folder: str = ""
    ca: str = ""
    host: str = ""
    life_s: float = 86_400.0

    def __repr__(self) -> str:
        return f"Spec({self.upstream})"  # a traceback must not show the key

    @property
    def caps(self) -> Caps:
        return Caps(self.tokens, None if self.usd is None else Decimal(self.usd), self.requests)

    @property
    def way(self) -> Proxy:
        return Proxy(self.proxy, self.proxy_login, self.direct)

    def owner_prices(self) -> dict[str, Price]:
        return {name: price_of(words) for name, words in self.prices}

    def to_json(self) -> bytes:
        names = self.__slots__
        return json.dumps({name: getattr(self, name) for name in names}).encode()

    @classmethod
    def from_json(cls, data: bytes) -> GatewaySpec:
        """Raises ValueError, without what it read."""
        try:
            raw: Any = json.loads(data)
            pairs = tuple((str(name), str(words)) for name, words in raw.pop("prices"))
            lists = {name: tuple(raw[name]) for name in ("models", "direct", "tunnel")}
            return cls(**{**raw, **lists}, prices=pairs)
        except (ValueError, TypeError, KeyError, AttributeError):
            raise ValueError("this is not what a gateway is told") from None
