"""A host's disk is full, by its owner's files or by the agent: nobody falls silent, nothing is swallowed."""

from __future__ import annotations

import json

import pytest

from tests.e2e.ground import Ground
from tests.e2e.owner import Owner, script, until
from tests.lab import Lab

pytestmark = pytest.mark.slow


def test_full_while_it_works_the_end_is_still_told(fleet: Owner, healed: Lab, no_sandboxes: None) -> None:
    host = Ground(fleet, healed, 2)
    top = fleet.repository("full")
    task = script(
        "write early.txt 'early\\n'", "say waiting", "await /tmp/full-now 60", "write late.txt 'x\\n'"
    )
    run = fleet.dispatch("--runtime", "scripted", "--node", "node2", task, cwd=top)
    fleet.running(run)
    healed.fault([2], "disk-full")
    host.shell("touch /tmp/full-now")
    until(lambda: host.mark(run) not in ("spawned", "prepared"), "its end is in the journal", 30)
    until(lambda: _problem(fleet, "free"), "the node says so", 20, lambda: fleet.nodes()["node2"])
    until(lambda: fleet.seen("node2") == "online", "a full disk silences nobody")
    words = ("--runtime", "shell", "--workspace", "none")
    second = fleet.dispatch(*words, "--node", "node2", "echo second")
    pooled = [fleet.dispatch(*words, f"echo pooled {number}") for number in range(3)]
    for one in pooled:
        there = fleet.ended(one, 60)
        assert (there["outcome"], there["attempt"]) == ("done", 1), there
        assert there["node"] != "node2", "a full node takes nothing from the others"
    waits = "node2 accepts no work: less than"
    until(lambda: waits in fleet.look(second)["reason"], "it says for what it waits", 30)
    told = fleet.run("why", second).ok().out
    assert waits in told and "free disk space there" in told, told
    healed.fault([2], "disk-full", on=False)
    host.shell("rm -f /tmp/full-now")
    ended = fleet.ended(run, 90)
    changed = fleet.run("runs", "diff", run, cwd=top).out
    whole = "late.txt" in changed
    assert ended["outcome"] in (("done",) if whole else ("infra", "error")), (ended, changed)
    assert len(ended["attempts"]) == 1 or ended["attempts"][0]["outcome"] == "infra", ended
    assert fleet.ask("receipt", "verify", run)["verdict"] == "PASS"
    assert fleet.ended(second, 60)["outcome"] == "done", fleet.show(second)
    until(lambda: host.cleaned(run), "acknowledged", 30)


def _problem(fleet: Owner, word: str) -> bool:
    return any(word in problem["what"] for problem in fleet.nodes()["node2"]["problems"])


def test_an_agent_that_fills_the_disk_is_an_error_and_leaves_room_again(fleet: Owner, healed: Lab) -> None:
    host = Ground(fleet, healed, 2)
    top = fleet.repository("filled")
    task = script("write kept.txt 'kept\\n'", "fill big.bin", "answer never")
    run = fleet.dispatch("--runtime", "scripted", "--node", "node2", task, cwd=top)
    ended = fleet.ended(run, 120)
    assert ended["outcome"] in ("error", "infra"), ended
    assert fleet.ask("receipt", "verify", run)["verdict"] == "PASS"
    until(lambda: host.cleaned(run), "acknowledged", 30)
    free = int(host.shell("df --output=avail -m /home/ops | tail -1"))
    assert free > 512, f"{free} MB are free again"
    after = fleet.ask("dispatch", "--runtime", "shell", "--node", "node2", "--workspace", "none", "echo on")
    assert after["outcome"] == "done"


def test_an_owner_who_allows_less_takes_nothing_from_the_others(fleet: Owner, healed: Lab) -> None:
    """node2 may only do what needs no shell; it is no place for this work, and says so to everybody."""
    host, words = Ground(fleet, healed, 2), ("--runtime", "shell", "--workspace", "none")
    host.shell(f"""printf '{{"runtimes": ["claude"]}}' > {host.inside}/ceiling.json""")
    try:
        until(
            lambda: _problem(fleet, "owner allows at most"), "it is told", 30, lambda: fleet.nodes()["node2"]
        )
        refused = fleet.run("dispatch", *words, "--node", "node2", "echo never", "--json")
        said = json.loads(refused.err)["error"]
        assert refused.code == 5 and "this node's owner does not allow" in said["message"], said
        for number in range(3):
            ended = fleet.ended(fleet.dispatch(*words, f"echo elsewhere {number}"), 60)
            assert ended["outcome"] == "done" and ended["node"] != "node2", ended
    finally:
        host.shell(f"rm -f {host.inside}/ceiling.json")
    until(lambda: not _problem(fleet, "owner allows at most"), "taken away", 30)
    assert fleet.ended(fleet.dispatch(*words, "--node", "node2", "echo again"), 60)["outcome"] == "done"
