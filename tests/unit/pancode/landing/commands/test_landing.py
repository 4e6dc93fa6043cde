"""`pancode land --pull-request`: the options, the request, the words; a refusal leaves the landing."""

from __future__ import annotations

import os
from typing import Any

import pytest

from pancode.git.forge_rules import ForgeKind
from pancode.interfaces.cli import landings
from pancode.interfaces.cli.follow import _format_landing, add_tracker
from pancode.interfaces.cli.output import Face
from pancode.interfaces.client.client import Client
from pancode.kernel.errors import ApiError, RefusedError, UsageError
from pancode.kernel.route import Route, path_in
from pancode.landing.answers import LANDINGS
from pancode.landing.commands import landing
from pancode.landing.commands.landing import PullWanted
from pancode.reports.answers import NOW
from pancode.reports.now import arrange_now
from pancode.runs.answers import LandingShape, NeedGroup
from tests.unit.pancode.interfaces.http.world import MemoryCoordinator, client_of
from tests.unit.pancode.reports.test_now import need, snapshot
from tests.unit.pancode.runs.world import Desk

PUSH = ("origin", "agent/x")


class DirectClient(Client):
    """Asks the application itself, without a socket."""

    def __init__(self, coordinator: MemoryCoordinator) -> None:
        self._http = client_of(coordinator)

    def get(self, path: str, **query: object) -> Any:
        answer = self._http.get(path_in(path), **{name: str(value) for name, value in query.items()}).json()
        return path.read(answer) if isinstance(path, Route) else answer

    def post(self, path: str, body: Any = None, wait_s: float = 0.0, key: str = "") -> Any:
        answer = self._http.post(path_in(path), body)
        if answer.status_code >= 400:
            raise ApiError(answer.json())
        return answer.json()


@pytest.fixture
def desk(tmp_path: Any) -> MemoryCoordinator:
    made = MemoryCoordinator(Desk(), tmp_path)
    made.context.dispatch()
    return made


def report() -> dict[str, Any]:
    return {"run": "r-0001", "status": "landed", "pushed": {"remote": "origin", "branch": "agent/x"}}


def check(push: Any, forge: Any, *, pulls: bool, all_green: bool) -> None:
    run = None if all_green else "r-0001"
    landing.check_options(run, push, forge, resolve=False, pulls=pulls, all_green=all_green)


@pytest.mark.parametrize(
    ("push", "forge", "wanted", "several"),
    [
        (None, None, True, False),
        (PUSH, ForgeKind.GITLAB, False, False),
        (PUSH, None, True, True),
    ],
)
def test_options_that_do_not_fit(push: Any, forge: Any, wanted: bool, several: bool) -> None:
    with pytest.raises(UsageError) as caught:
        check(push, forge, pulls=wanted, all_green=several)
    assert caught.value.fix


def test_options_that_fit() -> None:
    check(PUSH, ForgeKind.GITLAB, pulls=True, all_green=False)
    check(None, None, pulls=False, all_green=True)


def test_it_is_asked_for_after_the_push(desk: MemoryCoordinator, capsys: pytest.CaptureFixture[str]) -> None:
    client, face = DirectClient(desk), Face(False)
    done = landing.pull_request(face, client, report(), PullWanted("words", ForgeKind.FORGEJO))
    ((run, asked),) = desk.code.pulls
    assert (run, asked.remote, asked.branch, asked.message) == ("r-0001", "origin", "agent/x", "words")
    assert asked.kind is ForgeKind.FORGEJO and not asked.follow
    assert landing.pull_line(done) == "  pull request: https://git.example.org/o/r/pulls/7\n"
    done["pull_request"]["fresh"] = False
    assert "(open already)" in landing.pull_line(done)
    held = {"run": "r-0001", "status": "called off"}
    assert landing.pull_request(face, client, held, PullWanted()) == held and landing.pull_line(held) == ""
    assert len(desk.code.pulls) == 1
    landing.pull_request(face, client, report(), PullWanted(follow=True))
    assert desk.code.pulls[1][1].follow
    with pytest.raises(UsageError, check=lambda error: "--pull-request" in error.fix):
        landing.land(run="r-0001", push_to=PUSH, follow=True, face=face)


def test_a_refusal_says_what_stands_and_how_to_go_on(desk: MemoryCoordinator) -> None:
    desk.code.forge_error = RefusedError(
        "no", why="HTTP 403", fix="pancode config secret forge", code="forge_forbidden"
    )
    with pytest.raises(Exception, match="no") as caught:
        landing.pull_request(Face(True), DirectClient(desk), report(), PullWanted())
    error: Any = caught.value
    assert (error.code, error.exit_code) == ("forge_forbidden", 5)
    assert "agent/x" in error.why
    again = "pancode land r-0001 --push origin agent/x --pull-request"
    assert "pancode config secret forge" in error.fix and again in error.fix


@pytest.mark.parametrize(
    "body", [{}, {"remote": "", "branch": "x"}, {"remote": "o", "branch": "x", "forge": "svn"},
             {"remote": "o\nx", "branch": "x"}, {"remote": "o", "branch": "x" * 300}]
)  # fmt: skip
def test_a_bad_request_asks_no_forge(desk: MemoryCoordinator, body: dict[str, Any]) -> None:
    answer = client_of(desk).post("/v1/runs/r-0001/pull-request", body)
    assert 400 <= answer.status_code < 500 and desk.code.pulls == []


def test_the_line_of_a_tracker_follows_each_landing(desk: MemoryCoordinator) -> None:
    desk.code.told_of_landings = "SHOP-12 is closed"
    landing_shape: LandingShape = {"status": "landed", "files": ["a"], "tree": "/shop", "branch": "main"}
    add_tracker(DirectClient(desk), "r-0001", landing_shape)
    shown = {"run": "r-0001", **landing_shape}
    assert landings.landing_line(shown).endswith("not committed\n  tracker: SHOP-12 is closed\n")
    assert _format_landing(landing_shape).endswith("not committed\n  tracker: SHOP-12 is closed")
    waiting: LandingShape = {"status": "conflict", "why": "it does not apply"}
    add_tracker(DirectClient(desk), "r-0001", waiting)
    assert "tracker" not in waiting


def answering(*runs: str) -> Face:
    """Return a face whose coordinator has no waiting landing, and these changes to land."""
    changes = [need(one, NeedGroup.TO_LAND, "to_land", project=os.getcwd()) for one in runs]
    answers: dict[object, object] = {
        LANDINGS: {"landings": []},
        NOW: arrange_now(snapshot(0, needs=changes)),
    }

    class AnsweringClient:
        def get(self, path: object, **_: object) -> object:
            return answers[path]

    class AnsweringFace(Face):
        def client(self, *, starts: bool = True, works: bool = False) -> Any:
            return AnsweringClient()

    return AnsweringFace(False)


def test_without_a_name_the_changes_that_can_be_landed_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError) as caught:
        landing.land(face=answering(*(f"r-000{number}" for number in range(1, 8))))
    assert caught.value.fix == "pancode land r-0001" and caught.value.why.startswith("7 changes here")
    assert landing.land(face=answering()) == 0
    assert capsys.readouterr().out == "no landing is waiting\n"
