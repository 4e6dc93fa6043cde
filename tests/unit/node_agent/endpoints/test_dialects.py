"""Which server it is: by the shape of its answers, whatever its port and whatever its status says."""

from __future__ import annotations

from typing import Any

import pytest

from node_agent.endpoints.dialects import LM1, Memory, ServerKind, identify_server, read_server
from node_agent.endpoints.table import KnownServer, ProbeContext, update_server
from node_agent.wire.endpoint import Dialect
from node_agent.wire.model import MOST
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
    assert identify_server(ToolResults(answers), port) == ServerKind(dialect)


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
    assert identify_server(ToolResults(answers), 8080) is None


def test_llama_cpp_by_its_header_whatever_it_answers() -> None:
    locked = ToolResults({}, "llama.cpp", (401, {"error": {"code": 401}}))
    assert identify_server(locked, 8000) == ServerKind(Dialect.LLAMACPP, locked=True)
    assert locked.asked == ["/api/version"]
    assert identify_server(ToolResults({}, "llama.cpp"), 8000) == ServerKind(Dialect.LLAMACPP)


def test_a_key_that_is_missing_is_a_finding() -> None:
    assert identify_server(ToolResults({"/v1/models": (401, {"error": "Unauthorized"})}), 8000) == ServerKind(
        Dialect.OPENAI, locked=True
    )
    page = ToolResults({"/v1/models": (401, "<html>log in</html>")})
    assert identify_server(page, 8000, known=True) == ServerKind(Dialect.OPENAI, locked=True)


def test_lm_studio_is_asked_its_own_question_first_where_it_usually_is() -> None:
    told = ToolResults({LM1: (200, {"models": [LM_MODEL]})}, other=UNEXPECTED)
    identify_server(told, 1234)
    assert told.asked == [LM1]  # each other question is an [ERROR] in its owner's log


VLLM_FIGURES = """# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="a}b"} 3.0
vllm:num_requests_waiting{engine="1",model_name="m"} 2.0
vllm:num_requests_waiting_by_reason{engine="0"} 40.0
vllm:num_requests_running{engine="0"} 8.0
"""


@pytest.mark.parametrize(
    ("dialect", "figures", "waiting"),
    [
        (Dialect.VLLM, (200, VLLM_FIGURES), 5),
        (Dialect.SGLANG, (200, "sglang:num_queue_reqs 1.2e+01\n"), 12),
        (Dialect.VLLM, (200, "vllm:num_requests_waiting NaN\nnonsense"), None),
        (Dialect.VLLM, (200, "vllm:num_requests_waiting 9e+99\n"), MOST),
        (Dialect.VLLM, None, None),
        (Dialect.SGLANG, (404, "none"), None),
    ],
)
def test_the_queue_of_a_server_that_tells_it(dialect: Dialect, figures: Any, waiting: int | None) -> None:
    told, memory = ToolResults({"/v1/models": LISTED, "/metrics": figures}), Memory()
    assert read_server(dialect, told, memory).waiting == waiting
    told.asked.clear()
    assert read_server(dialect, told, memory).waiting == waiting
    assert ("/metrics" in told.asked) is (figures != (404, "none")), "one that has no figures is asked once"


FIGURES = (200, "llamacpp:requests_deferred 4\n")


def llama_cpp(**fields: Any) -> ToolResults:
    """`slots`, `metrics`: the answers there. One slot is at work, otherwise."""
    answers = {
        "/v1/models?autoload=false": (200, {"data": [{"id": "m"}]}),
        "/props": (200, {"total_slots": 1, "is_sleeping": fields.get("is_sleeping", False)}),
        "/slots": fields.get("slots", (200, [{"is_processing": True, "id_task": 1}])),
        "/metrics": fields.get("metrics", FIGURES),
    }
    return ToolResults(answers)


@pytest.mark.parametrize("slots", [(200, []), (501, {"error": {"message": "--no-slots"}})])
def test_the_queue_of_a_llama_cpp_is_asked_for_with_its_slots_shown_or_not(slots: Any) -> None:
    """A question for either keeps it from sleeping, and one for its slots wakes it."""
    told, asleep = llama_cpp(slots=slots), llama_cpp(slots=slots, is_sleeping=True)
    assert read_server(Dialect.LLAMACPP, told, Memory()).waiting == 4
    told.asked.clear()
    assert read_server(Dialect.LLAMACPP, told, Memory(asks_slots=False)).waiting is None
    assert read_server(Dialect.LLAMACPP, asleep, Memory()).waiting is None
    assert not {"/metrics", "/slots"} & {*told.asked, *asleep.asked}


def test_one_without_slots_to_see_is_left_to_fall_asleep_too() -> None:
    told = llama_cpp(slots=(501, {}), metrics=(200, "llamacpp:requests_deferred 0\n"))
    known = KnownServer()
    for at in range(80):
        known = update_server(known, told, ProbeContext(at * 30_000, 8080))
    assert told.asked.count("/metrics") == 3, "at 0, 10 and 30 minutes"
    for at in range(80, 83):
        known = update_server(known, told, ProbeContext(at * 30_000, 8080, in_use=True))
    assert told.asked.count("/metrics") == 6


@pytest.mark.parametrize(("last", "kept"), [(4, 4), (0, 1)])
@pytest.mark.parametrize(
    ("path", "no_answer"), [("/slots", None), ("/metrics", None), ("/metrics", (503, {})), ("/props", None)]
)
def test_one_that_told_its_queue_and_is_silent_is_not_calm_for_a_while(
    path: str, no_answer: Any, last: int, kept: int
) -> None:
    """It may be overloaded: our own question waits there, at least."""
    told = llama_cpp(metrics=(200, f"llamacpp:requests_deferred {last}\n"))
    known, answer = update_server(KnownServer(), told, ProbeContext(0, 8080, in_use=True)), told.answers[path]
    assert waiting_of(known) == last
    told.answers[path] = no_answer
    seen = []
    for at in range(1, 6):
        known = update_server(known, told, ProbeContext(at * 30_000, 8080, in_use=True))
        seen.append(waiting_of(known))
    assert seen == [*[kept] * 4, None]
    told.answers[path] = answer
    assert waiting_of(update_server(known, told, ProbeContext(200_000, 8080, in_use=True))) == last


def test_one_that_never_told_its_queue_tells_none_by_silence() -> None:
    told = llama_cpp(metrics=None)
    known = update_server(KnownServer(), told, ProbeContext(0, 8080, in_use=True))
    assert waiting_of(known) is None


def waiting_of(known: KnownServer) -> int | None:
    assert known.reading is not None
    return known.reading.waiting
