"""`/v1/endpoints` and `/v1/models`: every machine that is heard, or one; every tier, or one."""

from __future__ import annotations

from pathlib import Path

import pytest

from node_agent.wire.endpoint import ModelFact
from tests.unit.pancode.interfaces.http.world import Http, MemoryCoordinator, app_of
from tests.unit.pancode.kernel.fleets import endpoint
from tests.unit.pancode.runs.world import Desk, Puppet

SMALL = ModelFact(id="tiny", parameters=141_632, ctx_usable=32_768)
LARGE = ModelFact(id="large", parameters=120 * 10**9, ctx_usable=32_768)


@pytest.fixture
def context() -> Desk:
    return Desk()


@pytest.fixture
def http(context: Desk, tmp_path: Path) -> Http:
    puppet = Puppet(context, "gpubox")
    puppet.facts = puppet.facts.model_copy(update={"endpoints": (endpoint("ollama", SMALL, LARGE),)})
    puppet.breathe()
    Puppet(context, "desk").breathe()
    (tmp_path / "pancode.yaml").write_text('models: {tiers: {"ollama/tiny": mid}}\n')
    return Http(app_of(MemoryCoordinator(context, tmp_path))[0])


def test_endpoints_by_node(http: Http) -> None:
    (one,) = http.get("/v1/endpoints").json()["endpoints"]
    assert (one["node"], one["name"], one["dialect"], len(one["models"])) == ("gpubox", "ollama", "ollama", 2)
    assert http.get("/v1/endpoints", node="desk").json() == {"endpoints": []}
    wrong = http.get("/v1/endpoints", node="gpubx")
    assert wrong.status_code == 404 and "gpubox" in wrong.text
    (shown,) = (n for n in http.get("/v1/fleet").json()["nodes"] if n["name"] == "gpubox")
    assert shown["endpoints"] == [{key: value for key, value in one.items() if key != "node"}]


def test_models_with_their_tiers(http: Http, context: Desk) -> None:
    told = http.get("/v1/models").json()["models"]
    assert [(m["ref"], m["tier"], m["tier_why"]) for m in told] == [
        ("gpubox/ollama/tiny", "mid", "models.tiers: ollama/tiny"),
        ("gpubox/ollama/large", "frontier", "120 billion parameters"),
    ]
    assert [m["id"] for m in http.get("/v1/models", tier="frontier").json()["models"]] == ["large"]
    assert http.get("/v1/models", node="desk").json() == {"models": []}
    wrong = http.get("/v1/models", tier="frontir")
    assert wrong.status_code == 400 and "frontier?" in wrong.text
