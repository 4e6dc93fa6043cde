"""The last dollar is granted once, whoever races for it; a run that reaches its limit is ended."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import pytest

from tests.crowd import crowded
from tests.e2e.ground import Ground, money
from tests.e2e.owner import Owner, script
from tests.lab import Lab

pytestmark = pytest.mark.slow


AGENT = "agent:builder"
"""Its ceiling has no day, so midnight gives nobody more."""


def books(fleet: Owner) -> tuple[Decimal, Decimal]:
    """Spent and held: earlier tests may have left runs of which nobody knows what they cost."""
    scopes = {scope["scope"]: scope for scope in fleet.ask("budget", "show")["scopes"]}
    return Decimal(scopes[AGENT]["spent_usd"]), Decimal(scopes[AGENT]["held_usd"])


@pytest.fixture
def last_dollar(fleet: Owner) -> Iterator[tuple[Decimal, Decimal]]:
    """The ceiling leaves exactly one dollar above what is spent and held; afterwards there is none."""
    fleet.run("budget", "set", "1000", "--scope", AGENT).ok()
    spent, held = books(fleet)
    fleet.run("budget", "set", str(spent + held + 1), "--scope", AGENT).ok()
    yield spent, held
    fleet.run("budget", "set", "none", "--scope", AGENT).ok()


def test_ten_dispatches_race_for_the_last_dollar(
    fleet: Owner, lab: Lab, last_dollar: tuple[Decimal, Decimal]
) -> None:
    host, (spent, held) = Ground(fleet, lab, 1), last_dollar
    told = f"reserved: ${held + Decimal('0.75'):.2f}"
    task = script("await go", "usage 1 1 0.60")
    words = ("--runtime", "scripted", "--node", "node1", "--workspace", "none", "--budget", "0.75")
    racers = [fleet.begin("dispatch", "--detach", "--json", *words, task) for _ in range(10)]
    ended = [(racer.communicate(timeout=90 * crowded()), racer.returncode) for racer in racers]
    codes = sorted(code for _, code in ended)
    assert codes == [0] + [5] * 9, ended
    for (_, err), code in ended:
        if code == 5:
            assert "Budget ceiling would be exceeded" in err and told in err, err
    (out, _), _ = next(one for one in ended if one[1] == 0)
    run = out.split('"run": "')[1].split('"')[0]
    fleet.running(run)
    (tree,) = host.home.glob(f"work/{run}.*/tree")
    (tree / "go").touch()
    assert fleet.ended(run)["outcome"] == "done"
    assert books(fleet) == (spent + Decimal("0.60"), held)


def test_reaching_the_limit_in_the_middle_of_a_run_ends_it(fleet: Owner) -> None:
    spent, held = money(fleet)
    task = script("usage 1 1 0.03", "say half", "usage 1 1 0.03", "say never", "sleep 60")
    words = ("--runtime", "scripted", "--node", "node1", "--workspace", "none", "--budget", "0.05")
    said = fleet.run("dispatch", "--json", *words, task)
    assert said.code == 15, said
    run = said.json()
    assert run["outcome"] == "budget_exceeded", run
    log = fleet.run("runs", "logs", run["run"]).ok().out
    assert "half" in log and "never" not in log
    assert money(fleet) == (spent + Decimal("0.05"), held), "its limit counts"
    assert Decimal(fleet.show(run["run"])["usage"]["disputed_usd"]) == Decimal("0.01")
    fleet.run("budget", "settle", run["run"], "--usd", "0.06").ok()
    assert money(fleet) == (spent + Decimal("0.06"), held), "a user has accepted the rest"
