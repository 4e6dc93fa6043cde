"""What the fleet tells in figures: runs, machines, queues, money; and who may ask for them how."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pancode import __version__
from pancode.fleet import inventory
from pancode.interfaces.http.context import ApiContext as ApiDesk
from pancode.kernel.errors import UnavailableError
from pancode.reports.figures import FIGURES
from pancode.reports.routes import figures_app
from pancode.runs.stop import stop_run
from tests.unit.pancode.interfaces.http.world import FACTS, Http, MemoryCoordinator, client_of
from tests.unit.pancode.runs.world import Desk, Puppet

LINE = re.compile(r'[a-z_]+(\{[a-z_]+="[^"]*"(,[a-z_]+="[^"]*")*\})? -?[0-9.e+-]+')


@pytest.fixture
def context() -> Desk:
    return Desk()


@pytest.fixture
def coordinator(context: Desk, tmp_path: Path) -> MemoryCoordinator:
    return MemoryCoordinator(context, tmp_path)


def values(coordinator: MemoryCoordinator) -> dict[str, float]:
    """By name, with the values of its labels after it."""
    told = client_of(coordinator).get("/v1/metrics").json()["figures"]
    return {" ".join([one["name"], *filter(None, one["labels"].values())]): one["value"] for one in told}


def test_a_run_is_counted_where_it_stands_and_where_it_ends(
    context: Desk, coordinator: MemoryCoordinator
) -> None:
    node = Puppet(context, "n1", slots=2)
    node.breathe()
    context.dispatch()
    waiting = values(coordinator)
    assert waiting["pancode_runs pending"] == waiting["pancode_queue_waiting pool.any"] == 1
    assert waiting["pancode_budget_held_usd"] == 0.75
    context.turn()
    job = node.take()
    node.start(job)
    context.turn()
    working = values(coordinator)
    assert (working["pancode_runs running"], working["pancode_node_slots_used n1"]) == (1, 1)
    node.deliver(job)
    context.turn()
    over = values(coordinator)
    assert over["pancode_runs running"] == over["pancode_budget_held_usd"] == 0
    assert over["pancode_runs_ended_total done claude n1"] == over["pancode_agent_runs_total builder"] == 1
    assert over["pancode_budget_spent_usd"] == over["pancode_node_cost_usd n1"] == 0.1
    assert (over["pancode_node_tokens_total n1"], over["pancode_node_slots n1"]) == (10, 2)
    assert over["pancode_node_up n1"] == over["pancode_nodes online"] == 1


def test_a_run_that_is_stopped_before_anybody_had_it_has_ended_nowhere(
    context: Desk, coordinator: MemoryCoordinator
) -> None:
    run = context.dispatch()
    stop_run(context.core, run.id, "not needed")
    stop_run(context.core, run.id, "not needed")
    assert values(coordinator)["pancode_runs_ended_total interrupted claude"] == 1


def test_every_figure_is_in_the_catalogue_with_its_labels_and_is_text_that_can_be_read(
    context: Desk, coordinator: MemoryCoordinator
) -> None:
    Puppet(context, "n1").breathe()
    context.dispatch()
    answer = client_of(coordinator).get("/v1/metrics").json()
    for one in answer["figures"]:
        assert tuple(one["labels"]) == FIGURES[one["name"]].labels, one
    lines = [line for line in answer["text"].splitlines() if not line.startswith("#")]
    assert len(lines) == len(answer["figures"]) > 30
    assert [line for line in lines if not LINE.fullmatch(line)] == []
    for name, figure in FIGURES.items():
        assert (figure.kind == "counter") == name.endswith("_total"), name


def test_what_is_not_known_is_left_out(context: Desk, coordinator: MemoryCoordinator) -> None:
    def away() -> int:
        raise UnavailableError("Redis is away")

    context.core.ports.bus.used = away  # type: ignore[method-assign]
    found = values(coordinator)
    assert "pancode_redis_used_bytes" not in found
    assert "process_resident_memory_bytes" not in found
    assert found["process_open_fds"] == 12


def test_a_link_that_goes_by_itself_has_broken_and_one_that_is_closed_has_not(
    context: Desk, coordinator: MemoryCoordinator
) -> None:
    Puppet(context, "n1").breathe()
    assert "pancode_node_link_up n1" not in values(coordinator), "nobody has tried yet"
    story = [(False, True), (True, False), (False, True), (False, True), (True, False), (False, False)]
    told = []
    for up, broken in story:  # refused at first; up; broken; refused; up; closed
        inventory.count_link_state(context.core, "n1", up, broken)
        found = values(coordinator)
        told.append((found["pancode_node_link_up n1"], found["pancode_node_link_breaks_total n1"]))
    assert told == [(0, 0), (1, 0), (0, 1), (0, 1), (1, 1), (0, 1)]


def test_the_port_has_one_page_which_changes_nothing(context: Desk, coordinator: MemoryCoordinator) -> None:
    shown = Http(figures_app(ApiDesk(coordinator, dict(FACTS), lambda by: None)))
    page = shown.get("/metrics")
    assert page.status_code == 200 and page.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert f'pancode_build_info{{version="{__version__}"' in page.text
    assert shown.post("/metrics").status_code == 405
    for path in ("/", "/v1/ping", "/v1/runs", "/v1/shutdown"):
        assert shown.get(path).status_code == 404, path


def test_a_ledger_that_cannot_be_read_is_no_page_and_no_story(
    context: Desk, coordinator: MemoryCoordinator
) -> None:
    context.ledger.close()
    page = Http(figures_app(ApiDesk(coordinator, dict(FACTS), lambda by: None))).get("/metrics")
    assert (page.status_code, page.text) == (503, "the ledger cannot be read at the moment\n")
