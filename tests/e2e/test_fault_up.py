"""`fleet up` where one machine cannot: the others come up, and that one is named with its fix."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from tests.e2e.fleets import own_fleet, up
from tests.e2e.owner import until
from tests.lab import Lab

pytestmark = pytest.mark.slow

BOTH = ("fleet", "up", "node1", "node2", "--json")


@contextmanager
def asleep(lab: Lab, k: int = 1) -> Iterator[None]:
    lab.drop([k])
    yield
    lab.heal([k])


@contextmanager
def without_sshd(lab: Lab, k: int = 1) -> Iterator[None]:
    lab.sshd([k], "stop")
    yield
    lab.sshd([k], "start")


@contextmanager
def full(lab: Lab, k: int = 1) -> Iterator[None]:
    lab.fault([k], "disk-full")
    yield
    lab.fault([k], "disk-full", on=False)


@contextmanager
def without_python(lab: Lab, k: int = 1) -> Iterator[None]:
    lab.fault([k], "no-python")
    yield
    lab.fault([k], "no-python", on=False)


@contextmanager
def without_git(lab: Lab, k: int = 1) -> Iterator[None]:
    programs = lab.run(k, "which -a git | xargs -n1 readlink -f | sort -u").stdout.split()
    for path in programs:
        assert lab.run(k, f"mount --bind /dev/null {path}").returncode == 0
    try:
        yield
    finally:
        for path in programs:
            lab.run(k, f"umount {path}")


@contextmanager
def with_a_wrong_key(lab: Lab, k: int = 1) -> Iterator[None]:
    """The key of the user is not the one that the machine knows."""
    known = "/home/ops/.ssh/authorized_keys"
    lab.run(k, f"cp -p {known} {known}.away; sed -i s/AAAA/AAAB/ {known}")
    try:
        yield
    finally:
        lab.run(k, f"mv {known}.away {known}")


Sick = Callable[..., AbstractContextManager[None]]
SICK: dict[str, Sick] = {
    "asleep": asleep,
    "no sshd": without_sshd,
    "full": full,
    "no Python": without_python,
    "no git": without_git,
    "wrong key": with_a_wrong_key,
}


@pytest.mark.parametrize("what", SICK)
def test_one_that_cannot_does_not_stop_the_other(healed: Lab, what: str) -> None:
    """Over 30 s on a machine at work: a fleet of its own is brought up twice."""
    with own_fleet(healed, [1, 2], fresh=[1] if what == "full" else []) as owner:
        with SICK[what](healed):
            said = owner.run(*BOTH, timeout_s=150)
            assert said.code == 20, said
            results = {r["node"]: r for r in said.json()["results"]}
            assert (results["node1"]["ok"], results["node2"]["ok"]) == (False, True), results
            first = results["node1"]["problems"][0]
            assert first["what"] and first["fix"], results["node1"]
            until(lambda: owner.seen("node2") == "online", "the other is online", told=owner.nodes)
            work = ("dispatch", "--runtime", "shell", "--workspace", "none", "--node", "node2", "true")
            assert owner.ask(*work)["outcome"] == "done"
            assert owner.run("fleet", "up", "node1", timeout_s=150).code == 6, "all of them failed"
        up(owner, 1)
        until(lambda: owner.seen("node1") == "online", "it is online", told=owner.nodes)


MIXES = (("asleep", "full"), ("wrong key", "no git"))


@pytest.mark.parametrize("mix", MIXES, ids="+".join)
def test_all_of_them_bad_whatever_each_lacks_is_another_status(healed: Lab, mix: tuple[str, str]) -> None:
    """Over 30 s on a machine at work: a fleet of its own is brought up twice."""
    fresh = [k for k, what in enumerate(mix, 1) if what == "full"]
    with own_fleet(healed, [1, 2], fresh=fresh) as owner:
        with SICK[mix[0]](healed, 1), SICK[mix[1]](healed, 2):
            said = owner.run(*BOTH, timeout_s=150)
            assert said.code == 6, said
            for result in said.json()["results"]:
                first = result["problems"][0]
                assert not result["ok"] and first["what"] and first["fix"], result
        assert owner.run(*BOTH, timeout_s=150).code == 0
