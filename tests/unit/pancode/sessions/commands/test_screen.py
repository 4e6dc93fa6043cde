"""The chat on a whole terminal, played by a pilot before a coordinator in memory: each state, each key."""

from __future__ import annotations

import asyncio
import io
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from typing import Any

import pytest
from textual import events
from textual.pilot import Pilot

from pancode.kernel.errors import ApiError, RefusedError
from pancode.sessions.commands.screen import controller
from pancode.sessions.commands.screen.card import QUIET_MS, CardAnswer
from pancode.sessions.commands.screen.controller import MOST_NEWS, Consent
from pancode.sessions.commands.screen.look import STATES
from pancode.sessions.commands.screen.mode_keys import SETTLE_MS
from tests.unit.pancode.sessions.commands.scene import RUN, ChatScene, asks, played, shape

TURN = {"type": "turn", "number": 1, "words": 0, "by": "ada", "text": "why is it slow?", "at": 0}
OVER = {"type": "turn_end", "number": 1, "stop": "end_turn", "why": ""}


def said(text: str) -> dict[str, Any]:
    return {"type": "said", "text": text}


@pytest.mark.parametrize("state", [one for one in STATES if one not in ("", "begins", "asks")])
def test_a_state_is_told_by_its_words(state: str) -> None:
    async def play(scene: ChatScene, pilot: Pilot[int]) -> None:
        scene.api.becomes(shape(state))
        await scene.shows(pilot, "$0.0125")
        shown = await scene.shows(pilot, STATES[state][1])
        assert "builder \u00b7 gpubox \u00b7 r-abc123" in shown and "$0.0125, $1.85 of $2.00 left" in shown

    played(ChatScene(), play)


def test_a_state_of_a_later_version_is_unknown_and_not_idle() -> None:
    async def play(scene: ChatScene, pilot: Pilot[int]) -> None:
        scene.api.becomes(shape("dreams"))
        await scene.shows(pilot, "\u25cc dreams")

    played(ChatScene(), play)


def test_an_answer_streams_as_markdown_and_hides_nothing() -> None:
    evil = "[red]x[/red] <b>tag</b> &#x202e;turned \x1b[2Jsteer ![alt](u) [link](http://a/%E2%80%AE)"

    async def play(scene: ChatScene, pilot: Pilot[int]) -> None:
        scene.api.writes(
            TURN, *(said(piece) for piece in ("The **lin", "ker** takes\n\n- one\n", "- two\n\n"))
        )
        await scene.shows(pilot, "\u2022 two")
        scene.api.writes(said(evil), OVER)
        shown = await scene.shows(pilot, "steer !alt link")
        assert "The linker takes" in shown and "why is it slow?" in shown
        for kept in ("[red]x[/red]", "<b>tag</b>", "<U+202E>turned", "<U+001B>[2Jsteer", "!alt"):
            assert kept in shown
        assert not set("\x1b\u202e") & set(shown)

    played(ChatScene(), play, (100, 30))


def test_a_repaint_that_is_late_when_it_is_asked_for_still_comes() -> None:
    """The loop had no time for longer than the repaint was to wait, as beside a thread that works."""

    async def play(scene: ChatScene, pilot: Pilot[int]) -> None:
        for number in range(5):
            scene.api.writes(said(f"piece {number}. "))
            await scene.shows(pilot, f"piece {number}.")
            scene.page._wants_paint()
            time.sleep(0.06)
        scene.api.writes(said("the last piece"))
        await scene.shows(pilot, "the last piece")

    played(ChatScene(), play)


