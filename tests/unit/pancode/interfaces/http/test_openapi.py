"""The OpenAPI document that the API serves is valid and has every route."""

from __future__ import annotations

from pathlib import Path

from openapi_spec_validator import validate

from pancode.app.http_routes import VERBS
from tests.unit.pancode.interfaces.http.world import World


def test_the_served_one_is_valid_and_has_every_route_with_its_right(tmp_path: Path) -> None:
    served = World(tmp_path).http.get("/v1/openapi.json").json()
    validate(served)
    operations = {
        f"{method.upper()} {path}": operation
        for path, methods in served["paths"].items()
        for method, operation in methods.items()
    }
    assert set(operations) == {verb.name for verb in VERBS}
    for verb in VERBS:
        told = operations[verb.name]
        assert (told["x-pancode-scope"], told["x-pancode-risk"]) == (verb.needs, verb.risk)
        assert {one["name"] for one in told["parameters"] if one["in"] == "query"} == set(verb.query)
    assert len({told["operationId"] for told in operations.values()}) == len(VERBS)


def test_a_flag_of_the_query_is_yes_or_no(tmp_path: Path) -> None:
    world = World(tmp_path)
    assert world.http.get("/v1/budget", all="yes").status_code == 200
    assert world.problem("GET", "/v1/budget?all=maybe")["code"] == "bad_value"
