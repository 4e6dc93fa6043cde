"""`audit` answers what it knows, and does not take a mistyped word for an empty record."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.pancode.interfaces.http.world import World


@pytest.mark.parametrize(
    "about",
    ["admission", "budget", "dispatch", "fleet", "land", "people", "receipt", "trust", "info", "error"],
)
def test_what_can_be_asked_for(about: str, tmp_path: Path) -> None:
    assert World(tmp_path).http.get("/v1/audit", about=about).status_code == 200


def test_dispatch_is_the_domain_of_admission(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.problem("POST", "/v1/runs", world.shell(node="nope"))
    world.problem("POST", "/v1/runs", world.shell(mode="plan"))
    found = world.http.get("/v1/audit", about="dispatch").json()
    assert found == world.http.get("/v1/audit", about="admission").json() and found["audit"]


def test_a_refusal_is_an_error_and_run_last_is_all_of_the_run(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.problem("POST", "/v1/runs", world.shell(mode="plan"))
    (refused,) = world.http.get("/v1/audit", about="error").json()["audit"]
    assert (refused["what"], refused["detail"]["gate"]) == ("refused", "mode")
    run = world.dispatch()["run"]
    entries = world.http.get("/v1/audit", about="run:last").json()["audit"]
    assert [(one["run"], one["what"]) for one in entries] == [(run, "queued")]


def test_a_word_that_means_nothing(tmp_path: Path) -> None:
    world = World(tmp_path)
    told = world.problem("GET", "/v1/audit?about=nonsense")
    assert (told["exit_code"], told["code"]) == (4, "domain_not_found") and "dispatch" in told["why"]
    assert "trust?" in world.problem("GET", "/v1/audit?about=trsut")["why"]
    assert world.problem("GET", "/v1/audit?about=run:nope")["exit_code"] == 4