def test_nothing_hostile_reaches_the_terminal() -> None:
    """All that the driver writes: of what an agent, a user or a coordinator says no sequence is left."""
    marks = ("\x1b]52", "\x1b]0;", "\x1b[2J", "\x9b", "\x07", "\u202e", "\x1b]8;")
    evil = "".join(marks) + "\x1b\\"

    async def play(scene: ChatScene, pilot: Pilot[int]) -> None:
        await scene.shows(pilot, "works")
        told = asks("call", evil, 1)
        told |= {"title": evil, "agent": evil, "node": evil, "model": evil, "reason": evil}
        call = {"type": "called", "id": "1", "tool": evil, "command": evil}
        turn = {**TURN, "by": evil, "text": evil}
        fence = f"```{evil}\n{evil}\n```\n\n| {evil} |\n|---|\n| {evil} |\n\n> {evil}\n\n# {evil}\n\n`{evil}`"
        link = f"[{evil}](http://x/%1b]52;c;AAAA%07 '{evil}') <http://y/%E2%80%AE%1b>"
        scene.api.writes(
            turn, call, {"type": "ran", "id": "1", "ok": True, "diff": evil}, said(fence), said(link)
        )
        scene.api.becomes(told)
        scene.desk._tell(("note", evil))
        await scene.shows(pilot, "agent requests to run this")
        await pilot.press("ctrl+o")
        await pilot.pause()
        out = io.StringIO()
        for strip in scene.app.screen._compositor.render_strips():
            for segment in strip:
                assert segment.control is None and not (segment.style and segment.style.link)
                out.write(segment.text)
        assert not [mark for mark in marks if mark in out.getvalue()] and "\x1b" not in out.getvalue()

    played(ChatScene(), play, (120, 40))


def test_a_y_that_was_typed_before_the_question_is_a_letter() -> None:
    async def play(scene: ChatScene, pilot: Pilot[int]) -> None:
        await scene.shows(pilot, "works")
        await pilot.press("o", "k", "a")
        scene.api.becomes(asks("call", "git push", 3))
        await scene.shows(pilot, "git push")
        await pilot.press("y")
        scene.clock.advance(QUIET_MS * 10)
        await pilot.pause(0.6)
        assert scene.page.field.text == "okay" and not scene.page.card.has_focus
        await pilot.press("tab")
        await scene.shows(pilot, "y allow once")
        await pilot.press("y")
        await scene.until(pilot, lambda: bool(scene.api.posts), "the yes")

    scene = played(ChatScene(), play)
    assert scene.api.posts == [(f"/v1/runs/{RUN}/approve", {"call": 3, "scope": "once"})]
    assert scene.page.field.text == "okay"


def test_no_sentence_answers_a_question_and_another_question_takes_no_key() -> None:
    async def play(scene: ChatScene, pilot: Pilot[int]) -> None:
        scene.api.becomes(asks("call", "git push", 3))
        await scene.shows(pilot, "git push")
        scene.clock.advance(QUIET_MS * 10)
        await pilot.press(*"also run the tests", "enter")
        await scene.until(pilot, lambda: len(scene.api.posts) == 1, "the words")
        assert scene.api.posts[0][0].endswith("/words")
        await pilot.press("tab")
        await scene.shows(pilot, "y allow once")
        scene.api.becomes(asks("call", "rm -rf /", 4))
        await scene.shows(pilot, "rm -rf /")
        await pilot.press("y")
        assert scene.page.field.text == "y", "the keys are the field's again"
        await pilot.press("backspace", "tab", "y", "n")
        await scene.shows(pilot, "this question has just appeared")
        assert len(scene.api.posts) == 1 and scene.page._replies is None
        scene.clock.advance(QUIET_MS)
        await pilot.press("n", *"too far", "enter")
        await scene.until(pilot, lambda: len(scene.api.posts) == 2, "the no")

    scene = played(ChatScene(), play)
    assert scene.api.posts[1] == (f"/v1/runs/{RUN}/deny", {"call": 4, "text": "too far"})


def test_always_asks_once_more() -> None:
    async def play(scene: ChatScene, pilot: Pilot[int]) -> None:
        scene.api.becomes(asks("call", "git push", 3))
        await scene.shows(pilot, "git push")
        scene.clock.advance(QUIET_MS)
        await pilot.press("tab", "a")
        await scene.shows(pilot, "in the whole run? press a again")
        assert scene.api.posts == []
        await pilot.press("a")
        await scene.until(pilot, lambda: bool(scene.api.posts), "the yes for the whole run")

    scene = played(ChatScene(), play)
    assert scene.api.posts == [(f"/v1/runs/{RUN}/approve", {"call": 3, "scope": "run"})]


def test_a_letter_alone_and_enter_is_an_answer_once_the_card_has_stood() -> None:
    async def play(scene: ChatScene, pilot: Pilot[int]) -> None:
        scene.api.becomes(asks("call", "git push", 3))
        await scene.shows(pilot, "git push")
        await pilot.press("y", "enter")
        await scene.shows(pilot, "this question has just appeared")
        assert scene.api.posts == [] and scene.page.field.text == ""
        scene.clock.advance(QUIET_MS)
        await pilot.press("y", "enter")
        await scene.until(pilot, lambda: bool(scene.api.posts), "the yes")

    scene = played(ChatScene(), play)
    assert scene.api.posts == [(f"/v1/runs/{RUN}/approve", {"call": 3, "scope": "once"})]


