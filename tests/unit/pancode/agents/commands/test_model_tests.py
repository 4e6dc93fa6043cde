"""How a dispatch has a model tested first, and what `models test` prints."""

from __future__ import annotations

from typing import Any

import pytest

from pancode.agents import agents, model_profiles
from pancode.agents.commands.models import _exit_of_tests, _format_test, _test_result
from pancode.interfaces.cli.follow import post_with_progress
from pancode.interfaces.cli.output import Face
from pancode.interfaces.client.client import RepeatedPost, ServerEvent, StreamCutError
from pancode.interfaces.client.retry import MODEL_UNTESTED, WHICH_AGENT
from pancode.kernel.errors import ApiError, ExitCode, UnavailableError
from pancode.kernel.route import Route
from pancode.runs.commands.dispatch_requests import post_agreed
from tests.fakes.api import FakeApi
from tests.fakes.node.clock import SeededIds

FACE = Face(as_json=False)
DONE = {"run": "r-1"}
WORK = {"by": "ana"}
DISPATCH, CHAT = Route[Any]("POST /v1/runs"), Route[Any]("POST /v1/sessions")
TESTS = "/v1/models/test"


def test_a_code_that_both_sides_know() -> None:
    assert MODEL_UNTESTED == model_profiles.MODEL_UNTESTED


def untested(node: str, model: str = "hf.co/qwen") -> ApiError:
    details = {"node": node, "endpoint": "ollama", "model": model}
    return ApiError({"code": MODEL_UNTESTED, "message": "untested", "details": details})


def result(**changes: Any) -> Any:
    checks = [{"check": "context", "grade": "passed", "words": "32768 tokens", "fix": ""}]
    told = {"node": "a", "endpoint": "ollama", "model": "m", "state": "done", "words": "", "fix": ""}
    return {
        **told,
        "passed": True,
        "checks": checks,
        "ctx": 1,
        "taken_at": None,
        "earlier": False,
        **changes,
    }


class Dispatching(FakeApi):
    """Answers in order; a test ends as it is told to."""

    def __init__(self, *answers: Any, test: dict[str, Any] | None = None) -> None:
        told = {"progress": {"text": "testing m on a, up to 60 s"}, "result": {"tests": [test or result()]}}
        events = [ServerEvent(kind, data) for kind, data in told.items()]
        super().__init__({f"POST {TESTS}": lambda path, body: events, "POST /v1/*": list(answers)})

    @property
    def tested(self) -> list[tuple[str, str]]:
        """Which model was tested, and where."""
        return [(body["model"], body["node"]) for path, body in self.posted if path == TESTS]


def test_what_needs_no_test_is_asked_once() -> None:
    client = Dispatching(DONE)
    assert post_with_progress(FACE, client, DISPATCH, WORK) == DONE and client.tested == []


def test_a_model_is_tested_and_then_dispatched(capsys: pytest.CaptureFixture[str]) -> None:
    client = Dispatching(untested("a"), DONE)
    assert post_with_progress(FACE, client, DISPATCH, WORK) == DONE
    assert client.tested == [("a/ollama/hf.co/qwen", "a")]
    assert capsys.readouterr().err == "  testing m on a, up to 60 s\n"


def test_each_place_is_tested_once_and_the_last_word_is_the_coordinators() -> None:
    client = Dispatching(untested("a"), untested("b"), untested("a"))
    with pytest.raises(ApiError) as no:
        post_with_progress(FACE, client, DISPATCH, WORK)
    assert no.value.code == MODEL_UNTESTED and [node for _, node in client.tested] == ["a", "b"]


def test_a_test_that_could_not_be_made_is_an_error_with_its_words() -> None:
    given_up = result(state="given up", passed=None, checks=[], words="no slot was free", fix="later")
    with pytest.raises(UnavailableError, check=lambda error: error.code == "not_tested") as no:
        post_with_progress(FACE, Dispatching(untested("a"), test=given_up), DISPATCH, WORK)
    assert no.value.fix == "later"


@pytest.mark.parametrize("error", [ApiError({"code": "refused_routing"}), ApiError({"code": MODEL_UNTESTED})])
def test_any_other_refusal_is_passed_on(error: ApiError) -> None:
    client = Dispatching(error)
    with pytest.raises(ApiError):
        post_with_progress(FACE, client, DISPATCH, WORK)
    assert client.tested == []


def either(*names: str) -> ApiError:
    return ApiError(
        {"code": WHICH_AGENT, "message": "two agents fit", "details": {"agents": " ".join(names)}}
    )


class Sits(Face):
    """A terminal with a user who takes the second name."""

    def can_ask(self) -> bool:
        return True

    def which(self, question: str, names: list[str]) -> str:
        assert question == "two agents fit. Which one?"
        return names[1]


def test_who_sits_there_is_asked_which_agent_a_task_is_for() -> None:
    assert WHICH_AGENT == agents.WHICH_AGENT
    client = Dispatching(either("scout", "builder"), DONE)
    task = {**WORK, "task": "review it and run the tests"}
    assert post_agreed(Sits(as_json=False), client, DISPATCH, task) == DONE
    assert [body for _, body in client.posted] == [task, {**task, "agent": "builder"}]


def test_where_nobody_sits_both_names_are_the_answer() -> None:
    for face, asked in ((FACE, {**WORK, "task": "x"}), (Sits(as_json=False), {**WORK, "steps": []})):
        client = Dispatching(either("scout", "builder"))
        with pytest.raises(ApiError, match="two agents fit"):
            post_agreed(face, client, DISPATCH, asked)
        assert len(client.posted) == 1


def test_first_words_whose_answer_was_lost_begin_one_session() -> None:
    ids = SeededIds()
    words = RepeatedPost(lambda: ids.token(4))
    client = Dispatching(StreamCutError("it went away"), untested("a"), DONE, DONE)
    with pytest.raises(StreamCutError):
        post_with_progress(FACE, client, CHAT, WORK, words=words)
    for _ in range(2):
        assert post_with_progress(FACE, client, CHAT, WORK, words=words) == DONE
    lost, again, tested, later = client.keys
    assert lost == again and len({again, tested, later}) == 3, "a refusal has begun nothing"


def test_a_run_does_not_test_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANCODE_RUN", "r-1")
    client = Dispatching(untested("a"))
    with pytest.raises(ApiError):
        post_with_progress(FACE, client, DISPATCH, WORK)
    assert client.tested == []


FAILED = result(
    passed=False,
    checks=[{"check": "tools", "grade": "failed", "words": "it called no tool", "fix": "another model"}],
)
NEVER = result(passed=None, checks=[], words="no slot", fix="")


def test_words_and_statuses() -> None:
    assert _test_result(result()).splitlines()[0] == "a/ollama/m: passed"
    assert _test_result(FAILED).splitlines()[0] == "a/ollama/m: FAILED"
    assert _test_result(FAILED).splitlines()[-1] == "  fix: another model"
    assert _test_result(NEVER) == "a/ollama/m: could not be tested: no slot\n"
    old = _test_result(result(earlier=True, taken_at="2026-09-21T14:13:20.000Z")).splitlines()[0]
    assert old.startswith("a/ollama/m: passed at ") and "not repeated" in old
    assert _exit_of_tests([result()]) == ExitCode.DONE
    assert _exit_of_tests([result(), FAILED, NEVER]) == ExitCode.REFUSED
    assert _exit_of_tests([result(), NEVER]) == ExitCode.UNAVAILABLE


def test_the_column_of_models() -> None:
    assert [_format_test(one) for one in (NEVER, FAILED, result())] == [
        "not yet",
        "failed: tools",
        "passed",
    ]
