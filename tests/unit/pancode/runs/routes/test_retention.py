"""Files of old runs: what nobody needs goes once it is old, and nothing that anybody stands on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from node_agent.wire.failure import Outcome
from pancode.kernel.records import Record, Run, RunState, SessionRow
from pancode.kernel.values import replace
from pancode.runs.retention.parts import RunFiles
from pancode.runs.retention.rules import DAY_MS, FilesNeed, KeepRules, select_prunable
from pancode.runs.retention.service import DailyRetention
from pancode.workflows.records import Workflow, WorkflowKind, WorkflowState
from tests.unit.pancode.interfaces.http.world import World

GIT = {"kind": "git", "repo": "p-1234", "snapshot": "a" * 40}
CHANGED = {"commit": "d" * 40, "change": "change", "files_changed": ["a.txt"]}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "home")


def ended(world: World, id: str, days: int = 40, **more: Any) -> Run:
    """A run of so many days ago; its commits and logs are on the disk."""
    first: Run = world.context.row(Run, str(world.dispatch()["run"]))
    facts = {"workspace": GIT, "result": CHANGED, "project": "/p", "outcome": Outcome.DONE, "session": id}
    at = world.context.clock.wall_ms() - days * DAY_MS
    made = replace(first, id=id, state=RunState.ENDED, finished_ms=at, **{**facts, **more})
    with world.context.ledger.transaction() as tx:
        tx.put(made)
    world.coordinator.kept_files.named.add(id)
    world.coordinator.kept_files.logs.add(id)
    return made


def collected(world: World, **more: Any) -> dict[str, Any]:
    answer = world.http.post("/v1/gc", {"by": "ana", **more})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_what_is_landed_and_old_goes_and_says_so_everywhere(world: World) -> None:
    files = world.coordinator.kept_files
    run = ended(world, "r-aaaaa2", landed="landed")
    ended(world, "r-aaaaa3", days=10, landed="landed")
    ended(world, "r-aaaaa4", days=100, landed="landed")
    asked = collected(world, dry_run=True)
    assert (asked["changes"], asked["logs"], asked["young"]) == (2, 1, 1) and len(files.named) == 3
    done = collected(world)
    assert (files.named, files.logs) == ({"r-aaaaa3"}, {"r-aaaaa2", "r-aaaaa3"})
    assert files.packed == ["p-1234"]
    assert done["freed"] == 2_010 and done["room"][0] == {"node": None, "what": "depots", "bytes": 1_000}
    assert set(world.context.row(Run, run.id).terms["let_go"]) == {"changes"}
    told = world.problem("GET", "/v1/runs/r-aaaaa4/log")
    assert told["code"] == "files_gone" and "pancode runs show" in told["fix"]
    assert collected(world)["changes"] == 0
    world.coordinator.kept_files.named.add("r-aaaaa4")  # a crash came between the word and the deed
    assert collected(world)["changes"] == 1 and "r-aaaaa4" not in files.named


def test_a_run_that_this_ledger_does_not_know_keeps_its_files(world: World) -> None:
    world.coordinator.kept_files.named.add("r-zzzzz9")
    assert collected(world)["changes"] == 0 and world.coordinator.kept_files.named == {"r-zzzzz9"}


def test_it_happens_by_itself_once_a_day(world: World) -> None:
    ended(world, "r-aaaaa2", landed="landed")
    daily = DailyRetention(world.context.core, world.coordinator.kept_files)
    assert daily.look() and world.coordinator.kept_files.named == set()
    ended(world, "r-aaaaa3", landed="landed")
    assert not daily.look() and world.coordinator.kept_files.packed == ["p-1234"]
    world.context.clock.ms += DAY_MS
    assert daily.look() and world.coordinator.kept_files.named == set()


def needs_of(world: World, run: Run, *rows: Record) -> str:
    """Why the run's files stay while these rows are there; empty: they may go."""
    with world.context.ledger.transaction() as tx:
        for row in (run, *rows):
            tx.put(row)
    kept = collected(world)["kept"]
    return kept[0]["why"] if kept else ""


def test_each_need_is_a_reason(world: World) -> None:
    run = ended(world, "r-aaaaa2", landed="landed")
    flow = Workflow("w-1", 0, "ana", WorkflowKind.GRAPH, "", "", None)
    in_flow = replace(run, workflow="w-1")
    assert needs_of(world, replace(run, state=RunState.PENDING)) == FilesNeed.AT_WORK
    assert needs_of(world, in_flow, flow) == FilesNeed.WORKFLOW
    over = replace(flow, state=WorkflowState.DONE)
    assert needs_of(world, replace(in_flow, landed=None), over) == "", "the loser of a race waits for nobody"


@pytest.mark.parametrize(("days", "need"), [(89, FilesNeed.SESSION.value), (90, "")])
def test_a_session_keeps_its_files_until_it_was_unused_for_long(world: World, days: int, need: str) -> None:
    now = world.context.clock.wall_ms()
    run = ended(world, "r-aaaaa2", days=days, landed="landed", terms={"turns": {"idle_ms": 1}})
    session = SessionRow(run.id, run.id, now, "", run.mode, run.safety, None, None, "", "rest")
    assert needs_of(world, run, session) == need


def test_logs_stay_as_long_as_their_change_waits(world: World) -> None:
    run, now = ended(world, "r-aaaaa2", days=200), world.context.clock.wall_ms()
    rules = KeepRules()
    assert select_prunable(run, FilesNeed.DECISION, rules, now) == frozenset()
    half_a_year = replace(rules, undecided_ms=180 * DAY_MS)
    assert select_prunable(run, FilesNeed.DECISION, half_a_year, now) == {RunFiles.CHANGES, RunFiles.LOGS}
    assert select_prunable(run, FilesNeed.SESSION, half_a_year, now) == frozenset()