def test_who_leaves_the_card_writes_again_and_letters_go_to_the_words() -> None:
    async def play(scene: ChatScene, pilot: Pilot[int]) -> None:
        scene.api.becomes(asks("call", "git push", 3))
        await scene.shows(pilot, "git push")
        scene.clock.advance(QUIET_MS)
        await pilot.press("tab")
        await scene.shows(pilot, "y allow once")
        for letter in "way":
            scene.app.post_message(events.Key(letter, letter))
        await scene.until(pilot, lambda: scene.page.field.text == "way", "the words")
        await pilot.press("ctrl+c", "tab", "escape", "tab", "y")
        await scene.until(pilot, lambda: bool(scene.api.posts), "the yes")

    scene = played(ChatScene(), play)
    assert scene.api.posts == [(f"/v1/runs/{RUN}/approve", {"call": 3, "scope": "once"})]


def test_a_question_is_answered_by_a_choice_or_by_words() -> None:
    async def play(scene: ChatScene, pilot: Pilot[int]) -> None:
        scene.api.becomes(asks("question", "Which port?", None, "8080", "9090"))
        await scene.shows(pilot, "2 9090")
        scene.clock.advance(QUIET_MS)
        await pilot.press("tab", "3", "tab", "2")
        await scene.until(pilot, lambda: len(scene.api.posts) == 1, "the choice")
        scene.api.becomes(asks("question", "Which host?", None))
        await scene.shows(pilot, "Which host?")
        scene.clock.advance(QUIET_MS)
        await pilot.press("backspace", "tab", "enter", *"desk", "enter")
        await scene.until(pilot, lambda: len(scene.api.posts) == 2, "the words")

    scene = played(ChatScene(), play)
    answer = f"/v1/runs/{RUN}/answer"
    assert scene.api.posts == [(answer, {"text": "2"}), (answer, {"text": "desk"})]


def test_a_turn_on_a_machine_that_is_not_heard_has_no_clock() -> None:
    async def play(scene: ChatScene, pilot: Pilot[int]) -> None:
        await scene.shows(pilot, "works")
        scene.api.becomes(shape("works", heard=False))
        assert "works" not in await scene.shows(pilot, "gpubox is unreachable")
        scene.api.becomes(shape("works", heard=True))
        await scene.shows(pilot, "works")

    played(ChatScene(), play)


def test_a_change_that_was_agreed_to_is_taken_back_with_one_key_and_once() -> None:
    async def play(scene: ChatScene, pilot: Pilot[int]) -> None:
        await scene.shows(pilot, "works")
        await pilot.press("alt+u")
        scene.api.becomes(asks("change", "budget of the day: $10 -> $25"))
        await scene.shows(pilot, "the agent requests to change this")
        scene.clock.advance(QUIET_MS)
        await pilot.press("tab", "y")
        await scene.shows(pilot, "Alt-U undoes the change")
        await pilot.press("alt+u", "alt+u")
        await scene.until(pilot, lambda: scene.ran != [], "the command")

    scene = played(ChatScene(), play)
    assert [how for how, _ in scene.api.posts] == [f"/v1/runs/{RUN}/approve"]
    (ran,) = scene.ran
    assert ran[-2:] == ["config", "undo"], ran


def test_a_landing_that_it_asks_for_is_answered_on_its_card() -> None:
    async def play(scene: ChatScene, pilot: Pilot[int]) -> None:
        scene.api.becomes(asks("landing", "panos asks to land the change of 2 files", yes=["--anyway"]))
        await scene.shows(pilot, "the agent requests to land this")
        scene.clock.advance(QUIET_MS)
        await pilot.press("tab", "y")
        await scene.shows(pilot, "says")

    scene = played(ChatScene(), play)
    assert scene.ran == [["approve", RUN, "--anyway"]] and not scene.api.posts


@pytest.mark.parametrize(("key", "again"), [("y", True), ("x", False)])
def test_a_command_that_needs_a_yes_asks_for_it_on_a_card(key: str, again: bool) -> None:
    async def play(scene: ChatScene, pilot: Pilot[int]) -> None:
        await scene.shows(pilot, "works")
        await pilot.press(*"/safety full-auto", "enter")
        await scene.shows(pilot, "before the agent may do more without asking")
        scene.clock.advance(QUIET_MS)
        await pilot.press("tab", key)
        await scene.shows(pilot, "says" if again else "the same with --yes")

    first = ["sessions", "set", RUN, "--safety", "full-auto"]
    assert played(ChatScene(), play).ran == [first, *([[*first, "--yes"]] if again else [])]


