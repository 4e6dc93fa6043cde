"""What stands beside a list; and the screen in 16 colours and in none, where words alone tell states."""

from __future__ import annotations

import pytest
from rich.console import Console as Terminal
from textual.pilot import Pilot

from pancode.interfaces.tui import preview
from pancode.interfaces.tui.app import Console
from pancode.interfaces.tui.page import PageRow
from pancode.interfaces.tui.preview import find_prose, list_asks
from pancode.interfaces.tui.reader import Reader
from pancode.interfaces.tui.views import ApiAsk
from tests.unit.pancode.interfaces.tui.scene import Scene, comes, played, screen, shows

WIDE = (120, 40)


def test_the_marked_run_stands_beside_the_list_with_the_end_of_its_log(still: Scene) -> None:
    async def play(app: Console, pilot: Pilot[int]) -> None:
        # The first two runs are of one millisecond, so either may be the first; one of them waits.
        if "a new disk" not in await shows(app, pilot, "took       -"):
            await pilot.press("j")
            await shows(app, pilot, "a new disk")
        else:
            await pilot.press("j")
        await pilot.press("j")
        told = await shows(app, pilot, "LOG")
        assert "begun" in told and f"running  {still.works}" in told and "task       write the tests" in told
        await pilot.press("j")
        told = await shows(app, pilot, f"done  {still.done}")
        await pilot.press("w")
        await shows(app, pilot, f"why {still.done}")
        assert "│" not in screen(app), "beside a text nothing stands"

    played(still, play, "runs", WIDE)


def test_a_question_is_beside_its_row_and_a_narrow_terminal_has_the_list_alone(still: Scene) -> None:
    async def question(app: Console, pilot: Pilot[int]) -> None:
        told = await shows(app, pilot, "command")
        assert "1          8080" in told

    async def narrow(app: Console, pilot: Pilot[int]) -> None:
        await shows(app, pilot, "Which port?")
        assert "│" not in screen(app)

    played(still, question, "inbox", WIDE)
    played(still, narrow, "inbox", (119, 40))


def test_words_of_agents_are_drawn_and_a_command_is_not(
    still: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "# The plan\n\n- *one* <b>step</b>\n- [two](http://x/)\n"
    monkeypatch.setattr(preview, "find_prose", lambda row, answers: text)

    async def play(app: Console, pilot: Pilot[int]) -> None:
        told = await shows(app, pilot, "one <b>step</b>")
        assert "# The plan" not in told and "The plan" in told and "http://x/" not in told.split("two")[0]

    played(still, play, "runs", WIDE)


def test_what_is_drawn_of_each_row() -> None:
    run = {"run": "r-1", "answer": "*done*"}
    question, call = {"kind": "question", "words": "*Which?*"}, {"kind": "call", "words": "rm *"}
    issue = PageRow("S-1", "issue", (), {"issue": "S-1"})
    assert find_prose(PageRow("r-1", "run", (), {"run": "r-1"}), {"beside": run}) == "*done*"
    assert find_prose(PageRow("r-2", "run", (), {"run": "r-2"}), {"beside": run}) == ""
    assert find_prose(PageRow("i", "item", (), question), {}) == "*Which?*"
    assert find_prose(PageRow("i", "item", (), call), {}) == "", "a command is shown as it is"
    session = PageRow("s", "session", (), {"run": "r-1", "last_words": "*so*"})
    assert find_prose(session, {}) == "*so*" and find_prose(session, {"beside": run}) == "*done*"
    (name,) = (asks := list_asks(issue))
    assert asks[name] == ApiAsk("/v1/issues/S-1", once=True)
    assert find_prose(issue, {}) == "" and find_prose(issue, {name: {"text": "# It"}}) == "# It"


def test_nothing_of_it_is_read_oftener_than_the_list(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    async def play(app: Console, pilot: Pilot[int]) -> None:
        await shows(app, pilot, "took")
        for _ in range(3):
            await pilot.press("j")
            await pilot.pause(0.2)
        scene.client.happened()
        await comes(app, pilot, lambda: reads("/v1/tails") >= 2, "it is read with the list")

    def reads(path: str) -> int:
        return sum(asked.partition("?")[0] == path for _, asked, _ in scene.client.asked)

    before = Reader.look
    looks = list[str]()

    def look(reader: Reader, ticket: int, ask: ApiAsk) -> None:
        looks.append(ask.path)
        before(reader, ticket, ask)

    monkeypatch.setattr(Reader, "look", look)
    played(scene, play, "runs", WIDE)
    each = {asked.partition("?")[0] for _, asked, _ in scene.client.asked}
    detail = [path for path in each if path.startswith("/v1/runs/")]
    assert not looks and detail and max(map(reads, [*detail, "/v1/tails"])) <= reads("/v1/runs")


@pytest.mark.parametrize("plain", [False, True], ids=["16-colours", "none"])
@pytest.mark.parametrize(
    ("view", "states"),
    [
        ("runs", {"waiting", "placed", "running", "unverified", "asks you"}),
        ("nodes", {"online", "not heard for"}),
        ("waiting", {"the whole fleet", "a new disk"}),
        ("workflows", {"running"}),
        ("inbox", {"question"}),
    ],
)
def test_each_state_is_a_word_and_the_mark_is_no_colour(
    still: Scene, monkeypatch: pytest.MonkeyPatch, view: str, states: set[str], plain: bool
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("COLORTERM", raising=False)
    if plain:
        monkeypatch.setenv("NO_COLOR", "1")
    terminal = Terminal(force_terminal=True, color_system="standard")

    async def play(app: Console, pilot: Pilot[int]) -> None:
        for words in states:
            await shows(app, pilot, words)
        await comes(app, pilot, lambda: "reading ..." not in screen(app), "what stands beside")
        strips = app.app.screen._compositor.render_strips()
        parts = [part for strip in strips for part in strip]
        styles = [part.style for part in parts if part.style is not None]
        named = [style.color for style in styles if style.color is not None]
        assert all(one.is_default for one in named) if plain else named
        drawn = "".join(strip.render(terminal) for strip in strips)
        assert "38;2;" not in drawn and "48;2;" not in drawn and "38;5;" not in drawn
        marked = [strip for strip in strips if any(part.style and part.style.reverse for part in strip)]
        assert len(marked) == 1, "the marked row, and nothing else, is turned round"

    played(still, play, view, WIDE)
