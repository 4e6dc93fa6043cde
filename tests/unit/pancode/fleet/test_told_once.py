"""A note that nobody can act on is told with a machine's first bring-up, and not each time."""

from __future__ import annotations

from pancode.fleet.acts import NodeResult
from pancode.fleet.ssh.readiness import Weight

NOTE = {"what": "no systemd user services", "fix": "", "weight": Weight.NOTE.value}
TO_DO = {
    "what": "user services stop when the user's last login ends",
    "fix": "loginctl",
    "weight": Weight.NOTE.value,
}
FAULT = {"what": "the host went away", "fix": ""}


def test_it_is_told_once() -> None:
    every = (NOTE, TO_DO, FAULT)
    assert NodeResult("n", True, every).news().problems == every
    assert NodeResult("n", True, every, again=True).news().problems == (TO_DO, FAULT)
