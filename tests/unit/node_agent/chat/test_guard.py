"""The context guard: what it shortens first, what it never touches, and that it always says so."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from node_agent.chat.guard import Guard, too_small
from node_agent.chat.messages import Answered, Asked, Call, Result, ToolResults, Turn
from node_agent.wire.endpoint import SETTINGS

TASK = Asked("the task")


def turns(count: int, size: int = 4_000) -> list[Turn]:
    out: list[Turn] = [TASK]
    for n in range(count):
        out.append(Answered(f"step {n}", (Call(f"c{n}", "read", json.dumps({"path": "p" * 500})),)))
        out.append(ToolResults((Result(f"c{n}", "read", f"{n}" * size),)))
    return out


def guard(context: int = 8_192) -> Guard:
    return Guard(context, "the system prompt", [])


def test_what_fits_is_left_as_it_is() -> None:
    talk = turns(1)
    fitted = guard().fit(talk)
    assert fitted.turns == tuple(talk) and fitted.fits and not fitted.words


def test_the_oldest_results_go_first_and_the_newest_stay_whole() -> None:
    talk = turns(6)
    fitted = guard().fit(talk)
    assert fitted.fits and fitted.words.endswith("old tool results shortened")
    first, last = fitted.turns[2], fitted.turns[-1]
    assert isinstance(first, ToolResults) and "shortened to save room: 3600 more" in first.results[0].text
    assert last == talk[-1] and fitted.turns[0] == TASK


def test_whole_turns_are_left_out_with_a_note_before_the_task_is() -> None:
    fitted = guard(3_000).fit(turns(30))
    assert fitted.fits and "old turns left out" in fitted.words
    assert fitted.turns[0] == TASK
    note = fitted.turns[1]
    assert isinstance(note, Asked) and "of your turns, in which you called read" in note.text
    assert sum(isinstance(one, Asked) for one in fitted.turns) == 2, "one note, however many are left out"


def test_a_long_talk_in_short_turns_goes_on_with_one_note_and_all_words_of_users() -> None:
    talk = [turn for n in range(300) for turn in (Asked(f"words {n}"), Answered("I did that. " * 9))]
    fitted = guard().fit(talk)
    asked = [one.text for one in fitted.turns if isinstance(one, Asked)]
    assert fitted.fits and [one for one in asked if one.startswith("words")] == [
        f"words {n}" for n in range(300)
    ]
    assert len(asked) == 301, "one note, wherever the turns were that are left out"


def test_a_task_that_cannot_fit_is_not_cut_but_said() -> None:
    small = guard(1_000)
    fitted = small.fit([Asked("x" * 20_000), *turns(3)])
    assert not fitted.fits and fitted.turns[0] == Asked("x" * 20_000)
    words = too_small(fitted, small.context, known=False)
    assert "PANCODE_MODEL_CONTEXT" in words
    enough = -(-fitted.tokens // 1_024) * 1_024
    for setting in SETTINGS.values():
        assert setting.format(tokens=enough) in words, "enough for it, in the words of each server"
    assert str(fitted.tokens) in words and "the model can use only 1000 " in words


def test_it_learns_from_what_the_server_counts() -> None:
    one, talk = guard(), turns(2)
    believed = one.tokens(talk)
    one.learn(talk, believed * 2)
    assert one.tokens(talk) > believed
    one.learn(talk, 0)
    assert one.tokens(talk) > believed, "who tells nothing teaches nothing"


def test_a_prompt_of_which_the_server_saw_a_part_is_noticed() -> None:
    one = guard(8_192)
    assert one.looks_cut(turns(30), 4_096) and not one.looks_cut(turns(3), 4_096)


@st.composite
def talks(draw: st.DrawFn) -> list[Turn]:
    out: list[Turn] = [Asked(draw(st.text(max_size=300)))]
    for n in range(draw(st.integers(0, 12))):
        calls = tuple(
            Call(f"{n}.{m}", draw(st.sampled_from(["read", "bash"])), draw(st.text(max_size=3_000)))
            for m in range(draw(st.integers(0, 3)))
        )
        out.append(Answered(draw(st.text(max_size=2_000)), calls))
        if calls:
            out.append(ToolResults(tuple(Result(c.id, c.name, draw(st.text(max_size=6_000))) for c in calls)))
        else:
            out.append(Asked(draw(st.text(max_size=300))))
    return out


@settings(max_examples=150, deadline=None)
@given(talks(), st.integers(300, 20_000))
def test_whatever_the_conversation(talk: list[Turn], context: int) -> None:
    one = guard(context)
    fitted = one.fit(talk)
    asked = [turn for turn in talk if isinstance(turn, Asked)]
    kept = [
        turn for turn in fitted.turns if isinstance(turn, Asked) and not turn.text.startswith("[Left out")
    ]
    assert kept == asked, "what a user asked is never touched"
    assert bool(fitted.words) is (list(fitted.turns) != talk), "and nothing is shortened in silence"
    assert fitted.fits is (one.tokens(fitted.turns) <= context - one.answer_tokens)
    open_calls: set[str] = set()
    for turn in fitted.turns:  # each result stands behind its call, or servers refuse the prompt
        if isinstance(turn, ToolResults):
            assert {r.id for r in turn.results} == open_calls
        open_calls = {c.id for c in turn.calls} if isinstance(turn, Answered) else set()


def test_what_only_the_server_can_read_counts_and_is_never_cut() -> None:
    signature = {"signature": "s" * 3_000}
    signed = Answered("long " * 2_000, (Call("c", "ls", "{}", signature),), signature)
    assert (
        guard().tokens([signed]) - guard().tokens([Answered(signed.text, (Call("c", "ls", "{}"),))]) > 1_500
    )
    fitted = guard(4_096).fit([TASK, signed])
    kept = fitted.turns[1]
    assert isinstance(kept, Answered) and len(kept.text) < len(signed.text)
    assert (kept.extra, kept.calls[0].extra) == (signature, signature)
