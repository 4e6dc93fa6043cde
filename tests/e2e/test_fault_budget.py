"""The last dollar is granted once, whoever races for it; a run that reaches its limit is ended."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import pytest

from tests.e2e.ground import Ground, money
from tests.e2e.owner import Owner, script
from tests.lab import Lab

pytestmark = pytest.mark.slow


@pytest.fixture
def last_dollar(fleet: Owner) -> Iterator[Decimal]:
    """The ceiling leaves exactly one dollar above what was spent; afterwards it is what it was."""
    before = fleet.ask("budget", "show")["scopes"][0]
    spent = Decimal(before["spent_usd"])
    assert Decimal(before["held_usd"]) == 0, "no other run is in flight"
    fleet.run("budget", "set", str(spent + 1)).ok()
    yield spent
    fleet.run("budget", "set", before["ceiling_usd"]).ok()


def test_ten_dispatches_race_for_the_last_dollar(fleet: Owner, lab: Lab, last_dollar: Decimal) -> None:
    host = Ground(fleet, lab, 1)
    task = script("await go", "usage 1 1 0.60")
    words = ("--runtime", "scripted", "--node", "node1", "--workspace", "none", "--budget", "0.75")
    racers = [fleet.begin("dispatch", "--detach", "--json", *words, task) for _ in range(10)]
    ended = [(racer.communicate(timeout=90), racer.returncode) for racer in racers]
    codes = sorted(code for _, code in ended)
    assert codes == [0] + [5] * 9, ended
    for (_, err), code in ended:
        if code == 5:
            assert "Budget ceiling would be exceeded" in err and "held: $0.75" in err, err
    (out, _), _ = next(one for one in ended if one[1] == 0)
    run = out.split('"run": "')[1].split('"')[0]
    fleet.running(run)
    (tree,) = host.home.glob(f"work/{run}.*/tree")
    (tree / "go").touch()
    assert fleet.ended(run)["outcome"] == "done"
    spent, held = money(fleet)
    assert (Decimal(spent), Decimal(held)) == (last_dollar + Decimal("0.60"), Decimal(0))


def test_reaching_the_limit_in_the_middle_of_a_run_ends_it(fleet: Owner) -> None:
    before, _ = money(fleet)
    task = script("usage 1 1 0.03", "say half", "usage 1 1 0.03", "say never", "sleep 60")
    words = ("--runtime", "scripted", "--node", "node1", "--workspace", "none", "--budget", "0.05")
    said = fleet.run("dispatch", "--json", *words, task)
    assert said.code == 15, said
    run = said.json()
    assert run["outcome"] == "budget_exceeded", run
    log = fleet.run("runs", "logs", run["run"]).ok().out
    assert "half" in log and "never" not in log
    after, held = money(fleet)
    moved = Decimal(after) - Decimal(before)
    assert (moved, Decimal(held)) == (Decimal("0.06"), Decimal(0)), "what was really spent is booked in full"
