"""Reads `endpoints.json` in the node's home: the model servers that the owner of this node lists."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator

from node_agent.endpoints.places import PORTS, EndpointAddress, place_of
from node_agent.machine.home import read_owned
from node_agent.wire.endpoint import OTHER_NAMES, VENDOR_VARIABLES, ModelWire
from node_agent.wire.model import SecretName, WireModel

FILE = "endpoints.json"
TAKEN = frozenset({*VENDOR_VARIABLES, *OTHER_NAMES})
"""Vendors on the internet: a model of `openai/...` must stay theirs."""
USERS = ("ollama",)
"""The user whose servers are used unasked beside root's and the node's own: Ollama's installer makes it."""
_Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]


class Listed(WireModel):
    """One server. `key`: the name of a secret; `free`: its calls cost none.

    `ca`: a file of certificates; `~` is the home of the node's user, and a name alone is beside this file.
    """

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
            raise ValueError(f"{name} is a vendor's name: call it something else")
        return name

    def below(self, home: Path) -> Listed:
        """The endpoint with the whole path of its certificates."""
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
    """`ports`: those of this machine that are looked at; none: no look by itself.

    `users`: whose servers there are used, by name or number.
    """

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
        """The ports to look at, without those of listed servers of this machine that are switched off."""
        off = {
            place.port
            for place in (one.place() for one in self.endpoints if not one.enabled)
            if place.is_here
        }
        return tuple(port for port in self.ports if port not in off)


def read_owners(home: Path) -> Owners:
    """The file's settings; without a file the defaults. SettingsError names file, key and problem."""
    owners = read_owned(Owners, home / FILE)
    return owners.model_copy(update={"endpoints": tuple(one.below(home) for one in owners.endpoints)})