def test_words_commands_and_lines() -> None:
    async def play(scene: ChatScene, pilot: Pilot[int]) -> None:
        scene.api.writes(TURN)
        await scene.shows(pilot, "why is it slow?")
        await pilot.press(*"one", "ctrl+j", *"two", "enter")
        await scene.until(pilot, lambda: len(scene.api.posts) == 1, "the words")
        assert "sent" in await scene.shows(pilot, "two")
        await pilot.press("escape")
        await scene.until(pilot, lambda: len(scene.api.posts) == 2, "the cancel")
        await pilot.press(*"/re", "tab", "enter")
        await scene.until(pilot, lambda: len(scene.api.posts) == 3, "the rest")
        await pilot.press(*"/nothing", "enter")
        await scene.shows(pilot, "command not found: /nothing")
        await pilot.press("ctrl+c", *"/cost", "enter")
        await scene.shows(pilot, "1 turn, 1.2 k tokens")
        await pilot.press("up")
        assert scene.page.field.text == "/cost"
        await pilot.press("up", "up")
        assert scene.page.field.text == "/rest"

    scene = played(ChatScene(), play)
    turn = f"/v1/sessions/{RUN}/turn"
    assert scene.api.posts == [
        (f"/v1/sessions/{RUN}/words", {"text": "one\ntwo"}),
        (turn, {"what": "cancel", "turn": 1}),
        (turn, {"what": "rest"}),
    ]


def test_enter_sends_a_whole_command_though_its_last_letter_is_no_news_yet() -> None:
    async def play(scene: ChatScene, pilot: Pilot[int]) -> None:
        scene.api.writes(TURN)
        await scene.shows(pilot, "why is it slow?")
        await pilot.press(*"/res")
        field = scene.page.field
        assert field.popup.display
        for key in (events.Key("t", "t"), events.Key("enter", None)):
            field.post_message(key)
        await scene.until(pilot, lambda: len(scene.api.posts) == 1, "the rest")

    played(ChatScene(), play)


def test_words_that_were_refused_are_in_the_field_again() -> None:
    async def play(scene: ChatScene, pilot: Pilot[int]) -> None:
        await scene.shows(pilot, "works")
        scene.api.refuses = RefusedError("no slot", why="all are used", fix="pancode queue")
        await pilot.press(*"hello", "enter")
        await scene.shows(pilot, "no slot. all are used. pancode queue")
        assert scene.page.field.text == "hello" and "sent" not in scene.screen

    assert played(ChatScene(), play).api.posts == []


def test_words_whose_answer_was_lost_are_said_again_under_their_key_or_have_arrived() -> None:
    async def play(scene: ChatScene, pilot: Pilot[int]) -> None:
        await scene.shows(pilot, "works")
        scene.api.loses = True
        await pilot.press(*"hello", "enter")
        await scene.shows(pilot, "it went away")
        assert scene.page.field.text == "hello"
        scene.api.becomes(shape("works", run="r-next00"))
        await scene.until(pilot, lambda: scene.desk.run == "r-next00", "the next interactive run")
        await pilot.press("enter")
        await scene.until(pilot, lambda: len(scene.api.posts) == 2, "again")
        await scene.until(pilot, lambda: scene.page.field.text == "hello", "lost again")
        scene.api.writes({**TURN, "words": 1, "text": "hello"})
        await scene.until(pilot, lambda: scene.page.field.text == "", "it has arrived")
        scene.api.loses = False
        await pilot.press(*"hello", "enter")
        await scene.until(pilot, lambda: len(scene.api.posts) == 3, "the same words, new")

    scene = played(ChatScene(), play)
    assert [path for path, _ in scene.api.posts[:2]] == [f"/v1/sessions/{RUN}/words"] * 2
    first, again, new = scene.api.keys
    assert first == again != new and not scene.desk.leave()


