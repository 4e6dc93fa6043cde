"""Parses an owner's name of a machine with model servers: `HOST:PORT`, `NAME=HOST` or `NAME=HOST:PORT`."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Machine:
    """`port` None: the usual ones. `name` None: its endpoints go by their kind."""

    name: str | None
    host: str
    port: int | None


def machine_of(text: str) -> Machine:
    """ValueError says the right form."""
    name, equals, address = text.strip().rpartition("=")
    host, port = _split(address.strip())
    if not _is_host(host) or (equals and not _is_name(name)):
        raise ValueError(f"{text!r} is no machine: write HOST:PORT, NAME=HOST or NAME=HOST:PORT")
    if port is None and not equals:
        raise ValueError(f"{text!r} has no port: write HOST:PORT, or NAME=HOST for the usual ports")
    return Machine(name or None, host, port)


def is_address(host: str) -> bool:
    """Of numbers, of either version."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _split(address: str) -> tuple[str, int | None]:
    """An empty host for what is none."""
    if address.startswith("["):
        host, _, rest = address[1:].partition("]")
        port = rest.removeprefix(":")
        bare = not rest
    elif address.count(":") > 1:
        return address, None
    else:
        host, colon, port = address.partition(":")
        bare = not colon
    if bare:
        return host, None
    number = int(port) if port.isascii() and port.isdigit() else 0
    return (host, number) if 0 < number < 65536 else ("", None)


def _is_host(host: str) -> bool:
    letters = host.replace("-", "").replace(".", "").replace("_", "")
    return is_address(host) or (letters.isascii() and letters.isalnum())


def _is_name(name: str) -> bool:
    letters = name.replace("-", "").replace(".", "").replace("_", "")
    return letters.isascii() and letters.isalnum() and name == name.lower() and len(name) <= 40
