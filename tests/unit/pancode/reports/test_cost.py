"""What runs have cost: by each property the sums of the books, whatever became of the runs; and the alert."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node_agent.wire.failure import FailureKind, Outcome
from node_agent.wire.job import Job
from node_agent.wire.receipt import Usage
from pancode.budget.answers import BY
from pancode.budget.books import Ceilings, add_amounts, is_day
from pancode.kernel.errors import NotFoundError, RefusedError, UsageError
from pancode.kernel.records import Audit, Balance, EventKind
from pancode.reports.brief import make_brief
from pancode.reports.cost_report import report_cost
from pancode.reports.track_records import track_records
from pancode.reports.workers import list_workers
from pancode.runs import views as query
from pancode.runs.ceilings import set_ceilings, settle_by_hand
from pancode.runs.stop import stop_run
from tests.unit.pancode.runs.world import Desk, Puppet, failed

ENDS = ("done", "failed", "unknown", "stopped", "settled", "retried")
RUNS = st.lists(
    st.tuples(
        st.sampled_from(ENDS),
        st.sampled_from(("builder", "reviewer")),
        st.sampled_from((None, "m1")),
        st.sampled_from((None, "/home/ana/shop")),
        st.decimals("0", "1", places=6),
    ),
    max_size=6,
)


@pytest.fixture
def coordinator() -> Desk:
    return Desk()


def usage(usd: Decimal | None) -> Usage:
    used: dict[str, Any] = {"cost_usd": usd, "cost_source": "unknown" if usd is None else "reported"}
    return Usage(**used, input_tokens=7, output_tokens=3, agent_ms=60_000)


def claimed(coordinator: Desk, node: Puppet) -> Job:
    for _ in range(3):
        node.breathe()
        coordinator.turn()
        job = node.claim()
        if job is not None:
            return job
    raise AssertionError("nothing was offered")


def play(coordinator: Desk, node: Puppet, run: str, end: str, usd: Decimal, /, **more: Any) -> None:
    """One run from its dispatch to that end."""
    coordinator.dispatch(run, usd="0.05", **more)
    if end == "stopped":
        stop_run(coordinator.core, run, "ana said so")
        coordinator.turn()
        return
    job = claimed(coordinator, node)
    assert job.identity.run == run
    node.start(job)
    if end == "retried":
        ended = failed(FailureKind.PROCESS_VANISHED, Outcome.INFRA)
        node.deliver(job, usage=usage(usd), **ended)
        coordinator.turn(20_000)
        job = claimed(coordinator, node)
        assert job.identity.attempt == 2
    ended = {} if end != "failed" else failed(FailureKind.AGENT_FAILED, Outcome.ERROR)
    node.deliver(job, usage=usage(None if end in ("unknown", "settled") else usd), **ended)
    coordinator.turn()
    if end == "settled":
        settle_by_hand(coordinator.core, run, usd, "ana")


@settings(max_examples=25, deadline=None)
@given(RUNS)
def test_by_every_property_the_sums_are_those_of_the_books(runs: list[tuple[Any, ...]]) -> None:
    coordinator = Desk("100")
    node = Puppet(coordinator)
    node.breathe()
    for number, (end, agent, model, project, usd) in enumerate(runs):
        play(coordinator, node, f"r-{number:04}", end, usd, agent=agent, model=model, project=project)
        coordinator.turn(61_000)  # several failures within a minute would pause the fleet
    coordinator.check_books()
    days = [b for b in coordinator.rows(Balance) if is_day(b.scope)]
    spent, unknown = add_amounts(*(b.spent_usd for b in days)), sum(b.unknown_runs for b in days)
    ran = sum(end != "stopped" for end, *_ in runs)
    for by in BY:
        answer = report_cost(coordinator.core, by, 0, 100)
        rows, whole = answer["rows"], answer["total"]
        assert Decimal(whole["usd"]) == spent == add_amounts(*(Decimal(row["usd"]) for row in rows)), by
        assert whole["unknown_runs"] == unknown == sum(row["unknown_runs"] for row in rows), by
        assert whole["runs"] == ran == sum(row["runs"] for row in rows), by
        assert whole["tokens"] == sum(b.tokens for b in days) == sum(row["tokens"] for row in rows), by


def test_rows_beyond_the_limit_are_counted_and_since_leaves_out_what_was_before(coordinator: Desk) -> None:
    node = Puppet(coordinator)
    node.breathe()
    play(coordinator, node, "r-0001", "done", Decimal("0.2"))
    coordinator.turn(60_000)
    since = coordinator.clock.wall_ms()
    play(coordinator, node, "r-0002", "done", Decimal("0.3"))
    answer = report_cost(coordinator.core, "run", 0, 1)
    assert [row["key"] for row in answer["rows"]] == ["r-0002"] and answer["left_out"] == 1
    assert answer["rows"][0]["about"] == "done  builder: true"
    late = report_cost(coordinator.core, "agent", since, 10)
    assert [(row["key"], row["usd"], row["runs"]) for row in late["rows"]] == [("builder", "0.3", 1)]
    with pytest.raises(NotFoundError) as wrong:
        report_cost(coordinator.core, "modle", 0, 1)
    assert "model" in wrong.value.fix


@pytest.mark.parametrize("scope", ["week", "month", "repo:/home/ana/shop"])
def test_a_week_a_month_and_a_repository_have_ceilings(coordinator: Desk, scope: str) -> None:
    node = Puppet(coordinator)
    node.breathe()
    play(coordinator, node, "r-0001", "done", Decimal("0.50"), project="/home/ana/shop")
    set_ceilings(coordinator.core, scope, Ceilings(Decimal("0.60")), "ana")
    coordinator.dispatch("r-0002", usd="0.05", project="/home/ana/shop")
    with pytest.raises(RefusedError, match=r"\$0\.50.*\$0\.05.*\$0\.20"):
        coordinator.dispatch("r-0003", usd="0.20", project="/home/ana/shop")
    coordinator.check_books()


def test_a_ceiling_of_a_repository_holds_no_other(coordinator: Desk) -> None:
    set_ceilings(coordinator.core, "repo:/home/ana/shop", Ceilings(Decimal("0.01")), "ana")
    coordinator.dispatch("r-0001", usd="0.20", project="/home/ana/else")
    coordinator.dispatch("r-0002", usd="0.20")


def alerts(coordinator: Desk) -> list[dict[str, object]]:
    return [e.data for e in coordinator.core.feed.newest(1_000) if e.kind is EventKind.BUDGET_ALERT]


def test_at_eighty_percent_a_user_is_told_once_for_each_ceiling(coordinator: Desk) -> None:
    set_ceilings(coordinator.core, "week", Ceilings(Decimal(1)), "ana")
    coordinator.dispatch("r-0001", usd="0.79")
    assert alerts(coordinator) == []
    coordinator.dispatch("r-0002", usd="0.01")
    coordinator.dispatch("r-0003", usd="0.10")
    (told,) = alerts(coordinator)
    assert told["percent"] == 80 and str(told["scope"]).startswith("week:")
    (entry,) = [a for a in coordinator.rows(Audit) if a.what == "80 % of a ceiling is used"]
    assert (entry.domain, entry.level, entry.detail["ceiling"]) == ("budget", "warning", "$1.00")
    coordinator.restart()
    coordinator.dispatch("r-0004", usd="0.01")
    assert len(alerts(coordinator)) == 1, "once, also over a restart"
    set_ceilings(coordinator.core, "week", Ceilings(Decimal("1.05")), "ana")
    coordinator.dispatch("r-0005", usd="0.01")
    assert len(alerts(coordinator)) == 2, "another ceiling has an alert of its own"


def test_a_worker_is_an_agent_on_a_runtime_and_node(coordinator: Desk) -> None:
    node = Puppet(coordinator)
    node.breathe()
    play(coordinator, node, "r-0001", "done", Decimal("0.2"))
    play(coordinator, node, "r-0002", "unknown", Decimal(0))
    coordinator.dispatch("r-0003", agent="reviewer")
    claimed(coordinator, node)
    found = list_workers(coordinator.core)
    assert [(w["agent"], w["node"], [n["run"] for n in w["now"]]) for w in found] == [
        ("reviewer", "n1", ["r-0003"]),
        ("builder", "n1", []),
    ]
    idle = found[1]
    assert (idle["runs"], idle["done"], idle["usd"], idle["unknown_runs"]) == (2, 2, "0.2", 1)


def test_all_attempts_count_wherever_the_cost_of_a_run_is_told(coordinator: Desk) -> None:
    node = Puppet(coordinator)
    node.breathe()
    play(coordinator, node, "r-0001", "retried", Decimal("0.2"))
    core = coordinator.core
    assert report_cost(core, "run", 0, 1)["total"]["usd"] == "0.4"
    (worker,) = list_workers(core)
    (record,) = track_records(core, None, True, 10)
    assert worker["usd"] == "0.4" == query.get_run_shape(core, "r-0001")["usage"]["cost_usd"]
    assert query.get_run_shape(core, "r-0001")["usage"]["input_tokens"] == 14
    assert record["unknown_runs"] == 0
    assert "$0.40" in make_brief(core, "ana", "2000-01-01").ran[0]["what"]


def test_a_cost_that_a_user_has_settled_is_unknown_nowhere(coordinator: Desk) -> None:
    node = Puppet(coordinator)
    node.breathe()
    play(coordinator, node, "r-0001", "settled", Decimal("0.3"))
    core = coordinator.core
    (worker,) = list_workers(core)
    (record,) = track_records(core, None, True, 10)
    assert (worker["usd"], worker["unknown_runs"], record["unknown_runs"]) == ("0.3", 0, 0)
    assert "$0.30" in make_brief(core, "ana", "2000-01-01").ran[0]["what"]


def test_since_falls_between_the_attempts_of_a_run(coordinator: Desk) -> None:
    node = Puppet(coordinator)
    node.breathe()
    play(coordinator, node, "r-0001", "unknown", Decimal(0), model="opus")
    coordinator.turn(60_000)
    since = coordinator.clock.wall_ms()
    play(coordinator, node, "r-0002", "done", Decimal("0.3"), model="opus")
    settle_by_hand(coordinator.core, "r-0001", Decimal("0.5"), "ana")
    for by, key in (("run", "r-0001"), ("model", "opus")):
        found = {
            row["key"]: (row["usd"], row["runs"])
            for row in report_cost(coordinator.core, by, since, 9)["rows"]
        }
        assert found[key] == (("0.5", 1) if by == "run" else ("0.8", 2))
    few = report_cost(coordinator.core, "run", 0, 1)
    assert (few["left_out"], few["total"]["usd"], few["total"]["runs"]) == (1, "0.8", 2)


def test_the_cost_of_one_agent_node_or_repository(coordinator: Desk) -> None:
    """The sum of its runs, whatever became of them, also of one of unknown cost; the parts are the whole."""
    nodes, shop = [Puppet(coordinator, "n1"), Puppet(coordinator, "n2")], "/home/ana/shop"
    ends = ("done", "failed", "unknown", "settled", "retried", "stopped")
    for number, end in enumerate(ends * 2):
        node, agent = nodes[number % 2], ("builder", "reviewer")[number % 3 == 0]
        more: dict[str, Any] = {"agent": agent, "node": node.name, "project": shop if number % 4 else None}
        play(coordinator, node, f"r-{number:04}", end, Decimal("0.01") * (number + 1), **more)
    core = coordinator.core
    for by in ("agent", "node", "repository"):
        for row in report_cost(core, by, 0, 50)["rows"]:
            if row["key"] is None:
                continue
            only = {by: row["key"]}
            for other in ("run", "model", by):
                whole = report_cost(core, other, 0, 50, only)["total"]
                figures = (whole["usd"], whole["tokens"], whole["unknown_runs"])
                assert figures == (row["usd"], row["tokens"], row["unknown_runs"]), (by, row["key"], other)
    both = report_cost(core, "run", 0, 50, {"agent": "reviewer", "node": "n2"})["rows"]
    assert {row["key"] for row in both} == {"r-0003", "r-0009"}
    with pytest.raises(UsageError):
        report_cost(core, "day", 0, 50, {"node": "n1"})
