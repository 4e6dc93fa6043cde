"""Where `ssh HOST true` works without a question, PanCode logs in; where ssh refuses, so does PanCode."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

QUICK, LATER, DEAD = range(40), range(40, 300), range(1_000, 1_040)
REFUSED = ("trust", "login", "unreachable")


def draw(folder: Path, seeds: range, may_be_dead: bool) -> list[dict[str, Any]]:
    """The verdicts of the real ssh and of PanCode, each draw in turn, on real servers in namespaces."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("network and mount namespaces need root and unshare")
    argv = ["unshare", "-m", "-n", sys.executable, "-m", "tests.integration.ssh.judge", str(folder)]
    argv += [str(seeds.start), str(len(seeds)), str(int(may_be_dead))]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=280, check=False)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) == len(seeds), done.stderr[-2_000:]
    return rows


def agree(row: dict[str, Any]) -> bool:
    """Whether PanCode's verdict follows from ssh's. Of several reasons to refuse, each may name another."""
    theirs, ours = row["ssh"][0], row["pancode"][0]
    if theirs == "works":
        return bool(ours == "works")
    # ssh waits only ConnectTimeout for a whole chain of jump hosts, of which PanCode tries each address.
    is_late = theirs == "unreachable" and any(role["host"].startswith("dead") for role in row["roles"])
    return ours in REFUSED or (is_late and ours == "works")


def check(rows: list[dict[str, Any]]) -> None:
    wrong = [row for row in rows if not agree(row)]
    assert not wrong, json.dumps(wrong[:3], indent=1)
    single = [row for row in rows if len(row["roles"]) == 1]
    differ = [row for row in single if row["ssh"][0] != row["pancode"][0] and row["pancode"][0] != "works"]
    assert not differ, json.dumps(differ[:3], indent=1)
    assert {row["ssh"][0] for row in rows} >= {"works", "trust", "login"}, "the draws are too much alike"


@pytest.mark.slow
def test_ssh_is_the_judge(tmp_path: Path) -> None:
    check(draw(tmp_path, QUICK, False))


@pytest.mark.slow
@pytest.mark.parametrize("first", range(LATER.start, LATER.stop, 65))
def test_ssh_is_the_judge_of_more_situations(tmp_path: Path, first: int) -> None:
    check(draw(tmp_path, range(first, first + 65), False))


@pytest.mark.slow
def test_ssh_is_the_judge_where_an_address_is_dead(tmp_path: Path) -> None:
    check(draw(tmp_path, DEAD, True))
