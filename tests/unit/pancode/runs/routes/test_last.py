"""`last` is the last run of the repository where the user stands."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

import pytest

from pancode.interfaces.http.routing import NOTE
from pancode.kernel.records import Run
from pancode.kernel.values import replace
from pancode.runs.views import find_run
from tests.unit.pancode.interfaces.http.world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Oldest first: a run of `mine`, one of `other`, one of none, and the gates of a landing of `mine`."""
    made = World(tmp_path / "home")
    first = made.context.row(Run, str(made.dispatch()["run"]))
    for name in ("mine", "other"):
        (tmp_path / name / ".git").mkdir(parents=True)
    gate = replace(first, id="r-gate22", project=str(tmp_path / "mine"), argv=("true",))
    gate = replace(gate, task="gates of the landing of r-mine22", terms={"judges": "r-mine22"})
    runs = [
        replace(first, id="r-mine22", project=str(tmp_path / "mine")),
        replace(first, id="r-other2", project=str(tmp_path / "other")),
        *(replace(first, id="r-none22", project=None), gate),
    ]
    with made.context.ledger.transaction() as tx:
        for number, run in enumerate(runs):
            tx.put(replace(run, created_ms=first.created_ms + number + 1))
    return made


def last_from(world: World, folder: Path) -> str:
    return str(world.http.get_from(folder, "/v1/runs/last/brief").json()["run"])


def test_last_is_of_this_repository_where_it_has_one(world: World, tmp_path: Path) -> None:
    (tmp_path / "mine/sub").mkdir()
    assert last_from(world, tmp_path / "mine") == "r-mine22" == last_from(world, tmp_path / "mine/sub")
    assert last_from(world, tmp_path / "other") == "r-other2"
    assert last_from(world, tmp_path / "minesweeper") == "r-none22", "the newest that a user has asked for"
    assert world.http.get("/v1/runs/last").json()["run"] == "r-none22"
    with world.context.ledger.transaction() as tx:
        mine = str(tmp_path / "mine")
        assert find_run(tx, f"last@{mine}").id == "r-mine22", "for every verb"
    assert "newest run is r-none22" in world.problem("GET", "/v1/runs/xyz")["why"]


def test_a_note_says_that_a_newer_run_is_elsewhere(world: World, tmp_path: Path) -> None:
    def note(folder: str, run: str = "last") -> str:
        answer = world.http.get_from(tmp_path / folder, f"/v1/runs/{run}")
        return unquote(answer.headers.get(NOTE, ""))

    words = f"last is r-mine22, the newest run of {tmp_path}/mine; r-none22 in no repository is newer"
    assert note("mine/sub") == words and note("mine", "r-mine22") == ""
    assert note("minesweeper") == "", "it is the newest of all"


def test_the_gates_of_a_landing_are_shown_as_what_they_are(world: World) -> None:
    rows = {one["run"]: one for one in world.http.get("/v1/runs?checks=1").json()["runs"]}
    row = rows["r-gate22"]
    assert row["task"] == "gates of the landing of r-mine22"
