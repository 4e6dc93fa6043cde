"""Which nodes a model's tests leave, where one comes first, and how a model is named."""

from __future__ import annotations

import pytest

from node_agent.wire.endpoint import CheckFact, ExamCheck, Grade, Health, ModelFact, PassportFact
from pancode.agents.model_profiles import (
    MODEL_UNTESTED,
    ModelPlace,
    Needs,
    Trust,
    judge_passport,
    places_of,
    untested_error,
)
from pancode.kernel.errors import ExitCode, NotFoundError
from pancode.kernel.node import NodeView
from pancode.runs.placement.candidates import Candidate, filter_candidates, list_unknowns
from pancode.runs.placement.placement import Placed, Standing, Unplaced, decide_placements, explain_misfit
from tests.unit.pancode.kernel.fleets import endpoint, node
from tests.unit.pancode.runs.placement.test_placement import run

NEEDS = Needs("ollama", "qwen3")
RUNTIME = {"opencode": "ok"}


def passport(**grades: Grade) -> PassportFact:
    """All passed, but for what is said."""
    checks = tuple(
        CheckFact(
            check=check,
            grade=grades.get(check.value, Grade.PASSED),
            words=f"{check} words",
            fix=f"repair {check}" if grades.get(check.value) is Grade.FAILED else "",
        )
        for check in ExamCheck
    )
    return PassportFact(taken_ms=1, took_ms=1, checks=checks)


GOOD, NONE = passport(), None
BAD = passport(context=Grade.FAILED)


def there(
    name: str, fact: PassportFact | None, model: str = "qwen3:latest", server: str = "ollama"
) -> NodeView:
    models = (ModelFact(id=model, passport=fact), ModelFact(id="embed", embedding=True))
    return node(name, RUNTIME, endpoints=(endpoint(server, *models),))


@pytest.mark.parametrize(
    ("fact", "trust", "words"),
    [
        (NONE, Trust.UNTESTED, "has not been tested"),
        (GOOD, Trust.GOOD, ""),
        (BAD, Trust.FAILED, "context: context words"),
        (passport(tools=Grade.UNKNOWN), Trust.GOOD, "tools: tools words"),
        (passport(context=Grade.FAILED, tools=Grade.FAILED), Trust.FAILED, "context: context words"),
    ],
)
def test_what_a_passport_says(fact: PassportFact | None, trust: Trust, words: str) -> None:
    said = judge_passport(fact)
    assert (said.trust, said.words, bool(said.fix)) == (trust, words, trust is Trust.FAILED)


def sift(*views: NodeView, ready: tuple[str, ...] = ()) -> tuple[dict[str, Candidate], list[str]]:
    found = [
        Candidate(v.node.name, True, v.node.name in (ready or ("a", "b", "c")), "can take it") for v in views
    ]
    shown, places = filter_candidates(found, views, NEEDS)
    return {one.name: one for one in shown}, [place.text for place in places]


def test_a_model_that_failed_takes_its_node_out_with_the_way_back() -> None:
    shown, places = sift(there("a", BAD), there("b", GOOD))
    assert (
        not shown["a"].fits
        and shown["a"].why == "model qwen3 did not pass its test: context: context words (repair context)"
    )
    assert "pancode models test a/ollama/qwen3 --again" in shown["a"].fix
    assert shown["b"].fits and places == []


def test_where_one_has_passed_the_others_get_nothing() -> None:
    shown, places = sift(there("a", NONE), there("b", GOOD))
    assert (shown["a"].fits, shown["b"].fits, places) == (False, True, [])
    assert shown["a"].why == "qwen3 has not been tested there"
    assert shown["a"].fix == "pancode models test a/ollama/qwen3"


def test_where_none_has_passed_a_test_comes_first_on_the_readiest() -> None:
    shown, places = sift(there("a", NONE), there("b", NONE), there("c", BAD), ready=("b",))
    assert places == ["b/ollama/qwen3", "a/ollama/qwen3"]
    assert shown["a"].fits and shown["b"].why == "can take it; qwen3 has not been tested"