def test_who_leaves_waits_for_words_on_their_way_and_they_keep_their_order() -> None:
    async def play(scene: ChatScene, pilot: Pilot[int]) -> None:
        await scene.shows(pilot, "works")
        scene.api.goes.clear()
        await pilot.press("1", "enter", "2", "enter", "ctrl+d")

    scene = ChatScene()
    try:
        played(scene, play)
        assert scene.api.posts == [] and [words for _, words in scene.desk._on_way] == ["1", "2"]
    finally:
        scene.api.goes.set()
    assert scene.desk.leave() == [] and [body["text"] for _, body in scene.api.posts] == ["1", "2"]


def test_words_of_which_nobody_knows_are_told_to_who_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pancode.sessions.commands.screen.controller.LEAVE_S", 0.01)

    async def play(scene: ChatScene, pilot: Pilot[int]) -> None:
        await scene.shows(pilot, "works")
        scene.api.goes.clear()
        await pilot.press("1", "enter", "ctrl+d")

    scene = ChatScene()
    try:
        played(scene, play)
        assert scene.desk.leave() == ["1"]
    finally:
        scene.api.goes.set()


def test_a_consent_that_nobody_gave_begins_nothing() -> None:
    def begin(face: Any, client: Any, words: str, terms: Any) -> Any:
        raise RefusedError(f"agreed: {face.confirm('It costs $5. Dispatch it?', '--yes')}")

    async def play(scene: ChatScene, pilot: Pilot[int]) -> None:
        await scene.shows(pilot, "describe the task")
        await pilot.press(*"hi", "enter")
        await scene.shows(pilot, "It costs $5.")
        await pilot.press("ctrl+d")

    scene = played(ChatScene(run="", begin=begin), play)
    assert scene.desk.leave() == [] and scene.desk.refused == ["hi"]


def test_output_waits_for_a_screen_that_is_slow() -> None:
    scene, told = ChatScene(), list[Any]()
    scene.desk.start(told.append)
    for _ in range(MOST_NEWS):
        scene.desk._take_news(("log", ()))
    late = threading.Thread(target=scene.desk._take_news, args=(("log", ()),), daemon=True)
    late.start()
    late.join(0.1)
    scene.desk._take_news(("session", shape("works")))
    assert [kind for kind, _ in told if kind == "log"] == ["log"] * MOST_NEWS
    scene.desk.taken()
    late.join()
    assert [kind for kind, _ in told if kind == "log"] == ["log"] * (MOST_NEWS + 1)
    scene.desk.stop()
    scene.api.cut()


def test_a_lost_link_is_told_and_gone_on_from_the_last_number() -> None:
    async def play(scene: ChatScene, pilot: Pilot[int]) -> None:
        scene.api.writes(TURN, said("Before. "))
        await scene.shows(pilot, "Before.")
        scene.api.is_away = True
        scene.api.cut()
        await scene.shows(pilot, "lost the coordinator")
        await pilot.press(*"kept")
        scene.api.is_away = False
        scene.api.writes(said("After."), OVER)
        await scene.shows(pilot, "Before. After.")
        assert scene.page.field.text == "kept"
        scene.api.is_away = True
        scene.api.cut()
        await scene.shows(pilot, "lost the coordinator")
        scene.api.is_away = False
        await scene.until(pilot, lambda: "lost the coordinator" not in scene.screen, "the note's end")
        scene.desk._tell(("note", "taking a snapshot"))
        await scene.shows(pilot, "taking a snapshot")
        scene.api.becomes(shape("waits for you"))
        await scene.until(pilot, lambda: "taking a snapshot" not in scene.screen, "its end at a new state")

    scene = played(ChatScene(), play)
    first, *later = scene.api.asked_from
    whole = len(scene.api._log)
    assert first == "" and set(later) == {f"{RUN}:{whole - len(scene.api._last)}", f"{RUN}:{whole}"}


def test_a_consent_stays_until_it_is_answered_and_then_the_agents_question_comes() -> None:
    asked = Consent("Raise the level?")
    told = asks("call", "rm -r build", 3)

    async def play(scene: ChatScene, pilot: Pilot[int]) -> None:
        await scene.shows(pilot, "works")
        scene.page._show_question(asked)
        scene.page._take_shape(told)
        assert scene.page.card.asks is asked
        scene.clock.advance(QUIET_MS)
        scene.page._send_answer(CardAnswer(asked, "no"))
        assert asked.answer.get_nowait() is False and scene.page.card.asks == told["asks"]

    played(ChatScene(), play)


