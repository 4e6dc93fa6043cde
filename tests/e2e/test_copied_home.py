"""A machine with a copy of another one's node home: it is refused, and both ways out of that work."""

from __future__ import annotations

import subprocess

import pytest

from tests.e2e.fleets import add, own_fleet, up
from tests.e2e.ground import Ground
from tests.e2e.owner import Owner
from tests.lab import Lab

pytestmark = pytest.mark.slow


def _copy_home(owner: Owner, lab: Lab) -> str:
    """Its path on both nodes: as an image of the first machine's disk on the second would have it, where
    the user may have another number.
    """
    first, second = (Ground(owner, lab, k) for k in (1, 2))
    folder, uid = second.home.parent, lab.hosts[2]["uid"]
    folder.mkdir(exist_ok=True)
    subprocess.run(["cp", "-a", str(first.home), str(folder)], check=True)
    subprocess.run(["chown", "-hR", f"{uid}:{uid}", str(folder)], check=True)
    return second.inside


def _refused(owner: Owner, path: str) -> None:
    said = owner.run("fleet", "up", "node2", timeout_s=180)
    assert said.code == 6, said
    words = " ".join((said.out + said.err).split())
    for way in (f"rm -r {path}", "pancode node add node2 --node-home"):
        assert way in words, words


@pytest.mark.parametrize("way", ["a folder of its own", "without the copy"])
def test_a_copy_of_a_home_is_refused_and_the_offered_way_out_works(healed: Lab, way: str) -> None:
    with own_fleet(healed, [1, 2]) as owner:
        up(owner, 1)
        path = _copy_home(owner, healed)
        _refused(owner, path)
        if way == "without the copy":
            Ground(owner, healed, 2).shell(f"rm -r {path}")
        else:
            owner.run("node", "rm", "node2", "--yes").ok()
            add(owner, healed, 2, "--node-home", "/home/ops/of-its-own")
        up(owner, 2)
        for node in ("node1", "node2"):
            run = owner.ask("dispatch", "--runtime", "shell", "--workspace", "none", "--node", node, "pwd")
            assert (run["outcome"], run["node"]) == ("done", node), run
            assert ("of-its-own" in run["answer"]) == (way != "without the copy" and node == "node2"), run
