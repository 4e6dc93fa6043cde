"""Row r: many landings with gates off, beside plain `git merge` of the same changes."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.bench.figures import Goal, Row
from tests.bench.ours import Api, OurFleet

BRANCH, BASE = "landed", "main"


def landing(tell: Callable[[str], None], count: int) -> list[Row]:
    """Each run has one file of its own; each change lands on one branch, one after the other."""
    with OurFleet() as ours:
        top = ours.owner.repository("shop")
        api = ours.api()
        runs = [_run(api, top, f"file{number}") for number in range(count)]
        for run in runs:
            ours.output(api, run)
        _branches(ours, top, count)
        began = _processor_s(ours.coordinator_pid)
        for run in runs:
            api.call("POST", f"/v1/runs/{run}/land", {"gates": False, "branch": BRANCH})
        mine = _processor_s(ours.coordinator_pid) - began
        began = _children_s()
        ours.owner.git(top, "checkout", "-q", "-b", "merged", BASE)
        for number in range(count):
            ours.owner.git(top, "merge", "-q", "--no-edit", f"theirs{number}")
        theirs = _children_s() - began
        _must_be_the_same(ours, top)
    tell(f"r: {count} landings {mine:.2f} s of the processor, {count} times git merge {theirs:.2f} s")
    what = f"{count} changes landed on a branch, gates off: processor time"
    peer = "`git merge` of the same changes"
    return [Row("r", what, "s", mine, theirs, peer, Goal(most=3.0), _LIMIT, mine / theirs)]


def _processor_s(pid: int) -> float:
    """Of a process and of its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


_LIMIT = (
    "Each landing is a request with transactions of its own, and six git programs: they merge in the "
    "depot, carry the objects over and move the branch, where plain `git merge` is one program."
)


def _run(api: Api, top: Path, name: str) -> str:
    argv = ["/bin/sh", "-c", f"echo {name} > {name}.txt"]
    return api.dispatch(argv, workspace="git", cwd=str(top))


def _branches(ours: OurFleet, top: Path, count: int) -> None:
    """The same changes as branches of the user's own."""
    for number in range(count):
        ours.owner.git(top, "checkout", "-q", "-b", f"theirs{number}", BASE)
        (top / f"file{number}.txt").write_text(f"file{number}\n")
        ours.owner.git(top, "add", "-A")
        ours.owner.git(top, "commit", "-q", "-m", f"file{number}")
    ours.owner.git(top, "checkout", "-q", BASE)


def _must_be_the_same(ours: OurFleet, top: Path) -> None:
    try:
        ours.owner.git(top, "diff", "--exit-code", BRANCH, "merged")
    except subprocess.CalledProcessError as error:
        raise RuntimeError(f"landings and merges differ: {error.stdout[:500]}") from error
