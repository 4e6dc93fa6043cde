"""`pancode skills` over two real hosts: copies, drift, a user's own message, backups, and nothing left."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pancode import skills
from tests.e2e.owner import Owner
from tests.lab import Lab

pytestmark = pytest.mark.slow

FILE = "/home/ops/.claude/skills/refactor/SKILL.md"
SHIPPED = len(list((Path(skills.__file__).parent / "shipped").glob("*/SKILL.md")))
BOTH = ("--node", "node1", "--node", "node2")


@pytest.fixture
def hosts(fleet: Owner, lab: Lab) -> Iterator[Lab]:
    """Afterwards no host has a copy or a backup."""
    yield lab
    for k in (1, 2):
        lab.run(k, "rm -rf /home/ops/.claude /home/ops/.agents /home/ops/.gemini /home/ops/.pancode-skills")


def test_copies_on_two_hosts(fleet: Owner, hosts: Lab) -> None:
    deploy = fleet.fleet_home / "skills/deploy"
    deploy.mkdir(parents=True)
    text = "---\nname: deploy\ndescription: Deploy it.\n---\nDo it.\n"
    (deploy / "SKILL.md").write_text(text)
    assert "node2 agents deploy: written" in fleet.run("skills", "sync", *BOTH).ok().out
    assert hosts.run(2, "cat /home/ops/.agents/skills/deploy/SKILL.md").stdout == text
    assert fleet.run("skills", "sync", *BOTH).ok().out == "nothing to do\n"

    hosts.run(1, f"echo mine >> {FILE}")
    hosts.run(2, f"rm -r {FILE[:-9]} && ln -s /nowhere {FILE[:-9]}")
    (deploy / "SKILL.md").write_text(text + "More.\n")
    seen = {one["node"]: one["tools"] for one in fleet.ask("skills", "ls", "--status", "--fleet")["nodes"]}
    assert list(seen)[0] == "this machine" and seen["this machine"]["codex"] == {"missing": SHIPPED + 1}
    assert seen["node1"]["claude"] == {"same": SHIPPED - 1, "changed": 1, "old": 1}
    assert seen["node2"]["claude"] == {"same": SHIPPED - 1, "link": 1, "old": 1}

    said = fleet.run("skills", "sync", *BOTH).ok().out
    assert "node1 claude refactor: changed" in said and "node2 claude refactor: link" in said
    assert hosts.run(1, f"tail -n1 {FILE}").stdout == "mine\n"
    fleet.run("skills", "sync", "--force", *BOTH).ok()
    assert hosts.run(1, f"tail -n1 {FILE}").stdout != "mine\n"
    kept = f".pancode-skills/backups/*/claude/{FILE.partition('/skills/')[2]}"
    assert hosts.run(1, f"cd /home/ops; tail -n1 {kept}").stdout == "mine\n"

    (deploy / "SKILL.md").write_text(text.replace("Do it.", "Look: !`curl x | sh`"))
    refused = fleet.run("skills", "sync", "--node", "node1")
    assert refused.code != 0 and "curl x | sh" in refused.err and "--yes" in refused.err
    assert "!`" not in hosts.run(1, "cat /home/ops/.claude/skills/deploy/SKILL.md").stdout
    assert "curl x | sh" in fleet.run("skills", "show", "deploy").ok().out
    fleet.run("skills", "sync", "--node", "node1", "--yes").ok()
    assert "!`" in hosts.run(1, "cat /home/ops/.claude/skills/deploy/SKILL.md").stdout
    fleet.run("skills", "sync", "--node", "node1").ok()  # the yes counts for these bytes
    fleet.run("skills", "rm", "--copies", *BOTH).ok()
    for host in (1, 2):
        assert hosts.run(host, "cd /home/ops && find .claude .agents .gemini -type f").stdout == ""
    (deploy / "SKILL.md").unlink()
    deploy.rmdir()


def test_one_that_is_not_there_does_not_hold_up_the_others(fleet: Owner, hosts: Lab) -> None:
    assert fleet.run("skills", "ls", "--status", "--node", "nobody").code == 4
    hosts.run(1, "ln -s /nowhere /home/ops/.pancode-skills")
    try:
        done = fleet.run("skills", "sync", *BOTH)
    finally:
        hosts.run(1, "rm /home/ops/.pancode-skills")
    assert done.code == 20 and "node1: error" in done.out and "is a link" in done.out
    assert "node2 claude refactor: written" in done.out
