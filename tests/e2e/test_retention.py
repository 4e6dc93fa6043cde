"""Old runs over two real hosts: their files go, their proof stays, and what nobody has decided stays."""

from __future__ import annotations

import pytest

from tests.e2e.fleets import own_fleet, up
from tests.e2e.owner import until
from tests.lab import Lab

pytestmark = pytest.mark.slow


def test_files_of_old_runs_go_and_their_proof_stays(lab: Lab) -> None:
    """Here a second is what a month is as shipped. The worktree of the repository uses the same depot."""
    with own_fleet(lab, [1, 2], more={"keep": {"changes": "1s", "logs": "1s"}}) as owner:
        up(owner, 1, 2)
        top = owner.repository("old")
        owner.git(top, "worktree", "add", "-q", "-b", "side", str(owner.home / "old-side"))

        def ran(node: int, *words: str, at: str = "old") -> str:
            where = ("--runtime", "shell", "--node", f"node{node}")
            run = owner.dispatch(*where, *words, cwd=owner.home / at)
            until(lambda: owner.show(run)["state"] == "ended", f"{run} has ended", 60)
            return run

        landed = ran(1, "--land", "echo landed > landed.txt; echo said")
        until((top / "landed.txt").exists, "it is landed", 60)
        open_still = ran(2, "echo open > open.txt", at="old-side")
        assert len(list((owner.fleet_home / "depots").glob("*.git"))) == 1
        until(lambda: owner.ask("admin", "gc", "--dry-run")["logs"] == 1, "it is old", 30)
        done = owner.ask("admin", "gc")
        assert (done["changes"], done["logs"]) == (1, 1), done
        assert [row["runs"] for row in done["kept"]] == [1] and done["room"][0]["node"] is None
        assert owner.ask("receipt", "verify", landed)["verdict"] == "PASS"
        for words in (("runs", "diff", landed), ("runs", "logs", landed), ("land", landed)):
            refused = owner.run(*words, cwd=top)
            assert refused.code != 0 and "were deleted" in refused.err, refused
        assert "open.txt" in owner.run("runs", "diff", open_still).ok().out
        owner.run("land", open_still, cwd=owner.home / "old-side").ok()
        assert (owner.home / "old-side/open.txt").read_text() == "open\n"
        disks = [str(line["what"]) for line in owner.ask("doctor", "--all")["checks"]]
        assert [line for line in disks if "mirrors" in line], disks
