"""A note that nobody can act on is told with a machine's first bring-up, and not each time."""

from __future__ import annotations

from pancode.adapters.ssh.readiness import Weight
from pancode.wiring.bringup import UpResult

NOTE = {"what": "no systemd user services", "fix": "", "weight": Weight.NOTE.value}
TO_DO = {"what": "user services end with the last login", "fix": "loginctl", "weight": Weight.NOTE.value}
FAULT = {"what": "the host went away", "fix": ""}


def test_it_is_told_once() -> None:
    every = (NOTE, TO_DO, FAULT)
    assert UpResult("n", True, every).news == every
    assert UpResult("n", True, every, again=True).news == (TO_DO, FAULT)
