"""A pull request is asked for what has landed, and written down once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from pancode.git.forge.pulls import OpenedPull, PullRequest
from pancode.git.forge_rules import ForgeAccess, ForgeKind, ForgePlace, RemoteRepository, repository_of
from pancode.kernel.errors import PancodeError, RefusedError
from pancode.kernel.records import Audit, Decision, Run
from pancode.kernel.values import replace
from pancode.landing.pull_request import PullAsked, open_pull_request
from pancode.runs.unit_of_work import unit_of_work
from tests.unit.pancode.landing.test_asked import Lander, LandingWorld

ASKED = PullAsked("ana", "origin", "agent/x")


class MemoryForges:
    """One repository, by name `origin`; pull requests by branch."""

    def __init__(self) -> None:
        self.pulls: dict[str, OpenedPull] = {}
        self.wanted: list[tuple[ForgePlace, PullRequest]] = []
        self.error: PancodeError | None = None
        self.set = {"git.example.org": ForgeAccess("forge", ForgeKind.FORGEJO)}

    def hosts(self) -> Mapping[str, ForgeAccess]:
        return self.set

    def repository(self, project: str, remote: str) -> RemoteRepository:
        return repository_of({"origin": f"git@git.example.org:o{project}.git"}[remote])

    def base(self, project: str) -> str:
        return ""

    def check(self, place: ForgePlace) -> None:
        return None

    def open(self, place: ForgePlace, wanted: PullRequest) -> OpenedPull:
        self.wanted.append((place, wanted))
        if self.error is not None:
            raise self.error
        there = self.pulls.get(wanted.branch)
        if there is not None:
            return there
        self.pulls[wanted.branch] = OpenedPull("https://git.example.org/o/p/pulls/1", 1, "main", False)
        return replace(self.pulls[wanted.branch], fresh=True)


def landed(world: LandingWorld) -> Run:
    world.end()
    assert world.land(Lander())["status"] == "landed"
    found: Run = world.coordinator.row(Run, "r-0001")
    return found


def told(world: LandingWorld, kind: type[Any]) -> list[str]:
    return [row.what for row in world.coordinator.rows(kind) if "pull request" in row.what]


def test_it_is_opened_and_written_down_once() -> None:
    world, forges = LandingWorld(), MemoryForges()
    run, core = landed(world), world.coordinator.core
    made = open_pull_request(core, forges, run, ASKED)
    assert made == {
        "run": "r-0001", "url": "https://git.example.org/o/p/pulls/1", "number": 1, "forge": "forgejo",
        "repository": "git.example.org/o/p",
        "branch": "agent/x", "base": "main", "fresh": True,
    }  # fmt: skip
    assert not open_pull_request(core, forges, run, ASKED)["fresh"]
    assert told(world, Audit) == ["pull request opened"] and len(told(world, Decision)) == 1
    (place, wanted), _ = forges.wanted
    assert (place.token, place.repository.path) == ("forge", "o/p")
    assert str(run.result["receipt"]) in wanted.text and "cost `unknown`" not in wanted.text


def test_the_settings_are_asked_each_time() -> None:
    world, forges = LandingWorld(), MemoryForges()
    run, core = landed(world), world.coordinator.core
    forges.set = {}
    with pytest.raises(PancodeError) as caught:
        open_pull_request(core, forges, run, ASKED)
    assert caught.value.code == "no_forge_token" and forges.wanted == []
    forges.set = {"git.example.org": ForgeAccess("forge")}
    with pytest.raises(PancodeError, match="kind of forge"):
        open_pull_request(core, forges, run, ASKED)
    other = replace(ASKED, kind=ForgeKind.GITLAB)
    assert open_pull_request(core, forges, run, other)["forge"] == "gitlab"


def test_nothing_is_asked_for_what_has_not_landed() -> None:
    world, forges = LandingWorld(land=False), MemoryForges()
    world.end()
    core, run = world.coordinator.core, world.coordinator.row(Run, "r-0001")
    with pytest.raises(PancodeError) as caught:
        open_pull_request(core, forges, run, ASKED)
    assert caught.value.code == "not_landed" and "--push origin agent/x" in caught.value.fix
    assert forges.wanted == []
    with unit_of_work(core) as work:
        work.tx.put(replace(run, landing={"status": "nothing to land"}))
    assert open_pull_request(core, forges, world.coordinator.row(Run, "r-0001"), ASKED)["fresh"]


def test_a_refusal_writes_nothing_down() -> None:
    world, forges = LandingWorld(), MemoryForges()
    run = landed(world)
    forges.error = RefusedError("no", fix="look")
    with pytest.raises(RefusedError):
        open_pull_request(world.coordinator.core, forges, run, ASKED)
    assert told(world, Audit) == [] and told(world, Decision) == []


def test_the_title_is_that_of_the_users_task_and_not_of_an_answer() -> None:
    world, forges = LandingWorld(), MemoryForges()
    run, core = landed(world), world.coordinator.core
    answered = replace(run, task="You asked a user: how many? They answered: two", session="s-1", place=2)
    with unit_of_work(core) as work:
        work.tx.put(answered)
        work.tx.insert(replace(run, id="r-0000", task="count the rows", session="s-1", place=1))
    open_pull_request(core, forges, answered, replace(ASKED, message=""))
    assert forges.wanted[-1][1].title == "count the rows"
