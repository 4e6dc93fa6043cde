"""A user at the console: goes in and out, filters, follows a log, acts; the coordinator goes and comes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from textual.pilot import Pilot

from pancode.interfaces.tui.app import Console
from pancode.interfaces.tui.application import SteadyApp
from pancode.interfaces.tui.canvas import RowTable, TextPane
from pancode.interfaces.tui.page import PagePlace
from tests.unit.pancode.interfaces.tui.scene import Scene, comes, console, played, screen, shows


def posts(scene: Scene) -> list[tuple[str, object]]:
    return [
        (path, body) for method, path, body in scene.client.asked if method == "POST" and "by" in (body or {})
    ]


def test_in_and_out_keeps_the_marked_row(still: Scene) -> None:
    async def play(app: Console, pilot: Pilot[int]) -> None:
        await shows(app, pilot, still.done)
        await pilot.press("j", "j", "j", "enter")
        await shows(app, pilot, f"runs > run {still.done}")
        await pilot.press("w")
        await shows(app, pilot, f"why {still.done}")
        await pilot.press("h")
        await shows(app, pilot, "STORY")
        await pilot.press("escape")
        await shows(app, pilot, "STATE")
        await comes(app, pilot, lambda: app._subject.copied == still.done, "the row that was marked")

    played(still, play, "runs")


@pytest.mark.parametrize(
    ("presses", "words"),
    [
        (("colon", *"mac", "tab", "enter"), "not heard for"),
        (("colon", *"inbox", "enter"), "Which port?"),
        (("colon", *"nosuch", "enter"), "resource 'nosuch' not found"),
        (("colon", *"runs", "escape"), " status "),
        (("i",), "Which port?"),
        (("D",), "D acts on node"),
        (("y",), "copied r-"),
        (("slash", *"write", "enter"), "/write"),
        (("colon", *"runs", "enter", "o", "O"), "▼"),
        (("question_mark", *"clipboard"), "OSC 52"),
    ],
)
def test_keys(still: Scene, presses: tuple[str, ...], words: str) -> None:
    async def play(app: Console, pilot: Pilot[int]) -> None:
        await shows(app, pilot, "write the tests")
        await pilot.press(*presses)
        await shows(app, pilot, words)

    played(still, play)


def test_the_mark_is_never_on_a_heading(still: Scene) -> None:
    async def play(app: Console, pilot: Pilot[int]) -> None:
        await shows(app, pilot, "write the tests")
        seen = [app._subject.copied]
        for key in ("j", "j", "k", "k", "k", "g", "G"):
            await pilot.press(key)
            assert app._canvas.row is not None and app._canvas.row.kind != "heading", key
            seen.append(app._subject.copied)
        assert seen[0] == seen[5] == seen[6] == still.asks and seen[3] == seen[1]

    played(still, play)


def test_a_filter_narrows_as_one_types_and_escape_ends_it(still: Scene) -> None:
    async def play(app: Console, pilot: Pilot[int]) -> None:
        await shows(app, pilot, "choose the port")
        await pilot.press("slash", *"tidy")
        await comes(app, pilot, lambda: still.asks not in screen(app), "fewer rows")
        assert still.done in screen(app)
        await pilot.press("enter", "escape")
        await comes(app, pilot, lambda: "/tidy" not in screen(app), "the end of the filter")
        await shows(app, pilot, still.asks)

    played(still, play, "runs")


def test_stop_asks_by_name_and_only_y_sends_it(scene: Scene) -> None:
    async def play(app: Console, pilot: Pilot[int]) -> None:
        await shows(app, pilot, "write the tests")
        await pilot.press("slash", *"tests", "enter", "s")
        await shows(app, pilot, f"Stop run {scene.works}: scripted on n1, cost not known yet?")
        await pilot.press("enter", "n")
        await pilot.pause(0.1)
        assert not posts(scene)
        await pilot.press("s")
        await shows(app, pilot, "Stop run")
        await pilot.press("y")
        await shows(app, pilot, "is asked to end")

    played(scene, play)
    assert posts(scene) == [(f"/v1/runs/{scene.works}/stop", {"by": "ada", "reason": ""})]


def test_marked_runs_are_stopped_at_once_and_the_question_names_each(scene: Scene) -> None:
    async def play(app: Console, pilot: Pilot[int]) -> None:
        await shows(app, pilot, scene.works)
        app._canvas.table.marked |= {scene.waits, scene.done}
        await pilot.press("j", "j", "space", "space")
        await shows(app, pilot, f"+{scene.works}")
        assert f"+{scene.done}" not in screen(app), "a second press takes the mark away"
        await shows(app, pilot, "2 marked")
        await pilot.press("s")
        told = await shows(app, pilot, "2 at once:")
        assert f"Stop run {scene.waits}" in told and f"Stop run {scene.works}" in told
        await pilot.press("enter")
        await pilot.pause(0.1)
        assert not posts(scene)
        await pilot.press("y")
        await comes(app, pilot, lambda: len(posts(scene)) == 2, "both requests")

    played(scene, play, "runs")
    assert {path for path, _ in posts(scene)} == {
        f"/v1/runs/{run}/stop" for run in (scene.waits, scene.works)
    }


def test_work_on_an_issue_is_begun_by_a_key(scene: Scene, tmp_path: Path) -> None:
    scene.track(tmp_path / "shop")

    async def play(app: Console, pilot: Pilot[int]) -> None:
        await shows(app, pilot, "Enter asks github:o/r")
        await pilot.press("j", "enter")
        await shows(app, pilot, "Log out")
        await pilot.press("j", "b")
        await shows(app, pilot, "Have an agent work on SHOP-13")
        assert not posts(scene)
        await pilot.press("y")
        await shows(app, pilot, "SHOP-13 is begun")

    played(scene, play, "issues")
    assert posts(scene) == [("/v1/work", {"by": "ada", "issue": "SHOP-13"})]
    assert {one["issue"] for one in scene.client.get("/v1/work")["works"]} == {"SHOP-13", "SHOP-12"}


def test_a_log_follows_until_one_scrolls_up(scene: Scene) -> None:
    async def play(app: Console, pilot: Pilot[int]) -> None:
        await shows(app, pilot, "write the tests")
        await pilot.press("slash", *"tests", "enter", "l")
        await shows(app, pilot, "(following)")
        scene.log(scene.working, b"".join(b"line %d\n" % at for at in range(100)))
        await shows(app, pilot, "line 99")
        await pilot.press("k")
        await shows(app, pilot, "stands still; G follows")
        scene.log(scene.working, b"late\n")
        await pilot.pause(0.8)
        assert "late" not in screen(app)
        await pilot.press("G")
        await shows(app, pilot, "late")
        scene.log(scene.working, b"\x1b[2J\x1b]52;c;QUJD\x07later\n")
        await shows(app, pilot, "later")
        await pilot.press("slash", *"line 42", "enter")
        await comes(app, pilot, lambda: "line 43" not in screen(app), "fewer lines")
        assert "line 42" in screen(app)

    played(scene, play)


def test_a_log_finds_errors_follows_wraps_and_is_saved(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    saved = tmp_path / f"{scene.working.run}.log"

    async def play(app: Console, pilot: Pilot[int]) -> None:
        await shows(app, pilot, "write the tests")
        await pilot.press("e")  # no log is open
        await pilot.press("slash", *"tests", "enter", "l")
        lines = [b"line %d\n" % at for at in range(100)]
        lines[5], lines[40] = b"wide " * 40 + b"END\n", b"E  ValueError: no shop\n"
        scene.log(scene.working, b"".join(lines))
        await shows(app, pilot, "line 99")
        await pilot.press("g", "e")
        assert "ValueError" in screen(app).split("\n")[2] and "stands still" in screen(app)
        await pilot.press("e")
        await shows(app, pilot, "no error below")
        await pilot.press("f")
        await shows(app, pilot, "(following)")
        await pilot.press("g")
        await shows(app, pilot, "END")
        await pilot.press("z")
        await comes(app, pilot, lambda: "END" not in screen(app) and "wide" in screen(app), "cut lines")
        await pilot.press("S")
        await shows(app, pilot, "saved as")
        assert saved.read_bytes().endswith(b"".join(lines))
        await pilot.press("S")
        await shows(app, pilot, "not saved")

    played(scene, play)


def test_a_log_goes_to_the_next_and_the_last_line_with_the_word_of_a_filter(scene: Scene) -> None:
    def top(app: Console) -> str:
        return next(one for one in screen(app).split("\n")[2:] if one.strip())

    async def play(app: Console, pilot: Pilot[int]) -> None:
        await shows(app, pilot, "write the tests")
        await pilot.press("slash", *"tests", "enter", "l")
        scene.log(scene.working, b"".join(b"line %d\n" % at for at in range(100)))
        await shows(app, pilot, "line 99")
        await pilot.press("g", "n")
        await shows(app, pilot, "no word yet")
        await pilot.press("slash", *"E 4", "enter")
        await comes(app, pilot, lambda: "line 50" not in screen(app), "only the lines with the word")
        await pilot.press("g", "n")
        await comes(app, pilot, lambda: "line 4" in top(app) and "line 5" in screen(app), "the whole log")
        await pilot.press("n", "n")
        await comes(app, pilot, lambda: "line 41" in top(app), "the third line with the word")
        await pilot.press("N")
        await comes(app, pilot, lambda: "line 40" in top(app), "the one before")
        await pilot.press("g", "N")
        await shows(app, pilot, "no E 4 above")

    played(scene, play)


def test_two_marked_runs_are_compared(scene: Scene) -> None:
    async def play(app: Console, pilot: Pilot[int]) -> None:
        await shows(app, pilot, "tidy the imports")
        await pilot.press("equals_sign")
        await shows(app, pilot, "compares two runs")
        await pilot.press("slash", *"t", "enter", "G", "space", "k", "k", "space", "equals_sign")
        told = await shows(app, pilot, "> compare")
        await shows(app, pilot, "FACT")
        told = screen(app)
        assert all(words in told for words in ("agent", "tokens", "state", "cost")), told
        await pilot.press("escape")
        await shows(app, pilot, "RUN")

    played(scene, play, "runs")


def test_a_coordinator_that_goes_is_told_and_comes_back(scene: Scene) -> None:
    async def play(app: Console, pilot: Pilot[int]) -> None:
        await shows(app, pilot, "write the tests")
        scene.client.is_away = True
        await shows(app, pilot, "COORDINATOR NOT REACHED")
        scene.desk.clock.ms += 40_000
        told = await shows(app, pilot, "not heard for 40 s")
        assert "◌ write the tests" in told and "▨▨▨▨▨▨▨▨ ? of 8" in told, "unknown is not shown as known"
        scene.client.is_away = False
        await shows(app, pilot, "0/2 nodes")  # which were not heard meanwhile, either
        assert "NOT REACHED" not in screen(app)

    played(scene, play)


def test_a_coordinator_that_never_answered_says_why(scene: Scene) -> None:
    async def play(app: Console, pilot: Pilot[int]) -> None:
        told = await shows(app, pilot, "fix: pancode fleet up")
        assert "COORDINATOR NOT REACHED" in told and "nothing runs" not in told

    scene.client.is_away = True
    played(scene, play)


def test_what_happens_is_shown_without_a_key(scene: Scene) -> None:
    async def play(app: Console, pilot: Pilot[int]) -> None:
        await shows(app, pilot, scene.works)
        made = await asyncio.to_thread(scene.world.dispatch, task="brand new")
        new = str(made["run"])
        scene.client.happened()
        await shows(app, pilot, new)

    played(scene, play, "runs")


def test_a_thing_that_is_not_there_is_a_page_with_its_fix(still: Scene) -> None:
    async def play(app: Console, pilot: Pilot[int]) -> None:
        await shows(app, pilot, "write the tests")
        app.go(PagePlace("run", "r-nosuch"))
        await shows(app, pilot, "fix:")
        await pilot.press("escape")
        await shows(app, pilot, "write the tests")

    played(still, play)


def test_a_small_and_a_changing_window(still: Scene) -> None:
    async def play(app: Console, pilot: Pilot[int]) -> None:
        await shows(app, pilot, "as of")
        await pilot.resize_terminal(79, 24)
        told = await shows(app, pilot, "pancode top needs 80x24; this is 79x24")
        assert "as of" not in told
        for size in ((200, 60), (80, 24)):
            await pilot.resize_terminal(*size)
            await shows(app, pilot, "write the tests")
        await pilot.press("colon", *"runs", "enter")
        await shows(app, pilot, still.works)

    played(still, play)


def test_a_page_that_is_the_same_is_not_drawn_again(still: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    async def play(app: Console, pilot: Pilot[int]) -> None:
        await shows(app, pilot, still.done)
        table, cleared = app.query_one(RowTable), list[bool]()
        clear = table.clear

        def cleared_once(columns: bool) -> None:
            cleared.append(columns)
            clear(columns)

        monkeypatch.setattr(table, "clear", cleared_once)
        app._draw()
        assert cleared == []
        table.marked.add(still.done)
        app._draw()
        assert cleared == [True] and await shows(app, pilot, f"+{still.done}")

    played(still, play, "runs")


def test_the_mark_stays_on_its_row_while_others_come(scene: Scene) -> None:
    async def play(app: Console, pilot: Pilot[int]) -> None:
        await shows(app, pilot, scene.done)
        await pilot.press("j", "j", "j")
        assert app._subject.copied == scene.done
        made = await asyncio.to_thread(scene.world.dispatch, task="brand new")
        scene.client.happened()
        await shows(app, pilot, str(made["run"]))
        assert app._subject.copied == scene.done

    played(scene, play, "runs")


def test_the_footer_has_the_keys_that_fit_and_80_columns_hold_them(still: Scene) -> None:
    def last(app: Console) -> str:
        return screen(app).splitlines()[-1]

    async def play(app: Console, pilot: Pilot[int]) -> None:
        await shows(app, pilot, still.done)
        await comes(app, pilot, lambda: "s stop" in last(app), "the keys of a run")
        assert "D drain" not in last(app) and last(app).endswith("q quit")
        await pilot.press("colon", *"machines", "enter")
        await comes(app, pilot, lambda: "D drain" in last(app), "the keys of a node")
        assert "s stop" not in last(app)

    played(still, play, "runs")


def test_the_palette_presses_the_key_that_one_chooses(still: Scene) -> None:
    async def play(app: Console, pilot: Pilot[int]) -> None:
        await shows(app, pilot, still.done)
        await pilot.press("question_mark", *"inbox")
        await shows(app, pilot, "the inbox")
        await comes(app, pilot, lambda: "drain the node" not in screen(app), "fewer keys")
        await pilot.press("enter", "enter")
        await shows(app, pilot, "Which port?")
        await pilot.press("question_mark")
        await shows(app, pilot, "drain the node")
        await pilot.press("escape")
        await comes(app, pilot, lambda: "drain the node" not in screen(app), "the page")

    played(still, play, "runs")


def test_a_text_stays_where_it_was_read_while_it_changes(still: Scene) -> None:
    async def play(app: Console, pilot: Pilot[int]) -> None:
        await shows(app, pilot, still.done)
        await pilot.press("j", "j", "j", "enter")
        await shows(app, pilot, "task       tidy")
        await pilot.press("j", "j")
        pane = app.query_one(TextPane)
        await comes(app, pilot, lambda: pane.scroll_offset.y == 2, "the third line")
        pane.show([*pane.told, (("more", ""),)])
        assert pane.scroll_offset.y == 2 and pane.told[-1] == (("more", ""),)

    played(still, play, "runs")


@pytest.mark.parametrize("presses", [("q",), ("ctrl+c",), ("colon", *"quit", "enter")])
def test_ways_to_leave(still: Scene, presses: tuple[str, ...]) -> None:
    async def play(app: Console, pilot: Pilot[int]) -> None:
        await shows(app, pilot, "as of")
        await pilot.press(*presses)
        await comes(app, pilot, lambda: app.app.return_value == 0, "the end")

    played(still, play)


def test_a_defect_in_a_thread_ends_it_with_the_error(still: Scene) -> None:
    async def play(app: Console, pilot: Pilot[int]) -> None:
        await shows(app, pilot, "as of")
        app._reader.beside(_fails)
        steady = app.app
        assert isinstance(steady, SteadyApp)
        await comes(app, pilot, lambda: isinstance(steady.crash, ZeroDivisionError), "the defect")

    played(still, play)


def test_a_defect_on_the_screen_is_kept_for_the_command_to_tell(still: Scene) -> None:
    seen: list[SteadyApp] = []

    async def play(app: Console, pilot: Pilot[int]) -> None:
        await shows(app, pilot, "as of")
        assert isinstance(app.app, SteadyApp)
        seen.append(app.app)
        app.call_later(_fails)
        await pilot.pause(0.2)

    with pytest.raises(ZeroDivisionError):
        played(still, play)
    assert isinstance(seen[0].crash, ZeroDivisionError) and not seen[0]._exit_renderables


def _fails() -> None:
    raise ZeroDivisionError


def test_a_console_that_was_never_shown_asks_nothing(tmp_path: Path) -> None:
    scene = Scene(tmp_path)  # of its own: a console of another test may still be asking
    before = len(scene.client.asked)
    console(scene)
    assert len(scene.client.asked) == before


def test_drain(scene: Scene) -> None:
    async def play(app: Console, pilot: Pilot[int]) -> None:
        await shows(app, pilot, "Which port?")
        await pilot.press("colon", *"machines", "enter")
        await shows(app, pilot, "gpubox")
        await pilot.press("G", "D")
        await shows(app, pilot, "Drain n1: nothing new starts there")
        await pilot.press("y")
        await shows(app, pilot, "drain")

    played(scene, play, "inbox")
    assert scene.client.get("/v1/nodes/n1")["draining"] == "drained by ada"
