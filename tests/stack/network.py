"""A network of its own for each service and a bridge between them, as containers have. As root."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

PREFIX = "pcs"
SUBNET = "10.98.0"


@contextmanager
def network(names: Sequence[str]) -> Iterator[dict[str, tuple[str, str]]]:
    """Service -> (its namespace, its address); all of it is gone afterwards."""
    own = f"{PREFIX}{os.getpid()}"
    switch = f"{own}-switch"
    made = {name: (f"{own}-{name}", f"{SUBNET}.{at}") for at, name in enumerate(names, 2)}
    spaces = [switch, *(space for space, _ in made.values())]
    try:
        for space in spaces:
            _ip("netns", "add", space)
            _ip("-n", space, "link", "set", "lo", "up")
        _ip("-n", switch, "link", "add", "bridge", "type", "bridge")
        _ip("-n", switch, "link", "set", "bridge", "up")
        for at, (space, address) in enumerate(made.values()):
            _ip("-n", space, "link", "add", "eth0", "type", "veth", "peer", "name", f"v{at}", "netns", switch)
            _ip("-n", switch, "link", "set", f"v{at}", "master", "bridge", "up")
            _ip("-n", space, "addr", "add", f"{address}/24", "dev", "eth0")
            _ip("-n", space, "link", "set", "eth0", "up")
        yield made
    finally:
        for space in spaces:
            _ip("netns", "del", space, check=False)


def _ip(*words: str, check: bool = True) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"
