"""Gives end-to-end tests three real SSH hosts that last the whole session."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.clis.install import cache
from tests.e2e.owner import Owner
from tests.lab import Lab, missing, own_name, reap
from tests.lab.lab import Spec
from tests.lab.state import HostState

HOSTS = 3
HOME_MB = 1024  # homes are a tmpfs of this size, so that `disk-full` is possible


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.get_closest_marker("bare_hosts") is None)


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """A session's own lab; on a machine that cannot hold one the tests skip, but never in CI."""
    lacks = missing()
    if lacks:
        reason = "real SSH hosts need: " + "; ".join(lacks)
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    reap()
    # The hosts see the cache of real agent programs at the same path, also what is installed there later.
    spec = Spec(home_mb=HOME_MB, share=(str(cache()),))
    with Lab(own_name(), owned=True).up(HOSTS, spec, replace=True) as lab:
        yield lab


@pytest.fixture(scope="session")
def host(lab: Lab) -> Callable[[int], HostState]:
    """host(k): name, addr, uid, host_key and the faults of host k (1 to HOSTS)."""
    return lambda k: lab.hosts[k]


@pytest.fixture
def healed(lab: Lab) -> Iterator[Lab]:
    """The lab for a test that makes faults: afterwards every host is up, linked and as before."""
    keys = {k: lab.host_key(k) for k in lab.hosts}
    yield lab
    for k, h in lab.hosts.items():
        if h["state"] == "frozen":
            lab.thaw([k])
        if lab.hosts[k]["state"] == "off":
            lab.boot([k])
        lab.heal([k])
        for name in list(h["faults"]):
            lab.fault([k], name, on=False)
        if h["sshd"] or not any(s["sshd"] for s in lab.status() if s["name"] == h["name"]):
            lab.sshd([k], "restart", [])
        if lab.host_key(k) != keys[k]:
            lab.rekey([k], trust=True, key=keys[k])  # other fleets know it by the old one


@pytest.fixture
def no_walls(lab: Lab) -> Iterator[None]:
    """The owner of the hosts wants no sandbox, in any fleet that is there: agents see the hosts' files."""
    homes = "for d in /home/ops/.pancode-node/f-*/; do {}; done"
    for k in lab.hosts:
        lab.run(k, homes.format('echo \'{"off": "a test"}\' > $d/sandbox.json'))
    yield
    for k in lab.hosts:
        lab.run(k, homes.format("rm -f $d/sandbox.json"))


@pytest.fixture(scope="session")
def fleet(lab: Lab, time_factor: float) -> Iterator[Owner]:
    """One fleet of the lab's three hosts and this machine, driven through the command line.

    node1 and node2 have 4 slots, node3 has 2 and the label rack=b. Every time is scaled by the factor.
    """
    root = Path(tempfile.mkdtemp(prefix="pe-"))
    owner = Owner(root, time_factor)
    owner.know(lab)
    try:
        for k in range(1, HOSTS + 1):
            name = f"node{k}"
            more = ["--slots", "2", "--label", "rack=b"] if k == HOSTS else ["--label", "rack=a"]
            pin = fingerprint(lab.hosts[k]["host_key"])
            owner.run("node", "add", name, "--accept-fingerprint", pin, *more).ok()
        owner.run("fleet", "up", timeout_s=180).ok()
        yield owner
    finally:
        owner.down()
        shutil.rmtree(root, ignore_errors=True)


def fingerprint(line: str) -> str:
    """SHA256:... of an OpenSSH public key line, as ssh shows it."""
    raw = base64.b64decode(line.split()[1])
    return "SHA256:" + base64.b64encode(hashlib.sha256(raw).digest()).decode().rstrip("=")
