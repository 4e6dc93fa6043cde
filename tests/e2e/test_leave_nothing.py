"""`node rm` takes out every file, process, key and folder that came with `node add` and `fleet up`."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.e2e.fleets import add, own_fleet, up
from tests.e2e.ground import Ground
from tests.e2e.owner import Owner, script, until
from tests.e2e.tidy import fleet_of, plant
from tests.lab import Lab

pytestmark = pytest.mark.slow

LIST = """cd /home/ops && find . -path './.pancode-node/@' -prune -o -printf '%y %m %U %s %p\\n' | sort
cat .ssh/authorized_keys; find /tmp /run /var/tmp /dev/shm -user ops 2>/dev/null | sort
ps -u ops -o args= | grep -v -e sshd -e '<defunct>' | sort"""

APART = "--- and again ---"


def _listing(lab: Lab, k: int, other: str) -> list[str]:
    """All that stays of what the login user has on the host, but for what belongs to the other fleet there.

    What is not seen in both of two looks was passing by, such as a step of the other fleet's own scripts.
    """
    looks = f"{LIST}\necho {APART}; sleep 0.5\n{LIST}".replace("@", other)
    first, second = (Counter(look.splitlines()) for look in lab.run(k, looks).stdout.split(f"{APART}\n"))
    return sorted(line for line in (first & second).elements() if other not in line)


def _nothing_left(lab: Lab, k: int, other: str, before: list[str]) -> None:
    until(
        lambda: _listing(lab, k, other) == before,
        "nothing is left",
        15,
        lambda: [line for line in _listing(lab, k, other) if line not in before],
    )


def _other(fleet: Owner) -> str:
    return str(fleet.ask("fleet", "status")["coordinator"]["fleet"])


def test_nothing_is_left_even_when_something_runs(fleet: Owner, healed: Lab) -> None:
    """The session's fleet lives on the same host and is not touched."""
    other = _other(fleet)
    beside = Ground(fleet, healed, 1)
    pid = beside.agent()
    before = _listing(healed, 1, other)
    with own_fleet(healed, [1]) as owner:
        up(owner, 1)
        host = Ground(owner, healed, 1)
        top = owner.repository("left")
        task = script("ignore INT TERM", "fork 600", "fork-bare 601", "write a.txt x", "hang")
        runs = [owner.dispatch("--runtime", "scripted", "--node", "node1", task, cwd=top) for _ in range(2)]
        for run in runs:
            owner.running(run)
        until(lambda: len(host.running("sleep", "600")) >= 4, "they forked away")
        owner.run("skills", "sync", "--node", "node1").ok()
        assert healed.run(1, "ls /home/ops/.claude/skills").stdout
        assert _listing(healed, 1, other) != before
        said = owner.run("node", "rm", "node1", "--yes", timeout_s=180).ok()
        assert "nothing of PanCode is left" in said.out and "2 in flight there" in said.err
        _nothing_left(healed, 1, other, before)
        assert not host.running("sleep", "60"), "what had forked away is gone, too"
        assert [n["name"] for n in owner.ask("node", "ls")["nodes"]] == []
        for run in runs:
            assert owner.show(run)["outcome"] == "lost", owner.show(run)
        assert owner.run("node", "show", "node1").code == 4
        add(owner, healed, 1)  # the name is free again
        plant(healed, fleet_of(owner), [1])
        up(owner, 1)
        owner.run("node", "rm", "node1", "--yes", timeout_s=180).ok()
        _nothing_left(healed, 1, other, before)
    assert beside.agent() == pid, "the other fleet's agent was not even restarted"
    assert fleet.ask("dispatch", "--runtime", "shell", "--node", "node1", "--workspace", "none", "true")[
        "outcome"
    ] == "done"  # fmt: skip


def test_one_that_is_away_is_revoked_at_once_and_cleaned_at_contact(fleet: Owner, healed: Lab) -> None:
    other = _other(fleet)
    before = _listing(healed, 3, other)
    with own_fleet(healed, [3]) as owner:
        up(owner, 3)
        run = owner.dispatch("--runtime", "shell", "--node", "node3", "--workspace", "none", "sleep 300")
        owner.running(run)
        healed.drop([3])
        said = owner.run("node", "rm", "node3", "--yes", timeout_s=120)
        assert said.code == 20 and "removed, not cleaned" in said.out, said
        assert owner.state("node3") == "removed, not cleaned"
        refused = owner.run(
            "dispatch", "--node", "node3", "--runtime", "shell", "--workspace", "none", "true"
        )
        assert refused.code in (4, 5), refused
        healed.heal([3])
        until(lambda: "node3" not in owner.nodes(), "it is cleaned", 90, lambda: owner.nodes())
        _nothing_left(healed, 3, other, before)
