"""Gives end-to-end tests three real SSH hosts that last the whole session."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from tests.clis.install import cache
from tests.lab import Lab, missing, own_name, reap
from tests.lab.lab import Spec
from tests.lab.state import HostState

HOSTS = 3
HOME_MB = 1024  # homes are a tmpfs of this size, so that `disk-full` is possible


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
