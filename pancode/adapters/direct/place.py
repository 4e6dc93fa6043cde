"""Reads the address at which nodes may reach the coordinator directly."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address

from pancode.errors import ConfigError

EXAMPLE = "10.0.0.5:7843"


@dataclass(frozen=True, slots=True)
class Place:
    """Where we listen, which is what nodes are told; `origin`: where its owner said so."""

    host: str
    port: int
    origin: str

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def place_of(text: str, origin: str) -> Place:
    """`HOST:PORT`, `[ADDRESS]:PORT`. ConfigError; also for all addresses at once: nodes need one to go to."""
    host, _, port = text.strip().rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    if not bare or not port.isdecimal() or not 0 < int(port) < 1 << 16 or (":" in bare and bare == host):
        raise _bad(text, origin, "it is no HOST:PORT")
    if not bare.isascii():
        raise _bad(text, origin, "a certificate takes such a name as xn--... alone")
    if _is_every(bare):
        raise _bad(text, origin, "nodes cannot be told to go to every address")
    return Place(bare, int(port), origin)


def _is_every(host: str) -> bool:
    try:
        return ip_address(host).is_unspecified
    except ValueError:  # a name
        return False


def _bad(text: str, origin: str, why: str) -> ConfigError:
    return ConfigError(
        f"{origin} is no address at which nodes could reach this machine: {text}",
        why=why,
        fix=f"write the address of this machine that your nodes reach, and a port: direct.listen: {EXAMPLE}",
    )
