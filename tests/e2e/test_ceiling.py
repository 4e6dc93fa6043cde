"""Runs without a budget of their own spend up to the day's ceiling, plus at most the calls that were open."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tests.clis.launched import NATIVE
from tests.e2e.owner import Owner
from tests.e2e.programs import (
    PORT,
    await_state,
    give_prices,
    give_secrets,
    installed,
    model_on,
    project,
    requests_in,
)
from tests.lab import Lab

pytestmark = pytest.mark.slow
K = 1
EACH = Decimal("0.16")
"""What one call costs: 1,000 tokens at $160 for a million."""
ROOM = Decimal(3)
"""What one run at a time may still spend of the day: more than is reserved for it at first."""
SCRIPT = {
    "turns": [
        {"tool": "read", "args": {"path": "${cwd}/notes.txt"}, "usage": {"input": 1_000, "output": 34}}
    ],
    "no_tools": "turns",
}
WHERE = ("--runtime", "native", "--model", NATIVE.model, "--node", f"node{K}")
KINDS = {
    "headless": (("dispatch", *WHERE, "--agent", "builder", "Rewrite everything"), 1),
    "chat": (("chat", *WHERE, "--agent", "builder", "--once", "Rewrite everything"), 1),
    "Panos": (("chat", *WHERE, "--agent", "panos", "--once", "Rewrite everything"), 1),
    "race": (("workflow", "race", "--best-of", "2", *WHERE, "--agent", "builder", "Rewrite everything"), 2),
    "chain": (("workflow", "chain", *WHERE, "--agent", "builder", "two.yaml"), 1),
}


def day(fleet: Owner) -> dict[str, Decimal]:
    (scope,) = (one for one in fleet.ask("budget", "show")["scopes"] if one["scope"].startswith("day:"))
    return {name: Decimal(scope[f"{name}_usd"]) for name in ("spent", "held", "disputed")}


@pytest.mark.parametrize("kind", KINDS)
def test_no_kind_of_run_passes_the_ceiling(fleet: Owner, healed: Lab, kind: str) -> None:
    words, at_once = KINDS[kind]
    top = project(fleet, f"ceiling-{kind}")
    (top / "two.yaml").write_text(
        "steps: [{name: a, task: Rewrite it}, {name: b, task: Again, needs: [a]}]\n"
    )
    with installed(healed, "native", [K]), model_on(healed, K, SCRIPT) as log:
        give_secrets(healed, K, dict(NATIVE.env(f"http://127.0.0.1:{PORT}")))
        give_prices(healed, K, {NATIVE.model: "160 0 0 0"})
        await_state(fleet, K, "native", "ok")
        before = day(fleet)
        room = ROOM * at_once
        ceiling = before["spent"] + before["held"] + room
        fleet.run("budget", "set", str(ceiling)).ok()
        said = fleet.run(*words, cwd=top, timeout_s=240)
        metered = len(requests_in(log)) * EACH
        after = day(fleet)
    fleet.run("budget", "set", "none").ok()
    assert said.code != 0, said
    assert room / 2 < metered <= room + EACH * at_once, (metered, said)
    assert after["spent"] - before["spent"] == metered, "all of it counts"
    assert (after["held"], after["disputed"]) == (before["held"], before["disputed"])
