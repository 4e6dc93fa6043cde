"""A name that nothing has is an error with the nearest name, in every filter, not an empty answer."""

from __future__ import annotations

import pytest

from tests.unit.pancode.interfaces.http.world import World

FILTERS = {
    "/v1/records?agent=bilder": "builder?",
    "/v1/runs?agent=bilder": "builder?",
    "/v1/runs?node=n11": "n1?",
    "/v1/events?end=1&node=n11": "n1?",
    "/v1/cost?agent=bilder": "builder?",
    "/v1/cost?node=n11": "n1?",
    "/v1/cost?repository=/nowhere": "",
    "/v1/audit?about=run:nope": "",
    "/v1/audit?by=nobody": "",
    "/v1/endpoints?node=n11": "n1?",
    "/v1/models?node=n11": "n1?",
    "/v1/queues?name=pool.an": "pool.any?",
    "/v1/agents?name=bilder": "builder?",
    "/v1/presets?name=nope": "",
    "/v1/runtimes?name=claud": "claude?",
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("home"))


@pytest.mark.parametrize("path", FILTERS)
def test_a_name_that_nothing_has(world: World, path: str) -> None:
    told = world.problem("GET", path)
    assert told["exit_code"] == 4, told
    assert FILTERS[path] in told["why"], told
