"""A signal at any moment ends what a worker has started, also while it is being started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from node_agent.native.tools.shell import Children
from tests.clis.launched import await_end
from tests.crowd import crowded

STARTS = """
import os, signal, subprocess, sys
from node_agent.native.tools import shell as children

class Slow(subprocess.Popen):
    def __init__(self, *given, **named):
        super().__init__(*given, **named)
        os.kill(os.getpid(), signal.SIGTERM)  # it runs, and nobody has been given it

children.subprocess.Popen = Slow
children.CHILDREN.end_with_us()
children.CHILDREN.start(sys.argv[1:], start_new_session=True)
sys.exit("the signal was not heard")
"""


def test_a_signal_in_the_midst_of_a_start() -> None:
    long = f"sleep 300.{os.getpid()}7"
    done = subprocess.run(
        [sys.executable, "-c", STARTS, *long.split()], capture_output=True, text=True, timeout=60 * crowded()
    )
    assert (done.returncode, done.stderr) == (128 + signal.SIGTERM, "")
    await_end(long)


def test_what_is_over_is_not_ended_again() -> None:
    left: list[int] = []
    children = Children(left.append)
    first = children.start(["true"], start_new_session=True)
    children.over(first)
    second = children.start(["sleep", "300"], start_new_session=True)
    assert second.poll() is None and children.alive == [second]
    children.end(3)
    assert left == [3] and second.wait(30 * crowded()) == -signal.SIGKILL


def test_one_in_the_group_of_its_parent_is_ended_and_its_parent_is_not() -> None:
    left: list[int] = []
    children = Children(left.append)
    driver = children.start(["sleep", "300"])
    children.end(4)
    assert left == [4] and driver.wait(30 * crowded()) == -signal.SIGKILL
