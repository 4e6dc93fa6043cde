"""What a failed bring-up or removal tells a user to do."""

from __future__ import annotations

from pancode.fleet.commands.fleet import _format_status
from pancode.fleet.ssh.bringup import before_it_is_cleaned, problem_of
from pancode.fleet.ssh.errors import ConnectError, LinkFault, LinkLost
from pancode.fleet.ssh.link import LinkKind, LinkState
from pancode.fleet.ssh.links import news_of
from tests.fakes.answers import fleet, machine


def test_a_removed_machine_that_is_back_with_another_key_is_trusted_first() -> None:
    changed = ConnectError(LinkFault.HOST_KEY_CHANGED, "it has changed", fix="pancode node trust gpubox")
    assert before_it_is_cleaned(changed) == "pancode node trust gpubox; then it is cleaned automatically"
    assert before_it_is_cleaned(LinkLost("cut")) == "nothing: it is cleaned when it is reachable again"


def test_a_cut_link_names_the_machine_and_leaves_no_old_state_in_the_table() -> None:
    assert "(ssh gpubox true)" in problem_of(LinkLost("cut"), "gpubox")["fix"]
    cut = news_of("gpubox", LinkState(LinkKind.DOWN, error=LinkLost("cut")))
    assert "(ssh gpubox true)" in cut.fix, "also where the link broke later"
    answer = fleet(machine("gpubox", problems=[{"what": "gone", "fix": "pancode fleet up"}]))
    shown = _format_status(answer, {"gpubox"})
    assert "unknown" in shown and "online" not in shown and "gone" not in shown
    assert "online" in _format_status(answer) and "gone" in _format_status(answer)
