"""Where model servers are looked for: this machine's usual ports, and what its owner lists. Pure."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from node_agent.wire.endpoint import ModelWire

PORTS = (11434, 1234, 8080, 9931, 8000, 30000)
"""Ollama, LM Studio, llama.cpp twice, vLLM, SGLang: where to look, never what it is."""
LOOPBACK = "127.0.0.1"
_AT_HOME = (".local", ".lan", ".home", ".home.arpa", ".internal", ".localdomain")


@dataclass(frozen=True, slots=True)
class Place:
    """An address where a server may be. `listed`: by the owner, who is told when nothing is there.

    `name`: the owner's word for it; `prefix`: the machine's, before the dialect; `base`: the path that all of
    its paths come after; `key`: the name of a secret; `ca`: a file; `slots`, `wires`, `free`: what the owner
    says in the place of what is found.
    """

    host: str
    port: int
    tls: bool = False
    base: str = ""
    listed: bool = False
    name: str | None = None
    prefix: str | None = None
    key: str | None = None
    ca: str | None = None
    slots: int | None = None
    wires: tuple[ModelWire, ...] | None = None
    free: bool | None = field(default=None)

    @property
    def at(self) -> str:
        """As people are shown it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """Without the `/v1`, which belongs to a wire."""
        return f"http{'s' if self.tls else ''}://{self.at}{self.base}"

    @property
    def is_here(self) -> bool:
        return _address(self.host) is not None and ipaddress.ip_address(self.host).is_loopback

    @property
    def costs_nothing(self) -> bool:
        """As its owner says; else on private addresses and in names of a house's own."""
        if self.free is not None:
            return self.free
        address = _address(self.host)
        if address is not None:
            return address.is_loopback or address.is_private
        return "." not in self.host or self.host.lower().endswith(_AT_HOME)


@dataclass(frozen=True, slots=True)
class Places:
    """Where to look. The first of two with one address counts."""

    every: tuple[Place, ...]

    @classmethod
    def of(cls, listed: tuple[Place, ...], ports: tuple[int, ...]) -> Places:
        """What is listed, and this machine's ports."""
        usual = tuple(Place(LOOPBACK, port) for port in ports)
        first: dict[tuple[str, int], Place] = {}
        for place in (*listed, *usual):
            first.setdefault((LOOPBACK if place.host == "localhost" else place.host, place.port), place)
        return cls(tuple(first.values()))


def place_of(url: str) -> Place:
    """From http(s)://HOST[:PORT][/base], with or without `/v1`. ValueError."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("it must be http://HOST:PORT, or https://HOST")
    if parts.username or parts.password:
        raise ValueError("no login in it: put the key into secrets.json, and its name into `key`")
    host = LOOPBACK if parts.hostname == "localhost" else parts.hostname
    tls = parts.scheme == "https"
    port = parts.port or (443 if tls else 80)
    return Place(host, port, tls, parts.path.rstrip("/").removesuffix("/v1").rstrip("/"), listed=True)


def machine_places(text: str) -> tuple[Place, ...]:
    """From `ip:port` (that one), `name=ip` (its usual ports) or `name=ip:port`. ValueError says the form."""
    prefix, equals, address = text.strip().rpartition("=")
    host, port = _split(address.strip())
    if not host or (equals and not prefix) or not _is_host(host):
        raise ValueError(f"{text!r} is not HOST:PORT, NAME=HOST or NAME=HOST:PORT")
    if port is None and not equals:
        raise ValueError(f"{text!r} has no port: write HOST:PORT, or NAME=HOST to look at the usual ports")
    ports = PORTS if port is None else (port,)
    return tuple(Place(host, one, listed=port is not None, prefix=prefix or None) for one in ports)


def _split(address: str) -> tuple[str, int | None]:
    if address.startswith("["):
        host, _, port = address[1:].partition("]")
        port = port.removeprefix(":")
    elif address.count(":") > 1:
        host, port = address, ""
    else:
        host, _, port = address.partition(":")
    if not port:
        return ("", None) if address.endswith(":") else (host, None)
    number = int(port) if port.isascii() and port.isdigit() else 0
    return (host, number) if 0 < number < 65536 else ("", None)


def _is_host(host: str) -> bool:
    letters = host.replace("-", "").replace(".", "").replace("_", "")
    return _address(host) is not None or (letters.isascii() and letters.isalnum())


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
