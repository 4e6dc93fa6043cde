"""Pages of lists: joined they are the whole list, whatever comes in; a foreign cursor is refused."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from random import Random  # noqa: TID251 - seeded
from typing import Any

import pytest

from pancode.config.fleet_settings import pause_queue
from tests.unit.pancode.interfaces.http.world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    pause_queue(world.context.core, None, "for a while", "test")
    return world


def came(world: World, random: Random, count: int) -> None:
    """Several in one millisecond, so that their ids decide."""
    for _ in range(count):
        world.context.clock.ms += random.choice((0, 0, 1))
        world.dispatch(task=random.choice(("echo red", "echo blue")))


def pages(world: World, path: str, between: Any = lambda: None, **query: str) -> list[list[dict[str, Any]]]:
    kind, found, cursor = path.rpartition("/")[2], list[list[dict[str, Any]]](), ""
    while True:
        answer = world.http.get(path, **query, **({"cursor": cursor} if cursor else {}))
        assert answer.status_code == 200, answer.text
        found.append(answer.json()[kind])
        cursor = answer.json()["next"]
        if cursor is None:
            return found
        between()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("query", [{}, {"text": "red"}, {"text": "red", "since": "1h"}])
def test_pages_joined_are_the_whole_list_while_rows_come_in(
    world: World, seed: int, query: dict[str, str]
) -> None:
    random = Random(seed)
    came(world, random, 9)
    whole = [run["run"] for run in world.http.get("/v1/runs", limit="1000", **query).json()["runs"]]
    limit = random.randint(1, 5)
    found = pages(world, "/v1/runs", lambda: came(world, random, 1), limit=str(limit), **query)
    assert [run["run"] for page in found for run in page] == whole
    assert all(len(page) == limit for page in found[:-1]) and 0 < len(found[-1]) <= limit


def test_a_list_that_fits_has_no_next_page(world: World) -> None:
    assert world.http.get("/v1/runs").json() == {"runs": [], "next": None}
    came(world, Random(1), 3)
    assert world.http.get("/v1/runs", limit="3").json()["next"] is None
    assert world.http.get("/v1/runs", limit="2").json()["next"] is not None
    assert world.http.get("/v1/runs", limit="0").json() == {"runs": [], "next": None}


def test_a_page_of_a_filter_may_be_short_and_the_list_still_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So many runs are looked through for one page."""
    monkeypatch.setattr("pancode.runs.lists.MOST_ROWS", 4)
    for task in ("echo old", *["echo new"] * 9):
        world.dispatch(task=task)
        world.context.clock.advance(1)
    found = pages(world, "/v1/runs", text="old")
    assert [len(page) for page in found] == [0, 0, 1]


def test_workflows_receipts_and_audit_have_pages(world: World) -> None:
    pause_queue(world.context.core, None, None, "test")
    steps = [{"name": "a", "dispatch": world.shell()}]
    for number in range(4):
        made = {"name": f"t{number}", "scopes": ["read"], "by": "ana"}
        assert world.http.post("/v1/tokens", made).status_code == 201
        assert world.http.post("/v1/workflows", {"kind": "chain", "steps": steps}).status_code == 201
        world.node.deliver(world.claim())
        world.context.turn()
    for path, name, by in (
        ("/v1/workflows", "workflow", {}),
        ("/v1/receipts", "run", {}),
        ("/v1/audit", "at", {}),
        ("/v1/audit", "at", {"domain": "trust"}),
        ("/v1/audit", "at", {"by": "ana"}),
    ):
        whole = world.http.get(path, limit="1000", **by).json()[path.rpartition("/")[2]]
        found = pages(world, path, limit="2", **by)
        assert [row for page in found for row in page] == whole, path
        assert whole and name in whole[0]


def test_the_audit_of_a_period(world: World) -> None:
    for number in range(3):
        pause_queue(world.context.core, None, None, f"test {number}")
        world.context.clock.advance(60_000)
    whole = world.http.get("/v1/audit").json()["audit"]
    newest, middle, oldest = [row["at"] for row in whole][:3]

    def times(**query: str) -> list[str]:
        return [row["at"] for row in world.http.get("/v1/audit", **query).json()["audit"]]

    assert times(since=middle) == [newest, middle], "that moment is part of it"
    assert times(since=middle, until=newest) == [middle], "the end is not"
    assert oldest in times(until=middle) and newest not in times(until=middle)
    assert world.http.get("/v1/audit", until="never").status_code == 400


def next_of(world: World, path: str, **query: str) -> str:
    answer = world.http.get(path, limit="1", **query).json()
    return str(answer["next"])


def test_a_bad_or_foreign_cursor_is_refused(world: World) -> None:
    came(world, Random(2), 3)
    good = next_of(world, "/v1/runs")
    mine = json.loads(base64.urlsafe_b64decode(good + "=" * (-len(good) % 4)))
    texts = ["", "x", "gr\u00fcn", good[:-3], good + "!", "A" * 5_000, next_of(world, "/v1/audit")]
    texts += [next_of(world, "/v1/runs", text="echo"), sealed([]), sealed(None), sealed([[[[]]]])]
    places: list[list[object]] = [
        [True, "r-1"],
        ["1", "r-1"],
        [1.5, "r-1"],
        [10**30, "r-1"],
        [1, 2],
        [1, "\0"],
        [1, "\ud800"],
    ]
    texts += [sealed([mine[0], *place]) for place in places]
    for text in texts:
        answer = world.http.get("/v1/runs", cursor=text)
        assert answer.status_code == 400, (text, answer.text)
        problem = answer.json()
        assert problem["code"] == "bad_cursor" and problem["why"] and problem["fix"]
    answer = world.http.get("/v1/runs", cursor=good, limit="3")
    assert answer.status_code == 200, "another size is not an other list"


def sealed(said: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(said).encode()).decode().rstrip("=")
