"""The order of the questions, how long each may take, and what is no fault of the model."""

from __future__ import annotations

import pytest

from node_agent.passport.exam import Exam, NotNow, Patience
from node_agent.passport.questions import Reply
from node_agent.wire.endpoint import AskState, EndpointFact, ExamCheck, Grade, Health, PassportFact, Residence
from tests.unit.node_agent.passport.interactive_runs import FACT, Box, with_model


def take(box: Box, model: str = "m") -> tuple[PassportFact, list[tuple[AskState, str]]]:
    said: list[tuple[AskState, str]] = []
    exam = Exam(box.tools(), "box", model, lambda state, words: said.append((state, words)))
    return exam.take()[2], said


def grades(fact: PassportFact) -> dict[ExamCheck, Grade]:
    return {one.check: one.grade for one in fact.checks}


def test_a_good_model_is_asked_three_times() -> None:
    box = Box()
    fact, _ = take(box)
    assert box.asked == ["answer", "context", "tool"]
    assert grades(fact) == dict.fromkeys(set(ExamCheck) - {ExamCheck.EDITS}, Grade.PASSED)
    assert (fact.ctx, fact.took_ms) == (32_768, 30)


def test_all_of_it_stays_below_a_minute_on_a_model_that_is_there() -> None:
    box = Box(costs=dict.fromkeys(("answer", "context", "tool"), 14_999))
    fact, _ = take(box)
    assert fact.took_ms <= 60_000


def test_no_time_left_is_unknown() -> None:
    box = Box(costs={"context": 30_000}, patience_of=Patience(whole=30_000))
    fact, _ = take(box)
    assert grades(fact)[ExamCheck.TOOLS] is Grade.UNKNOWN and "tool" not in box.asked
    assert fact.of(ExamCheck.TOOLS).words == "not tested: the time limit was reached"  # type: ignore[union-attr]


def test_a_model_that_is_loaded_first_has_minutes_and_then_other_numbers() -> None:
    box = Box(fact=with_model(residence=Residence.NOT_LOADED, ctx_usable=4_096), costs={"answer": 200_000})
    box.find = lambda look, fact: with_model(residence=Residence.LOADED)
    fact, said = take(box)
    assert said[0] == (AskState.TESTING, "the model is loading, which may take minutes")
    assert (
        box.patience[0] == 300_000 and grades(fact)[ExamCheck.CONTEXT] is Grade.PASSED and fact.ctx == 32_768
    )


def test_what_does_not_answer_is_asked_nothing_else() -> None:
    box = Box(costs={"answer": 20_000})
    fact, _ = take(box)
    assert grades(fact) == {ExamCheck.ANSWERS: Grade.FAILED} and box.asked == ["answer"]
    assert fact.checks[0].words == "the model sent no token within 15 s"


def test_a_number_that_is_too_small_saves_the_long_prompt() -> None:
    box = Box(fact=with_model(ctx_usable=4_096))
    fact, _ = take(box)
    assert (
        "context" not in box.asked and grades(fact)[ExamCheck.CONTEXT] is Grade.FAILED and fact.ctx == 4_096
    )


def test_three_tries_and_the_first_good_one_is_the_last() -> None:
    box = Box()
    box.replies["tool"] = Reply(text="no", finish="stop")
    take(box)
    assert box.asked.count("tool") == 3


def test_a_full_server_is_waited_for_and_looked_at_calmly() -> None:
    full = FACT.model_copy(update={"slots": 1, "slots_free": 0})
    box = Box(fact=full)
    box.find = lambda look, fact: full if look < 4 else FACT
    fact, said = take(box)
    assert said[0] == (AskState.WAITING, "all slots of box are busy")
    assert fact.took_ms == 4 * 3_000 + 30 and box.looks == 5  # the last one after the first answer


def test_slots_that_runs_of_this_node_have_are_waited_for() -> None:
    box = Box()
    box.taken_until = box.clock.mono_ms() + 5_000
    fact, said = take(box)
    assert said[0][0] is AskState.WAITING and fact.took_ms == 2 * 3_000 + 30


def test_a_server_that_stays_full_is_given_up() -> None:
    box = Box(fact=FACT.model_copy(update={"slots": 1, "slots_free": 0}))
    with pytest.raises(NotNow, match="120"):
        take(box)
    assert box.asked == []


@pytest.mark.parametrize(
    ("fact", "words", "fix"),
    [
        (None, "endpoint box not found on this node", "pancode models ls --servers"),
        (FACT.model_copy(update={"models": ()}), "endpoint box does not have model m now", "pancode models"),
        (with_model(embedding=True), "m is an embedding model and generates no text", "pancode models"),
        (
            FACT.model_copy(update={"health": Health.WEDGED, "words": "its slots stand", "fix": "restart"}),
            "its slots stand",
            "restart",
        ),
        (FACT.model_copy(update={"health": Health.NEEDS_KEY, "fix": "a key"}), "it needs a key", "a key"),
    ],
)
def test_what_cannot_be_asked(fact: EndpointFact | None, words: str, fix: str) -> None:
    box = Box(fact=fact)
    with pytest.raises(NotNow) as no:
        take(box)
    assert (str(no.value), no.value.fix, box.asked) == (words, fix, [])


def test_a_server_that_goes_away_in_the_middle() -> None:
    box = Box()
    box.find = lambda look, fact: None
    with pytest.raises(NotNow, match="box"):
        take(box)
    gone = Box(reachable=False)
    with pytest.raises(NotNow, match="cannot be reached") as no:
        take(gone)
    assert "127.0.0.1:1" in no.value.fix


def test_two_needles_are_never_the_same() -> None:
    """A prompt that was seen before would be taken from a cache, and not be read."""
    from node_agent.passport.questions import ask_needle

    first, second = (ask_needle("m", secret)["messages"][0]["content"] for secret in ("123", "456"))
    assert first != second
