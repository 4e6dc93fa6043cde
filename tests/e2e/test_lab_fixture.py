"""The session's hosts are there, and a test that breaks them leaves them whole."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest

from tests.crowd import crowded
from tests.lab import Lab
from tests.lab.state import HostState

pytestmark = pytest.mark.bare_hosts


def test_three_hosts_answer_ssh(lab: Lab, host: Callable[[int], HostState]) -> None:
    for k in (1, 2, 3):
        argv = ["ssh", "-o", "BatchMode=yes", "-F", f"{lab.dir}/ssh_config", host(k)["addr"], "hostname"]
        p = subprocess.run(argv, text=True, capture_output=True, timeout=30 * crowded())
        assert p.stdout.strip() == host(k)["name"], p.stderr


def test_a_test_may_break_every_host(healed: Lab) -> None:
    healed.poweroff([1])
    healed.fault([2], "no-python")
    healed.sshd([2], "stop")
    healed.drop([3])
    healed.freeze([3])


def test_and_the_next_finds_them_whole(lab: Lab) -> None:
    for s in lab.status():
        assert (s["state"], s["sshd"], s["cut"], s["faults"]) == ("up", True, None, []), s
