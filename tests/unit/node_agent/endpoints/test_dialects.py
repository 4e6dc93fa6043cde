"""Which server it is: by the shape of its answers, whatever its port and whatever its status says."""

from __future__ import annotations

from typing import Any

import pytest

from node_agent.endpoints.dialects import LM1, ServerKind, identify
from node_agent.wire.endpoint import Dialect
from tests.unit.node_agent.endpoints.answering import ToolResults

LISTED = (200, {"object": "list", "data": [{"id": "m", "owned_by": "me"}]})
LM_MODEL = {"key": "m", "loaded_instances": []}
UNEXPECTED = (200, {"error": "Unexpected endpoint or method. (GET /api/version)"})


@pytest.mark.parametrize(
    ("answers", "dialect"),
    [
        ({"/api/version": (200, {"version": "0.14.2"}), "/v1/models": LISTED}, Dialect.OLLAMA),
        ({"/props": (200, {"total_slots": 1}), "/v1/models": LISTED}, Dialect.LLAMACPP),
        ({"/props": (200, {"role": "router"})}, Dialect.LLAMACPP),
        ({"/api/version": UNEXPECTED}, Dialect.LMSTUDIO),
        ({"/api/v1/models": (200, {"models": [LM_MODEL]})}, Dialect.LMSTUDIO),
        ({"/api/v0/models": (200, {"data": [{"state": "x", "compatibility_type": "g"}]})}, Dialect.LMSTUDIO),
        ({"/v1/models": LISTED}, Dialect.OPENAI),
        ({"/v1/models": (200, {"object": "list", "data": []})}, Dialect.OPENAI),
        ({"/v1/models": (200, {"object": "list", "data": [{"id": "m", "owned_by": "vllm"}]})}, Dialect.VLLM),
        (
            {"/v1/models": (200, {"object": "list", "data": [{"id": "m", "owned_by": "sglang"}]})},
            Dialect.SGLANG,
        ),
    ],
)
@pytest.mark.parametrize("port", [1234, 8080, 11434])
def test_by_shape_on_any_port(answers: dict[str, Any], dialect: Dialect, port: int) -> None:
    assert identify(ToolResults(answers), port) == ServerKind(dialect)


@pytest.mark.parametrize(
    "answers",
    [
        {},
        {"/api/version": (200, {"version": "2.1", "build": "x"})},  # some other program's
        {"/api/version": (200, {"version": "latest"})},
        {"/api/version": (200, "1.2.3")},
        {"/api/v1/models": (200, {"models": [{"name": "m"}]})},
        {"/v1/models": (200, {"data": [{"id": "m"}]})},
        {"/v1/models": (401, "<html>log in</html>")},
    ],
)
def test_what_is_no_model_server(answers: dict[str, Any]) -> None:
    assert identify(ToolResults(answers), 8080) is None


def test_llama_cpp_by_its_header_whatever_it_answers() -> None:
    locked = ToolResults({}, "llama.cpp", (401, {"error": {"code": 401}}))
    assert identify(locked, 8000) == ServerKind(Dialect.LLAMACPP, locked=True)
    assert locked.asked == ["/api/version"]
    assert identify(ToolResults({}, "llama.cpp"), 8000) == ServerKind(Dialect.LLAMACPP)


def test_a_key_that_is_missing_is_a_finding() -> None:
    assert identify(ToolResults({"/v1/models": (401, {"error": "Unauthorized"})}), 8000) == ServerKind(
        Dialect.OPENAI, locked=True
    )
    page = ToolResults({"/v1/models": (401, "<html>log in</html>")})
    assert identify(page, 8000, known=True) == ServerKind(Dialect.OPENAI, locked=True)


def test_lm_studio_is_asked_its_own_question_first_where_it_usually_is() -> None:
    told = ToolResults({LM1: (200, {"models": [LM_MODEL]})}, other=UNEXPECTED)
    identify(told, 1234)
    assert told.asked == [LM1]  # each other question is an [ERROR] in its owner's log
