"""No schedule is fired for ever by what it has itself led to."""

from __future__ import annotations

from typing import Any

import pytest

from node_agent.wire.failure import FailureKind, Outcome
from pancode.kernel.records import EventKind, Run
from pancode.kernel.values import replace
from pancode.landing import judgement as judging
from pancode.landing.rules import require_gates
from pancode.runs.whole_changes import change_of
from pancode.schedules.records import FiringState
from tests.unit.pancode.runs.world import failed
from tests.unit.pancode.schedules.world import Times

FAILS: dict[str, Any] = failed(FailureKind.AGENT_FAILED, Outcome.ERROR)


def _judged(times: Times, run: Run) -> Run:
    """Its landing's gates, queued as the lander does."""
    core = times.desk.core
    by, gates = f"{run.created_by} (dispatch --land)", require_gates(change_of(core, run))
    return judging.begin_judging(core, run, judging.reserve_run_id(core), "c" * 40, by, gates)


@pytest.mark.parametrize(("occasion", "ended"), [("run.done", {}), ("run.failed", FAILS)])
def test_a_run_that_judges_fires_nothing(times: Times, occasion: str, ended: dict[str, Any]) -> None:
    times.add("looker", on=occasion)
    times.world.dispatch()
    times.play(**ended)
    times.pass_(1_000)
    (_, own) = times.runs()
    times.play(**ended)
    times.pass_(1_000)
    assert times.states("looker") == ["begun", "skipped"]
    judging = _judged(times, times.desk.row(Run, own.id))
    times.play(**ended)
    times.pass_(1_000)
    assert times.desk.row(Run, judging.id).state == "ended" and judging.judges == own.id
    assert times.states("looker") == ["begun", "skipped"], "it is not a work of its own"


@pytest.mark.parametrize("link", ["judges", "continues", "retry_of", "parent"])
def test_what_goes_on_from_its_own_run_does_not_call_it(times: Times, link: str) -> None:
    times.add("looker", on="run.failed")
    times.world.dispatch(task="false")
    times.play(**FAILS)
    times.pass_(1_000)
    own = times.runs()[-1]
    times.play(**FAILS)
    times.pass_(1_000)
    later = times.desk.row(Run, times.world.dispatch(task="false")["run"])
    terms = {**later.terms, link: own.id} if link in ("judges", "continues") else later.terms
    told = {"terms": terms} if link in ("judges", "continues") else {link: own.id}
    with times.desk.ledger.transaction() as tx:
        tx.put(replace(later, **told))
    times.play(**FAILS)
    times.pass_(1_000)
    assert times.states("looker").count("begun") == 1, times.show("looker")["firings"]


def test_two_schedules_that_are_refused_do_not_call_each_other_for_ever(times: Times) -> None:
    for name in ("one", "two"):
        times.add(name, on="schedule.failed")
    times.add("nightly", at="2030-01-01 08:00")
    assert times.world.http.post("/v1/fleet/drain", {"reason": "new disk"}).status_code == 200
    times.act("run")
    for _ in range(20):
        times.pass_(1_000)
    for name in ("one", "two"):
        rows = times.states(name)
        assert rows.count("refused") <= 3 and len(rows) < 10, rows
    told = [e for e in times.desk.core.feed.newest(200) if e.kind is EventKind.SCHEDULE_FIRED]
    assert {e.data["depth"] for e in told if e.data["state"] == FiringState.REFUSED} == {0, 1, 2, 3}
    assert all(e.data["key"] for e in told)
