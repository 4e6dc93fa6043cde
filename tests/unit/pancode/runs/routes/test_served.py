"""What `why` and `runs show` say of a run's model: who chose it, where it is, what its test said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from node_agent.wire.endpoint import Grade, ModelFact, Residence
from pancode.agents.endpoints import describe_server
from pancode.kernel.records import Run
from tests.unit.pancode.agents.routes.test_exams import Local, passport
from tests.unit.pancode.interfaces.http.world import World
from tests.unit.pancode.kernel.fleets import endpoint, node


@pytest.fixture
def world(tmp_path: Path) -> Local:
    return Local(tmp_path)


def lines(world: Local, run: str) -> list[tuple[str, str, str]]:
    told = world.http.get(f"/v1/runs/{run}/why").json()["decisions"]
    return [(one["what"], one["verdict"], one["detail"]) for one in told if one["kind"] == "model"]


def queued(world: Local, **more: Any) -> str:
    answer = world.http.post("/v1/runs", world.body(told_only=True, **more))
    assert answer.status_code == 201, answer.text
    return str(answer.json()["run"])


def test_where_it_is_and_what_its_test_said(world: Local) -> None:
    world.tell(passport())
    run = queued(world)
    world.claim()
    chosen, where = lines(world, run)
    assert chosen == ("ollama/qwen3", "chosen", "--model")
    assert where[:2] == ("ollama/qwen3", "served")
    assert where[2].startswith(
        "at 127.0.0.1:11434: context 32768 of ? tokens, loaded, ? of ? slots free, test passed "
    )
    shown = world.http.get(f"/v1/runs/{run}").json()
    assert shown["model_from"] == "--model"
    about = shown["served"]
    assert (about["node"], about["endpoint"], about["model"]) == ("n1", "ollama", "qwen3")
    assert (about["ctx_usable"], about["residence"], about["test"]["verdict"]) == (32_768, "loaded", "passed")
    assert about["words"] == where[2]


def test_a_test_that_was_passed_over_is_told(world: Local) -> None:
    world.tell(passport(Grade.FAILED))
    run = queued(world, untested=True)
    world.claim()
    assert "test failed (context: 4096 tokens)" in lines(world, run)[1][2]
    assert lines(world, run)[1][2].endswith("ago, ignored because of --untested")


def test_who_chose_it(world: Local) -> None:
    world.tell(passport())
    home = world.coordinator.home
    (home / "pancode.yaml").write_text("models:\n  worker: ollama/qwen3\n")
    run = queued(world, model=None, agent="builder")
    assert lines(world, run)[0][2] == f"models.worker ({home}/pancode.yaml:2)"
    scouts = queued(world, model=None, agent="scout", settings={"models.scout": "ollama/qwen3"})
    assert lines(world, scouts)[0][2] == "models.scout (PANCODE_SCOUT_MODEL)"
    (home / "panagents.yaml").write_text("agents:\n  builder:\n    model: ollama/qwen3\n")
    mine = queued(world, model=None, agent="builder")
    assert lines(world, mine)[0][2] == f"agent builder ({home}/panagents.yaml:2)"


def test_a_program_of_ones_own_has_none(tmp_path: Path) -> None:
    world = World(tmp_path)
    run = world.dispatch()["run"]
    world.claim()
    assert not any(
        one["kind"] == "model" for one in world.http.get(f"/v1/runs/{run}/why").json()["decisions"]
    )
    assert world.http.get(f"/v1/runs/{run}").json()["served"] is None


def test_how_long_its_calls_waited_for_a_slot(world: Local) -> None:
    world.tell(passport())
    run = queued(world)
    with world.context.ledger.transaction() as tx:
        row = tx.get(Run, run)
        assert row is not None
        tx.put(replace(row, result={"calls": {"waited_ms": 3_240}}))
    told = world.http.get(f"/v1/runs/{run}/why").json()["now"]
    assert told.endswith("; its model calls waited 3.2 s for a free slot of ollama")


@pytest.mark.parametrize(
    ("ms", "words"),
    [(5_000, "5 s ago"), (125_000, "2 min ago"), (7_200_000, "2 h ago"), (200_000_000, "2 d ago")],
)
def test_how_old_a_test_is(world: Local, ms: int, words: str) -> None:
    world.tell(passport())
    run = world.context.row(Run, queued(world))
    model = ModelFact(id="qwen3", passport=passport(), residence=Residence.ASLEEP, ctx_usable=8, ctx_max=9)
    view = node("n1", endpoints=(endpoint("ollama", model, slots=2, slots_free=1),))
    about = describe_server(run, view, passport().taken_ms + ms)
    assert about["words"] == (
        f"at 127.0.0.1:1: context 8 of 9 tokens, asleep, 1 of 2 slots free, test passed {words}"
    )
    assert "reported nothing" in describe_server(run, node("n2"), 0)["words"]