def test_the_first_words_begin_a_session_and_a_no_begins_none() -> None:
    def begin(face: Any, client: Any, words: str, terms: Any) -> Any:
        if not face.confirm("It costs $5. Dispatch it?", "--yes"):
            raise RefusedError("nobody has agreed")
        client.post("/v1/sessions", {"task": words})
        return {"run": RUN, "agent": "builder", "chosen": "because no agent was named", "warnings": ["w"]}

    async def play(scene: ChatScene, pilot: Pilot[int]) -> None:
        await scene.shows(pilot, "describe the task")
        await pilot.press(*"hi", "enter")
        await scene.shows(pilot, "It costs $5.")
        assert isinstance(scene.page.card.asks, Consent)
        scene.clock.advance(QUIET_MS)
        await pilot.press("tab")
        await scene.shows(pilot, "y begin it")
        await pilot.press("x")
        await scene.shows(pilot, "nobody has agreed")
        assert scene.page.field.text == "hi"
        await pilot.press("enter")
        await scene.shows(pilot, "It costs $5.")
        scene.clock.advance(QUIET_MS)
        await pilot.press("tab")
        await scene.shows(pilot, "y begin it")
        await pilot.press("y")
        await scene.shows(pilot, "agent builder, because no agent was named")
        await scene.shows(pilot, "works")

    assert played(ChatScene(run="", begin=begin), play).api.posts == [("/v1/sessions", {"task": "hi"})]


def test_words_while_it_begins_are_said_when_it_has_begun_and_a_command_is_never_words() -> None:
    goes = threading.Event()

    def begin(face: Any, client: Any, words: str, terms: Any) -> Any:
        goes.wait()
        client.post("/v1/sessions", {"task": words})
        return {"run": RUN, "agent": "builder", "chosen": "", "warnings": []}

    async def play(scene: ChatScene, pilot: Pilot[int]) -> None:
        await scene.shows(pilot, "runs says")
        await pilot.press(*"hi", "enter")
        await scene.shows(pilot, "begins")
        await pilot.press(*"and this", "enter")
        assert scene.page.field.text == ""
        goes.set()
        await scene.until(pilot, lambda: len(scene.api.posts) == 2, "the words")

    scene = played(ChatScene(run="", first="/runs", begin=begin), play)
    assert scene.api.posts == [
        ("/v1/sessions", {"task": "hi"}),
        (f"/v1/sessions/{RUN}/words", {"text": "and this"}),
    ]


def test_calls_unfold_blocks_are_marked_found_and_copied() -> None:
    async def play(scene: ChatScene, pilot: Pilot[int]) -> None:
        scene.api.writes(TURN, {"type": "called", "id": "1", "tool": "edit", "path": "/w/a.py"})
        scene.api.writes({"type": "ran", "id": "1", "ok": True, "diff": "@@ -1 +1 @@\n-old\n+new"})
        scene.api.writes(said("It is the linker."), OVER)
        await scene.shows(pilot, "\u25b8 \u2713 edit /w/a.py")
        assert "+new" not in scene.screen
        await pilot.press("ctrl+o")
        await scene.shows(pilot, "+new")
        await pilot.press("ctrl+o", "ctrl+up", "ctrl+up", "enter")
        await scene.shows(pilot, "+new")
        await pilot.press("alt+c")
        assert scene.app.clipboard == "edit /w/a.py\n@@ -1 +1 @@\n-old\n+new"
        await pilot.press("escape", "ctrl+f", *"slow", "enter")
        await scene.until(pilot, lambda: scene.page.view.marked is scene.page.talk.blocks[0], "found")
        await pilot.press("escape", "alt+c")
        assert scene.app.clipboard == "It is the linker."

    played(ChatScene(), play)


def test_names_of_runs_are_offered() -> None:
    async def play(scene: ChatScene, pilot: Pilot[int]) -> None:
        await scene.shows(pilot, "works")
        await pilot.press(*"see @ann")
        await scene.shows(pilot, "Annotate billing")
        await pilot.press("tab")
        assert scene.page.field.text == "see r-m2w8vd "

    played(ChatScene(), play)


def test_a_long_conversation_shows_its_end_and_more_on_demand() -> None:
    async def play(scene: ChatScene, pilot: Pilot[int]) -> None:
        for number in range(300):
            scene.api.writes({**TURN, "number": number + 1, "text": f"words {number}."})
        await scene.shows(pilot, "words 299.")
        assert len(scene.page.view.children) < 150
        await pilot.press("ctrl+f", *"words 7.", "enter")
        await scene.shows(pilot, "words 7.")
        await pilot.press("escape")
        await scene.shows(pilot, "words 299.")

    played(ChatScene(), play)