def test_a_node_that_does_not_tell_of_the_model_is_for_others_to_judge() -> None:
    shown, places = sift(there("a", NONE, model="other"), node("b", RUNTIME))
    assert shown["a"].fits and shown["b"].fits and places == []


def test_what_no_test_could_find_out_is_told_of_those_that_could_take_it() -> None:
    views = (there("a", passport(context=Grade.UNKNOWN)), there("b", BAD))
    found = [Candidate(v.node.name, v.node.name == "a", True, "") for v in views]
    assert list_unknowns(found, views, NEEDS) == ("qwen3 on a: context: context words",)


def test_the_refusal_names_the_place_for_programs_and_the_command_for_users() -> None:
    error = untested_error(ModelPlace("gpubox", "ollama", "hf.co/qwen/x:Q4"), costs=False)
    assert error.code == MODEL_UNTESTED and error.exit_code is ExitCode.REFUSED
    assert error.problem().details == {"node": "gpubox", "endpoint": "ollama", "model": "hf.co/qwen/x:Q4"}
    assert "pancode models test gpubox/ollama/hf.co/qwen/x:Q4" in error.fix


@pytest.mark.parametrize(
    ("text", "on", "found"),
    [
        ("qwen3", None, ["a", "b"]),
        ("qwen3:latest", None, ["a", "b"]),
        ("qwen3", "b", ["b"]),
        ("ollama/qwen3", None, ["a", "b"]),
        ("b/ollama/qwen3", None, ["b"]),
    ],
)
def test_where_a_model_is(text: str, on: str | None, found: list[str]) -> None:
    views = (there("b", NONE), there("a", GOOD), there("c", NONE, model="llama"))
    assert [place.node for place in places_of(text, views, on)] == found


@pytest.mark.parametrize("text", ["qwen", "embed", "lmstudio/qwen3", "c/ollama/qwen3", ""])
def test_a_model_that_is_nowhere(text: str) -> None:
    with pytest.raises(NotFoundError) as no:
        places_of(text, (there("a", NONE), there("c", NONE, model="llama")))
    assert no.value.code == "model_not_found"
    if text == "qwen":
        assert "did you mean" in no.value.why


def test_a_server_that_wants_a_key_may_have_the_model() -> None:
    locked = node("d", RUNTIME, endpoints=(endpoint("tower", health=Health.NEEDS_KEY),))
    with pytest.raises(NotFoundError) as no:
        places_of("secret", (there("a", NONE), locked))
    assert "d/tower" in no.value.why
    assert no.value.fix.endswith("check with: pancode models ls --servers")


def on_local(**changes: object) -> dict[str, object]:
    return {"runtime": "opencode", "endpoint": "ollama", "model": "qwen3", "context": 0, **changes}


def test_a_queued_run_does_not_go_where_its_model_failed() -> None:
    bad = there("a", BAD)
    assert (
        explain_misfit(run("r-1", **on_local()), bad)
        == "model qwen3 did not pass its test: context: context words"
    )
    assert explain_misfit(run("r-1", **on_local(untested=True)), bad) == ""
    assert explain_misfit(run("r-1", runtime="opencode"), bad) == ""


def test_a_queued_run_waits_for_the_node_that_passed_and_goes_on_where_a_passport_was_lost() -> None:
    def placed(*views: NodeView) -> str | None:
        standing = Standing(views, {"a": 1, "b": 0, "c": 2})
        (one,) = decide_placements([run("r-1", **on_local())], standing)
        assert isinstance(one, Placed | Unplaced)
        return one.node.node.name if isinstance(one, Placed) else None

    assert placed(there("a", GOOD), there("c", NONE)) == "a"  # though the other has more slots
    assert placed(there("a", NONE), there("b", GOOD)) is None
    assert placed(there("a", NONE), there("c", BAD)) == "a"
