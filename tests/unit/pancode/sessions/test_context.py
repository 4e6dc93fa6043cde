"""The window of a session's model: what its worker tells of it, and how it is shared out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pancode.sessions.context import ToldWindow, read_window
from tests.unit.pancode.interfaces.http.test_tcp import ListenerWorld
from tests.unit.pancode.sessions.test_sessions import MODEL, begin, interactive_run, world

__all__ = ["world"]
BEGUN = {"type": "session", "context": 32_000, "context_known": True}


def counts(total: int, output: int = 0, **more: Any) -> dict[str, Any]:
    return {"type": "usage", "input": total, "cached": 0, "output": output, "told": True, **more}


def test_the_last_call_is_what_the_sums_grew_by() -> None:
    assert read_window(BEGUN, [counts(900, 50)], whole=True) == ToldWindow(32_000, 950)
    shortened = {"type": "compacted", "text": "3 old tool results shortened"}
    told = read_window(BEGUN, [counts(900, 50), shortened, counts(2_000, 80)], whole=False)
    assert told == ToldWindow(32_000, 1_130, "3 old tool results shortened")


@pytest.mark.parametrize(
    ("newest", "whole"), [([], True), ([counts(900)], False), ([counts(900, told=False)], True)]
)
def test_what_nobody_has_counted_is_unknown(newest: list[dict[str, Any]], whole: bool) -> None:
    assert read_window({}, newest, whole) == ToldWindow()


def test_a_session_tells_its_window_by_category(world: ListenerWorld) -> None:
    run = begin(world)["run"]
    path = f"/v1/sessions/{run}/context"
    before = world.http.get(path).json()
    parts = {one["name"]: one["tokens"] for one in before["parts"]}
    assert (before["used"], before["left"], parts["turns"], before["model"]) == (None, None, None, MODEL)
    assert parts["project rules"] == 0 and all(parts[name] for name in ("identity", "safety", "tools"))
    job = interactive_run(world)
    lines = (BEGUN, {"type": "said", "text": "x"}, counts(5_000, 100), counts(11_000, 200))
    output = b"half a line\n" + b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    world.coordinator.streams.put(job.identity, "out", output)
    after = world.http.get(path).json()
    assert (after["window"], after["used"], after["left"]) == (32_000, 6_100, 25_900)
    known = sum(tokens for name, tokens in parts.items() if name != "turns")
    assert {one["name"]: one["tokens"] for one in after["parts"]} == {**parts, "turns": 6_100 - known}


def test_a_program_of_the_users_own_has_no_window(world: ListenerWorld) -> None:
    run = world.dispatch()["run"]
    assert world.problem("GET", f"/v1/sessions/{run}/context")["code"] == "no_model"


def test_the_tasks_of_a_session_are_what_its_runs_dispatched(world: ListenerWorld, tmp_path: Path) -> None:
    run = begin(world)["run"]
    interactive_run(world)
    assert world.http.get(f"/v1/sessions/{run}/tasks").json() == {"session": run, "runs": []}
    child = world.dispatch(parent=run)["run"]
    world.dispatch()
    assert [one["run"] for one in world.http.get(f"/v1/sessions/{run}/tasks").json()["runs"]] == [child]