def _fits(scene: ChatScene, width: int) -> bool:
    return "END" in scene.screen and all(len(line) <= width for line in scene.screen.splitlines())


def test_it_is_resized_and_nothing_is_lost() -> None:
    async def play(scene: ChatScene, pilot: Pilot[int]) -> None:
        scene.api.writes(TURN, said("word " * 60 + "END"))
        await scene.shows(pilot, "END")
        await pilot.press(*"typed")
        for size in ((40, 12), (200, 50), (80, 24)):
            await pilot.resize_terminal(*size)
            fits = partial(_fits, scene, size[0])
            await scene.until(pilot, fits, "the new size")
        await scene.until(pilot, lambda: scene.page.field.text == "typed", "the typed words")

    played(ChatScene(), play)


def test_what_a_command_says_is_a_panel_and_no_words() -> None:
    async def play(scene: ChatScene, pilot: Pilot[int]) -> None:
        scene.api.writes(TURN)
        await scene.shows(pilot, "why is it slow?")
        await pilot.press(*"/runs 5", "enter")
        shown = await scene.shows(pilot, "runs 5 says")
        assert "[red]this[/red]" in shown and "/runs 5" in shown
        await pilot.press(*"/diff", "enter")
        await scene.shows(pilot, f"diff {RUN} says")
        await pilot.press(*"/rns", "enter")
        await scene.shows(pilot, "did you mean /runs?")
        assert scene.page.field.text == "/rns"
        await pilot.press("ctrl+c", *"/help", "enter")
        await scene.shows(pilot, "colours; terminal, dark or light")

    scene = played(ChatScene(), play)
    assert scene.api.posts == [] and scene.ran == [["runs", "5"], ["diff", RUN]]


def test_a_command_needs_no_session_but_one_about_it_does() -> None:
    async def play(scene: ChatScene, pilot: Pilot[int]) -> None:
        await scene.shows(pilot, "describe the task")
        await pilot.press(*"/workers", "enter")
        await scene.shows(pilot, "agents record says")
        await pilot.press(*"/diff", "enter")
        await scene.shows(pilot, "the session has not started")

    scene = played(ChatScene(run=""), play)
    assert scene.api.posts == [] and scene.ran == [["agents", "record"]]


def test_who_leaves_ends_nothing() -> None:
    async def play(scene: ChatScene, pilot: Pilot[int]) -> None:
        await scene.shows(pilot, "works")
        await pilot.press(*"ab", "home", "ctrl+d")
        assert scene.page.field.text == "b" and scene.app.is_running
        await pilot.press("ctrl+c", "ctrl+c")
        await scene.shows(pilot, "Ctrl-C again to leave")
        await pilot.press("ctrl+c")

    scene = played(ChatScene(), play)
    assert scene.api.posts == [] and scene.app.return_value == 0


def test_a_pipe_loads_no_textual() -> None:
    modules = "pancode.sessions.commands.chat, pancode.sessions.commands.line_chat"
    code = f"import sys, {modules}; print('textual' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_terminal_that_goes_away_ends_it() -> None:
    async def play(scene: ChatScene, pilot: Pilot[int]) -> None:
        loop = asyncio.get_running_loop()
        assert [loop.remove_signal_handler(one) for one in (signal.SIGTERM, signal.SIGHUP)] == [True, True]

    played(ChatScene(), play)


def edge(scene: ChatScene) -> str:
    """The hairline with mode and level."""
    return next(line for line in reversed(scene.screen.splitlines()) if "Ctrl-Y" in line)


def test_keys_go_through_modes_and_levels_and_only_the_last_choice_is_sent() -> None:
    async def play(scene: ChatScene, pilot: Pilot[int]) -> None:
        await scene.shows(pilot, "build Shift-Tab")
        await pilot.press("shift+tab")
        assert "review with your next message" in edge(scene)
        await pilot.press("shift+tab")
        assert "plan with your next message" in edge(scene)
        await pilot.press("alt+a")
        assert "admin with your next message" in edge(scene)
        await pilot.press("alt+a", "ctrl+y", "ctrl+y")
        assert "plan with your next message" in edge(scene) and "suggest Ctrl-Y" in edge(scene)
        scene.clock.advance(SETTLE_MS)
        await scene.until(pilot, lambda: bool(scene.api.posts), "the change")
        chosen = {"mode": "plan", "safety": "suggest"}
        assert scene.api.posts == [("/v1/sessions/r-abc123/terms", chosen)]
        scene.api.becomes(shape("works", next={**chosen, "by": "ada"}))
        await scene.until(pilot, lambda: scene.page.shape["next"] is not None, "it is known")
        assert "plan with your next message" in edge(scene)
        scene.api.becomes(shape("works", **chosen))
        await scene.shows(pilot, "plan Shift-Tab")

    played(ChatScene(), play)


