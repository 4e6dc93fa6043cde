"""Gives end-to-end tests three real SSH hosts that last the whole session."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from tests.clis.install import cache
from tests.e2e.findings import unexpected
from tests.e2e.owner import Owner
from tests.e2e.tidy import Session, bring_up, keys_of, repair
from tests.lab import Lab, missing, own_name, reap
from tests.lab.lab import Spec
from tests.lab.state import HostState

HOSTS = 3
HOME_MB = 1536  # homes are a tmpfs of this size, so that `disk-full` is possible
LONGEST_FIRST = (
    "test_docs",
    "test_ansible_services",
    "test_systemd",
    "test_fault_real_cut",
    "test_fault_up",
    "test_programs",
    "test_demo",
    "test_fault_fleets",
    "test_fault_silence",
    "test_fault_coordinator",
    "test_fleet_runs",
    "test_trust_forgery",
    "test_fault_host",
    "test_fault_link",
    "test_fault_node_agent",
)

SESSION = pytest.StashKey[Session]()
FAILED = pytest.StashKey[bool]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What needs bare hosts comes first, then what has fleets of its own: the session's, which costs a sixth
    of a processor while it idles, comes up late. Of each the files that take longest are first.
    """
    last = len(LONGEST_FIRST)
    rank = {stem: place for place, stem in enumerate(LONGEST_FIRST)}
    on_fleet = {item.path for item in items if _wants_the_fleet(item)}
    items.sort(
        key=lambda item: (
            item.get_closest_marker("bare_hosts") is None,
            item.path in on_fleet,
            rank.get(item.path.stem, last),
        )
    )


def _wants_the_fleet(item: pytest.Item) -> bool:
    """The session's, and not one of that name that its file makes."""
    if not isinstance(item, pytest.Function):
        return False
    found = item._fixtureinfo.name2fixturedefs.get("fleet", ())
    return bool(found) and found[-1].scope == "session"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    item.stash[FAILED] = item.stash.get(FAILED, False) or report.failed
    return report


@pytest.fixture(scope="module", autouse=True)
def whole(request: pytest.FixtureRequest) -> Iterator[None]:
    """Whatever a module has done to the hosts and to the session's fleet, the next one does not find it."""
    yield
    session = request.config.stash.get(SESSION, None)
    if session is not None:
        session.after_module()


@pytest.fixture(autouse=True)
def unpoisoned(request: pytest.FixtureRequest, whole: None) -> Iterator[None]:
    """A test that failed half way has not cleaned up: it is done for it before the next one."""
    yield
    session = request.config.stash.get(SESSION, None)
    if session is not None and request.node.stash.get(FAILED, False):
        session.after_failure()


@pytest.fixture(scope="session")
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
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
        request.config.stash[SESSION] = Session(lab)
        yield lab
        del request.config.stash[SESSION]


@pytest.fixture(scope="session")
def host(lab: Lab) -> Callable[[int], HostState]:
    """host(k): name, addr, uid, host_key and the faults of host k (1 to HOSTS)."""
    return lambda k: lab.hosts[k]


@pytest.fixture
def healed(lab: Lab) -> Iterator[Lab]:
    """The lab for a test that makes faults: afterwards every host is up, linked and as before."""
    keys = keys_of(lab)
    yield lab
    repair(lab, keys)


@pytest.fixture
def no_sandboxes(lab: Lab) -> Iterator[None]:
    """The owner of the hosts wants no sandbox, in any fleet that is there: agents see the hosts' files."""
    homes = "for d in /home/ops/.pancode-node/f-*/; do {}; done"
    for k in lab.hosts:
        lab.run(k, homes.format('echo \'{"off": "a test"}\' > $d/sandbox.json'))
    yield
    for k in lab.hosts:
        lab.run(k, homes.format("rm -f $d/sandbox.json"))


@pytest.fixture(scope="session")
def fleet(request: pytest.FixtureRequest, lab: Lab, time_factor: float) -> Iterator[Owner]:
    """One fleet of the lab's three hosts, driven through the command line.

    node2 is known by a name with an IPv6 address, node3 by one with an IPv4 address, node1 by its address.
    node1 and node2 have 4 slots, node3 has 2 and the label rack=b. Every time is scaled by the factor.
    """
    root = Path(tempfile.mkdtemp(prefix="pe-"))
    owner = Owner(root, time_factor)
    owner.know(lab, named=(2, 3))
    try:
        bring_up(owner, lab)
        request.config.stash[SESSION].has(owner)
        yield owner
        if request.config.getoption("chosen") and owner.coordinator_pid() is not None:
            assert not (found := unexpected(owner)), "\n".join(found)
    finally:
        request.config.stash[SESSION].has(None)
        owner.down()
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture
def local(fleet: Owner) -> Iterator[str]:
    """This machine as a node, for a test."""
    fleet.run("node", "add", "here", "--local").ok()
    fleet.run("fleet", "up", "here", timeout_s=180).ok()
    yield "here"
    fleet.run("node", "rm", "here", "--yes", timeout_s=120).ok()
