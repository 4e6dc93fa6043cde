"""Lists the addresses of model servers: this computer's usual ports, and the owner's `endpoints.json`."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from node_agent.machine.home import read_owner_settings
from node_agent.wire.endpoint import OTHER_NAMES, VENDOR_VARIABLES, ModelWire, is_address, machine_of
from node_agent.wire.model import SecretName, WireModel

PORTS = (11434, 1234, 8080, 9931, 8000, 30000)
"""The ports of Ollama, LM Studio, llama.cpp (two), vLLM, SGLang: where to check, not which server it is."""
LOOPBACK = "127.0.0.1"
_AT_HOME = (".local", ".lan", ".home", ".home.arpa", ".internal", ".localdomain")


@dataclass(frozen=True, slots=True)
class EndpointAddress:
    """An address where a server may be. `listed`: by the owner, who gets a warning if nothing is there.

    `name`: from the owner; `prefix`: the computer's, before the API; `base`: the prefix of all its paths;
    `key`: the name of a secret; `ca`: a file; `slots`, `wires`, `free`: the owner's values, which replace
    those that are found.
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
        """Return the address as shown to users."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """Return the address without `/v1`, which belongs to an API."""
        return f"http{'s' if self.tls else ''}://{self.at}{self.base}"

    @property
    def is_here(self) -> bool:
        return is_address(self.host) and ipaddress.ip_address(self.host).is_loopback

    @property
    def costs_nothing(self) -> bool:
        """Whether calls are free: by the owner's setting, or else if the address is private or local."""
        if self.free is not None:
            return self.free
        return is_at_home(self.host)


def is_at_home(host: str) -> bool:
    """Whether a host is this computer or in a private network."""
    if is_address(host):
        return ipaddress.ip_address(host).is_private
    return "." not in host or host.lower().endswith(_AT_HOME)


@dataclass(frozen=True, slots=True)
class EndpointAddresses:
    """The addresses to query. Of two equal addresses, the first one counts."""

    every: tuple[EndpointAddress, ...]

    @classmethod
    def of(cls, listed: tuple[EndpointAddress, ...], ports: tuple[int, ...]) -> EndpointAddresses:
        """Return the listed addresses, and those of these ports on this computer."""
        usual = tuple(EndpointAddress(LOOPBACK, port) for port in ports)
        first: dict[tuple[str, int], EndpointAddress] = {}
        for place in (*listed, *usual):
            first.setdefault((LOOPBACK if place.host == "localhost" else place.host, place.port), place)
        return cls(tuple(first.values()))


def place_of(url: str) -> EndpointAddress:
    """Return the address in http(s)://HOST[:PORT][/base], with or without `/v1`. Raises ValueError."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("the url must be http://HOST:PORT, or https://HOST")
    if parts.username or parts.password:
        raise ValueError(
            "the url must not contain a login: put the key into secrets.json, and its name into `key`"
        )
    host = LOOPBACK if parts.hostname == "localhost" else parts.hostname
    tls = parts.scheme == "https"
    port = parts.port or (443 if tls else 80)
    return EndpointAddress(
        host, port, tls, parts.path.rstrip("/").removesuffix("/v1").rstrip("/"), listed=True
    )


def machine_places(text: str) -> tuple[EndpointAddress, ...]:
    """Return the addresses of the computer with this name. ValueError names the right form of a name."""
    machine = machine_of(text)
    ports = PORTS if machine.port is None else (machine.port,)
    listed = machine.port is not None
    return tuple(EndpointAddress(machine.host, port, listed=listed, prefix=machine.name) for port in ports)


FILE = "endpoints.json"
TAKEN = frozenset({*VENDOR_VARIABLES, *OTHER_NAMES})
"""Vendors on the internet: their names are reserved, as in `openai/...`."""
USERS = ("ollama",)
"""The users besides root and the node's own whose servers are used; Ollama's installer creates this one."""
_Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]


class Listed(WireModel):
    """A listed server. `key`: the name of a secret; `free`: its calls cost nothing. `ca`: a file of
    certificates; `~` is the home of the node's user; a bare name is a file next to endpoints.json."""

    name: _Name
    url: str
    key: SecretName | None = None
    ca: str | None = None
    enabled: bool = True
    slots: int | None = Field(default=None, ge=1, le=256)
    wires: tuple[ModelWire, ...] | None = Field(default=None, strict=False)
    free: bool | None = None

    @field_validator("url")
    @classmethod
    def _is_url(cls, url: str) -> str:
        place_of(url)
        return url

    @field_validator("name")
    @classmethod
    def _is_free(cls, name: str) -> str:
        if name in TAKEN:
            raise ValueError(f"{name} is a vendor's name: choose another name")
        return name

    def below(self, home: Path) -> Listed:
        """Return the endpoint with an absolute path to its certificates."""
        whole = None if self.ca is None else str(home / Path(self.ca).expanduser())
        return self.model_copy(update={"ca": whole})

    def place(self) -> EndpointAddress:
        return replace(
            place_of(self.url),
            name=self.name,
            key=self.key,
            ca=self.ca,
            slots=self.slots,
            wires=self.wires,
            free=self.free,
        )


class Owners(WireModel):
    """The owner's settings of endpoints. `ports`: local ports to check; if empty, only listed servers are
    checked. `users`: names or numbers of users whose servers on these ports may be used."""

    ports: tuple[Annotated[int, Field(ge=1, le=65535)], ...] = PORTS
    endpoints: tuple[Listed, ...] = Field(default=(), max_length=32)
    users: tuple[str | int, ...] = Field(default=USERS, max_length=32)

    @field_validator("endpoints")
    @classmethod
    def _are_apart(cls, listed: tuple[Listed, ...]) -> tuple[Listed, ...]:
        names = [one.name for one in listed]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"two endpoints have the name {twice!r}")
        return listed

    def places(self) -> tuple[EndpointAddress, ...]:
        return tuple(one.place() for one in self.endpoints if one.enabled)

    def ports_left(self) -> tuple[int, ...]:
        """Return the local ports to check, without those of disabled listed servers."""
        off = {
            place.port
            for place in (one.place() for one in self.endpoints if not one.enabled)
            if place.is_here
        }
        return tuple(port for port in self.ports if port not in off)


def read_owners(home: Path) -> Owners:
    """Return the file's settings; the defaults without a file. SettingsError: file, key and problem."""
    owners = read_owner_settings(Owners, home / FILE)
    return owners.model_copy(update={"endpoints": tuple(one.below(home) for one in owners.endpoints)})