def test_who_goes_round_changes_nothing_and_words_take_the_choice_with_them() -> None:
    async def play(scene: ChatScene, pilot: Pilot[int]) -> None:
        await scene.shows(pilot, "build Shift-Tab")
        await pilot.press("shift+tab", "shift+tab", "shift+tab", *"one", "enter")
        await scene.until(pilot, lambda: len(scene.api.posts) == 1, "the words")
        await pilot.press("shift+tab", *"two", "enter")
        await scene.until(pilot, lambda: len(scene.api.posts) == 3, "the change before the words")

    posts = played(ChatScene(), play).api.posts
    assert [path.rpartition("/")[2] for path, _ in posts] == ["words", "terms", "words"]
    assert posts[1][1] == {"mode": "review"}


def test_a_higher_level_asks_on_a_card_and_typed_words_are_no_yes() -> None:
    async def play(scene: ChatScene, pilot: Pilot[int]) -> None:
        await scene.shows(pilot, "build Shift-Tab")
        refused = {
            "code": "needs_yes",
            "title": "this change raises the safety level of r-abc123 from auto-edit to full-auto",
        }
        scene.api.refuses = ApiError({**refused, "message": refused["title"], "exit_code": 5})
        await pilot.press("ctrl+y")
        scene.clock.advance(SETTLE_MS)
        await scene.shows(pilot, "raises the safety level")
        await pilot.press("y")
        assert scene.page.card.asks is not None and scene.page.field.text == "y"
        scene.api.refuses = None
        scene.clock.advance(QUIET_MS)
        await pilot.press("backspace", "tab", "y")
        await scene.until(pilot, lambda: bool(scene.api.posts), "the yes")
        assert scene.api.posts[-1][1] == {"safety": "full-auto", "yes": True}

    played(ChatScene(), play)


def test_a_no_leaves_the_level_and_says_so() -> None:
    async def play(scene: ChatScene, pilot: Pilot[int]) -> None:
        await scene.shows(pilot, "build Shift-Tab")
        refused = {
            "code": "needs_yes",
            "title": "this change raises the safety level of r-abc123 from auto-edit to full-auto",
        }
        scene.api.refuses = ApiError({**refused, "message": refused["title"], "exit_code": 5})
        await pilot.press("ctrl+y")
        scene.clock.advance(SETTLE_MS)
        await scene.shows(pilot, "raises the safety level")
        scene.clock.advance(QUIET_MS)
        await pilot.press("tab", "x")
        await scene.until(pilot, lambda: scene.page.card.asks is None, "the no")
        await scene.until(pilot, lambda: "auto-edit Ctrl-Y" in edge(scene), "the level of before")
        assert not scene.api.posts

    played(ChatScene(), play)


def test_before_a_session_begins_keys_choose_how_it_begins() -> None:
    async def play(scene: ChatScene, pilot: Pilot[int]) -> None:
        await scene.shows(pilot, "build Shift-Tab")
        await pilot.press("alt+a", "ctrl+y", "ctrl+y", *"hi", "enter")
        await scene.until(pilot, lambda: bool(scene.api.posts), "it begins")

    posts = played(ChatScene(run=""), play).api.posts
    assert posts == [("/v1/sessions", {"task": "hi", "mode": "admin", "safety": "suggest"})]


def test_the_last_line_tells_what_is_at_work_while_one_types(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(controller, "WATCH_S", 0.02)

    async def play(scene: ChatScene, pilot: Pilot[int]) -> None:
        await pilot.press(*"half")
        scene.api.at_work = [RUN, "r-2", "r-3"]
        await scene.shows(pilot, "2 other runs at work")
        assert scene.page.field.text == "half"
        scene.api.at_work = []
        await scene.until(pilot, lambda: "at work" not in scene.screen, "they have ended")

    played(ChatScene(), play)
