"""A gateway's settings, read from its standard input, and its files. Standard library only. The key is part
of the settings and is never written to a file."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from node_agent.gateway.counting import Caps, Count, Grant
from node_agent.gateway.prices import Price, price_of
from node_agent.gateway.upstream import Proxy
from node_agent.shim import process

FOLDER, RECORD, ACCESS, COUNT, LOG = "gateway", "record", "door", "count", "log"
GRANT = "grant"
GATE, SOCKET = "gate", "model.sock"
"""The folder that a sandbox may show, which contains only the socket, and the socket's name."""


def read_access(attempt: Path) -> tuple[int, str] | None:
    """Return the port and token that the gateway was assigned; None if there are none."""
    raw = _read(attempt / FOLDER / ACCESS)
    try:
        return None if raw is None else (int(raw["port"]), str(raw["token"]))
    except (KeyError, TypeError, ValueError):
        return None


def write_access(attempt: Path, port: int, token: str) -> None:
    replace_file(attempt / FOLDER / ACCESS, json.dumps({"port": port, "token": token}).encode())


def read_count(attempt: Path) -> Count | None:
    """Return the last saved count; None if there is none, or if a crash of the node has damaged it."""
    try:
        return Count.from_json((attempt / FOLDER / COUNT).read_bytes())
    except (OSError, ValueError):
        return None


def read_grant(attempt: Path) -> Grant | None:
    """Return the coordinator's newest answer to a request for a larger reservation; None: there is none."""
    raw = _read(attempt / FOLDER / GRANT)
    try:
        return None if raw is None else Grant(int(raw["number"]), Decimal(raw["usd"]), str(raw["words"]))
    except (KeyError, TypeError, ValueError, ArithmeticError):
        return None


def write_grant(attempt: Path, grant: Grant) -> None:
    raw = {"number": grant.number, "usd": format(grant.usd, "f"), "words": grant.words}
    replace_file(attempt / FOLDER / GRANT, json.dumps(raw).encode())


def write_record(attempt: Path) -> None:
    """Write this process's identity as that of the gateway, replacing an earlier one."""
    replace_file(attempt / FOLDER / RECORD, json.dumps(_describe_self()).encode())


def is_own(attempt: Path) -> bool:
    """Whether the record still names this process."""
    return _read(attempt / FOLDER / RECORD) == _describe_self()


def find_gateway(attempt: Path) -> process.Proc | None:
    """Return the process of this attempt's gateway; None if it does not run."""
    return find_alive(attempt / FOLDER / RECORD)


def find_alive(record: Path) -> process.Proc | None:
    """Return the process that such a record (or a shim's) names; None if it does not run."""
    raw = _read(record)
    try:
        if raw is None or not process.is_alive(raw["boot"], raw["pid"], raw["start"]):
            return None
        return int(raw["pid"]), int(raw["start"])
    except (KeyError, TypeError, ValueError):
        return None


def replace_file(path: str | Path, data: bytes) -> None:
    """Write a file that readers see whole or not at all. Not synced: a crash of the node can lose it."""
    fresh = f"{path}.{os.getpid()}.new"
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)
    os.replace(fresh, path)


def _describe_self() -> dict[str, Any]:
    found = process.read_stat(os.getpid())
    return {"boot": process.boot_id(), "pid": os.getpid(), "start": found.start if found else 0}


def _read(path: Path) -> dict[str, Any] | None:
    try:
        raw = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return raw if isinstance(raw, dict) else None


@dataclass(frozen=True, slots=True)
class GatewaySpec:
    """The settings of one run's gateway.

    `mount`: the start of the path that `upstream` replaces; `header`: the header for the key at the server;
    `token`: what the agent must send instead of a key; `models`: allowed patterns, if empty any model;
    `public`: whether the vendors' price list applies; `prices`: the owner's, as text; `folder`: the
    attempt's; `hosted`, `fetched`, `proxy`, `direct`: from the owner's gateway.json; `tunnel`: the
    hosts of a vendor that is reached by subscription, without an upstream. `local`: a server that costs
    nothing; `slots`: its number of parallel calls of all runs of this node, which share
    `slots_folder`, 0: any number; `ca`: the certificate file for it; `host`: the vendor that serves many
    makers' models there.
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
    reserved: str | None = None
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
        usd, reserved = (None if one is None else Decimal(one) for one in (self.usd, self.reserved))
        return Caps(self.tokens, usd, self.requests, reserved)

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
        """Read the spec. Raises ValueError, whose text contains none of the data."""
        try:
            raw: Any = json.loads(data)
            pairs = tuple((str(name), str(words)) for name, words in raw.pop("prices"))
            lists = {name: tuple(raw[name]) for name in ("models", "direct", "tunnel")}
            return cls(**{**raw, **lists}, prices=pairs)
        except (ValueError, TypeError, KeyError, AttributeError):
            raise ValueError("the spec of the gateway is not valid") from None
