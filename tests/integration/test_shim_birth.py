"""Which processes the shim looks at: all that are younger, told by their pids as long as that is certain."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from node_agent.shim import process
from node_agent.shim.process import Birth


def test_older_processes_are_not_looked_at_and_younger_ones_are() -> None:
    older = subprocess.Popen(["sleep", "60"], env={process.MARKER: "zz-birth"})
    pid = os.fork()
    if pid == 0:
        birth = Birth()
        with subprocess.Popen(["sleep", "60"], env={process.MARKER: "zz-birth"}) as younger:
            seen, until = list[int](), time.monotonic() + 5
            while not seen and time.monotonic() < until:  # its environment is there a moment after its start
                seen = [one for one, _ in process.find_members("zz-birth", birth=birth)]
            younger.kill()
        os._exit(0 if seen == [younger.pid] or not birth.since()[0] else 1)
    assert os.waitpid(pid, 0)[1] == 0
    older.kill()
    older.wait()


Read = Callable[..., bytes]


def told(forks: int, last: int, most: int) -> Read:
    said = {
        "/proc/stat": b"cpu 1\nprocesses %d\n" % forks,
        "/proc/loadavg": b"0.1 0.1 0.1 1/100 %d\n" % last,
        "/proc/sys/kernel/pid_max": b"%d\n" % most,
    }
    return lambda path, whole=True: said[path]


@pytest.mark.parametrize(
    ("forks", "last", "certain"),
    [(1_000, +5, True), (1_000, 0, True), (1_000, -5, False), (3_000_000, +5, False), (10, +5, False)],
    ids=["a little later", "at once", "the circle was closed", "it may have been closed", "counted anew"],
)
def test_the_floor_holds_only_while_it_is_certain(
    forks: int, last: int, certain: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "_read", told(900, os.getpid(), 4_194_304))
    birth = Birth()
    monkeypatch.setattr(process, "_read", told(forks, os.getpid() + last, 4_194_304))
    assert birth.since() == ((os.getpid(), os.getpid() + last) if certain else (0, sys.maxsize))


def test_where_the_kernel_tells_nothing_every_process_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(path: str, whole: bool = True) -> bytes:
        raise FileNotFoundError(path)

    monkeypatch.setattr(process, "_read", silent)
    assert Birth().since() == (0, sys.maxsize)
