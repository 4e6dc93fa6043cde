"""Requests made from the OpenAPI document, sense and nonsense: no internal error, answers as declared."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from pancode.app.http_routes import VERBS, build_openapi
from tests.unit.pancode.interfaces.http.world import World, app_of
from tests.unit.pancode.issues.memory import track_issues
from tests.unit.pancode.people.routes.test_inbox import blocked

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
TIMES = {GenerationMode.POSITIVE: 4, GenerationMode.NEGATIVE: 3}
"""So many requests of each kind for each route; the same at each time."""


class FuzzedApi:
    """A coordinator that has a run with a question, and what was wrong with its answers."""

    def __init__(self, home: Path) -> None:
        world = World(home)
        track_issues(world.coordinator)
        self.known = {"run": blocked(world), "node": "n1", "agent": "builder"}
        app, context = app_of(world.coordinator)
        context.closing.set()  # no stream continues
        context.facts["api"] = "http://127.0.0.1:7433"
        self.schema = schemathesis.openapi.from_dict(build_openapi())
        self.schema.app = app
        self.count, self.wrong = 0, dict[str, str]()

    def operations(self) -> Iterator[Any]:
        found: list[Any] = list(self.schema.get_all_operations())
        return (one.ok() for one in found)

    def ask(self, operation: Any, mode: GenerationMode) -> None:
        @settings(
            max_examples=TIMES[mode],
            derandomize=True,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.explicit, Phase.generate],
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def asks(case: Any) -> None:
            self.count += 1
            if mode is GenerationMode.POSITIVE and case.path_parameters:
                case.path_parameters.update(
                    (k, v) for k, v in self.known.items() if k in case.path_parameters
                )
            try:
                case.validate_response(case.call(), checks=CHECKS)
            except (Exception, BaseExceptionGroup) as error:
                told = getattr(error, "exceptions", [error])
                self.wrong.setdefault(operation.label, "\n".join(str(one)[:1_000] for one in told))

        with suppress(Unsatisfiable):  # where nothing can be said, nothing wrong can be said
            asks()


@pytest.mark.slow
def test_no_request_is_an_internal_error_and_every_answer_is_as_declared(tmp_path: Path) -> None:
    """Over 30 s only on a machine at work: some 600 requests through the whole application."""
    asked = FuzzedApi(tmp_path)
    for operation in asked.operations():
        asked.ask(operation, GenerationMode.POSITIVE)
        asked.ask(operation, GenerationMode.NEGATIVE)
    assert asked.wrong == {}
    assert asked.count > 4 * len(VERBS)
