"""Lists the addresses of model servers: this machine's usual ports, and the owner's list. Pure."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from node_agent.wire.endpoint import ModelWire, is_address, machine_of

PORTS = (11434, 1234, 8080, 9931, 8000, 30000)
"""Ollama, LM Studio, llama.cpp twice, vLLM, SGLang: where to look, never what it is."""
LOOPBACK = "127.0.0.1"
_AT_HOME = (".local", ".lan", ".home", ".home.arpa", ".internal", ".localdomain")


@dataclass(frozen=True, slots=True)
class EndpointAddress:
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
        """The address for people."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """The address without `/v1`, which belongs to an API."""
        return f"http{'s' if self.tls else ''}://{self.at}{self.base}"

    @property
    def is_here(self) -> bool:
        return is_address(self.host) and ipaddress.ip_address(self.host).is_loopback

    @property
    def costs_nothing(self) -> bool:
        """The owner's choice; else yes for private addresses and local names."""
        if self.free is not None:
            return self.free
        if is_address(self.host):
            return ipaddress.ip_address(self.host).is_private
        return "." not in self.host or self.host.lower().endswith(_AT_HOME)


@dataclass(frozen=True, slots=True)
class EndpointAddresses:
    """The addresses to ask. The first of two equal ones counts."""

    every: tuple[EndpointAddress, ...]

    @classmethod
    def of(cls, listed: tuple[EndpointAddress, ...], ports: tuple[int, ...]) -> EndpointAddresses:
        """The listed addresses, and this machine's ports."""
        usual = tuple(EndpointAddress(LOOPBACK, port) for port in ports)
        first: dict[tuple[str, int], EndpointAddress] = {}
        for place in (*listed, *usual):
            first.setdefault((LOOPBACK if place.host == "localhost" else place.host, place.port), place)
        return cls(tuple(first.values()))


def place_of(url: str) -> EndpointAddress:
    """The place in http(s)://HOST[:PORT][/base], with or without `/v1`. ValueError."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("it must be http://HOST:PORT, or https://HOST")
    if parts.username or parts.password:
        raise ValueError("no login in it: put the key into secrets.json, and its name into `key`")
    host = LOOPBACK if parts.hostname == "localhost" else parts.hostname
    tls = parts.scheme == "https"
    port = parts.port or (443 if tls else 80)
    return EndpointAddress(
        host, port, tls, parts.path.rstrip("/").removesuffix("/v1").rstrip("/"), listed=True
    )


def machine_places(text: str) -> tuple[EndpointAddress, ...]:
    """The places that a machine's name stands for. ValueError says the form."""
    machine = machine_of(text)
    ports = PORTS if machine.port is None else (machine.port,)
    listed = machine.port is not None
    return tuple(EndpointAddress(machine.host, port, listed=listed, prefix=machine.name) for port in ports)
