"""The console: tracks where the user is, handles keys, shows what the reader reports, and starts actions."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.events import Event, Key
from textual.message import Message
from textual.widgets import DataTable, Footer, Input

from pancode.interfaces.tui import preview
from pancode.interfaces.tui.acts import (
    ACTS,
    IDS,
    Act,
    ActKind,
    KeySubject,
    add_flags,
    find_subject,
    format_choices,
    identify_place,
    way_of,
)
from pancode.interfaces.tui.application import SteadyApp, SteadyPage
from pancode.interfaces.tui.bars import Bar, PromptLine
from pancode.interfaces.tui.canvas import ERROR, Canvas, LogView
from pancode.interfaces.tui.dialogs import Confirm, Palette, Words
from pancode.interfaces.tui.keys import KEYS, label_of
from pancode.interfaces.tui.log_reader import LogReader
from pancode.interfaces.tui.page import (
    Json,
    Line,
    Page,
    PageMoment,
    PagePlace,
    filter_rows,
    format_span,
    make_line,
    sort_rows,
    spread_line,
)
from pancode.interfaces.tui.pages.summary import draw_summary
from pancode.interfaces.tui.reader import Acted, AnswersRead, Away, Crashed, Looked, News, Reader, Say
from pancode.interfaces.tui.views import SUMMARY, VIEWS, ApiAsk, Asks, PageView, find_resource, list_resources
from pancode.kernel.errors import PancodeError
from pancode.kernel.formatting import escape_line

KINDS = {name: frozenset(kind for one, kind in ACTS if one == name) for name, _ in ACTS}
"""The kinds of things that each act is for."""
HELD = "held"
"""The code of a landing's refusal that a user's approval lifts."""


class Acting:
    """Asks and does one act at a time, on one thing or on several; a new one drops the last question."""

    def __init__(self, page: SteadyPage, note: Callable[..., None], reader: Reader, by: str) -> None:
        """`note`: shows a line, in a style."""
        self._page, self._note, self._reader, self._by = page, note, reader, by
        self._ticket = 0
        self._things: list[tuple[ActKind, KeySubject, str]] = []
        self._shapes: list[Json] = []

    def begin(self, name: str, things: Sequence[KeySubject]) -> None:
        """Begin the act of this name on these things; each is looked at before the question."""
        self._ticket += 1
        self._shapes, self._things = [], []
        for about in things:
            kind = about.kind_for(KINDS[name])
            way = way_of(about.shape) if (name, kind) == ("approve", "item") else name
            self._things.append((ACTS[way, kind], about, about.name(kind)))
        self._go_on()

    def looked(self, ticket: int, shape: Any) -> None:
        if ticket == self._ticket:
            self._shapes.append(shape)
            self._go_on()

    def _go_on(self) -> None:
        """Look at the next thing, or ask about all of them."""
        for chosen, about, name in self._things[len(self._shapes) :]:
            if chosen.look is not None:
                return self._reader.look(self._ticket, chosen.look(name))
            self._shapes.append(about.shape)
        return self._ask([chosen for chosen, _, _ in self._things], self._shapes)

    def acted(self, act: Act | None, refused: PancodeError | None) -> None:
        """Say how the act ended; where only an approval is missing, ask for it."""
        if refused is None:
            return self._note(act.says if act is not None else "", "green")
        yes = str(getattr(refused, "details", {}).get("yes", ""))
        if act is not None and refused.code == HELD and yes:
            return self._confirm([add_flags(act, refused.why, yes)])
        return self._note(". ".join(filter(None, (str(refused), refused.why, refused.fix))), "red")

    def _ask(self, kinds: Sequence[ActKind], shapes: Sequence[Json]) -> None:
        def make(words: str) -> list[Act]:
            return [kind.act(shape, words) for kind, shape in zip(kinds, shapes, strict=True)]

        labels = [f"{kind.words} {one['run']}" for kind, one in zip(kinds, shapes, strict=True) if kind.words]
        if not labels:
            return self._confirm(make(""))

        def said(words: str | None) -> None:
            if words and words.strip():
                self._send(make(words.strip()))

        told = "".join(map(format_choices, shapes))
        self._page.app.push_screen(Words(f"{', '.join(labels)}:\n{told}"), said)
        return None

    def _confirm(self, acts: Sequence[Act]) -> None:
        def said(yes: bool | None) -> None:
            if yes:
                self._send(acts)

        many = [f"{len(acts)} at once:"] if len(acts) > 1 else []
        self._page.app.push_screen(Confirm("\n".join([*many, *(act.question for act in acts)])), said)

    def _send(self, acts: Sequence[Act]) -> None:
        self._note("asked; waiting for the answer ...")
        for act in acts:
            self._reader.act(act, self._by)


if TYPE_CHECKING:
    from node_agent.wire.clock import Clock


class Source(Protocol):
    """Makes the readers of the console."""

    def reader(self, say: Say) -> Reader: ...
    def log(self, run: str) -> LogReader: ...

    def chat(self, session: str) -> SteadyPage:
        """Return the page on which a user talks with the session."""


@dataclass(slots=True)
class Visit:
    """A place on the way back, as the user left it: its filter, its order, and the key of the marked row.

    `order`: the head of the column that sorts; empty: the rows as they come.
    """

    place: PagePlace
    word: str = ""
    key: str = ""
    order: str = ""
    down: bool = False


@dataclass(slots=True)
class KnownAnswers:
    """The newest answers. `as_of`: when they came; `heard_ms`: the same on the clock since boot."""

    answers: Mapping[str, Any] = field(default_factory=dict)
    as_of: PageMoment | None = None
    heard_ms: int = 0
    away: PancodeError | None = None
    refused: PancodeError | None = None

    def has(self, names: Collection[str]) -> bool:
        return set(names) <= set(self.answers)

    def keep(self, names: Collection[str]) -> None:
        """Forget all answers but these: the others were about another place."""
        self.answers = {name: answer for name, answer in self.answers.items() if name in names}
        self.refused = None


STALE_S = 25.0
"""After how many seconds a page says how long nothing was heard: two readings have not come by then."""


def path_line(places: Sequence[PagePlace], word: str) -> str:
    """Return the path to a place, such as `runs > run r-abc123  /filter`."""
    named = ((one.view, "" if one.view == "item" else one.about) for one in places)
    names = " > ".join(" ".join(filter(None, one)) for one in named)
    return f"{names}  /{word}" if word else names


def title_line(where: str, as_of: PageMoment | None, silent_s: float, columns: int) -> Line:
    """Return the title: the place on the left, the time of the data on the right."""
    right, style = ("asking ...", "dim")
    if as_of is not None:
        right = f"as of {as_of.now.strftime('%H:%M:%S')}"
        if silent_s >= STALE_S:
            right, style = f"{right}, not heard for {format_span(silent_s)}", "red"
    return spread_line(columns - 1, ((f" {escape_line(where)} ", "bold"),), ((right, style),))


def top_line(answers: Json, why: PancodeError | None, silent_s: float) -> Line:
    """Return the summary; in its place the error of a coordinator that is away: the fleet is not idle."""
    if why is None:
        return draw_summary(answers)
    lasted = f" for {format_span(silent_s)}" if silent_s >= 2 else ""
    return ((f" COORDINATOR NOT REACHED{lasted}: {escape_line(why.why or str(why))}", "bold reverse red"),)


def trouble_lines(why: PancodeError) -> tuple[Line, ...]:
    """An error as a page: what happened, why, and the command that repairs it."""
    lines = [make_line(str(why), "red")]
    lines += [make_line(f"why: {why.why}")] if why.why else []
    lines += [make_line(f"fix: {why.fix}")] if why.fix else []
    return tuple(lines)


TICK_S = 0.5
_BY_PRESS = {key.key: key for key in KEYS}
LEAST = (80, 24)
"""Columns and lines below which nothing is drawn but a line that says so."""


class Console(SteadyPage):
    """The console's main page. `by`: the user, as runs and audit show the name."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *(key for key in KEYS if key.action not in ("down", "up", "top", "bottom", "left", "go_in")),
        Binding("ctrl+c", "dismiss(0)", show=False, priority=True),
    ]

    class FeedRead(Message):
        """News from a thread of the reader."""

        def __init__(self, news: News) -> None:
            super().__init__()
            self.news = news

    def __init__(self, source: Source, by: str, clock: Clock, begin: str = "status") -> None:
        super().__init__()
        self._clock, self._source, self._by = clock, source, by
        self._reader = source.reader(lambda news: self.post_message(self.FeedRead(news)))
        self._acting = Acting(self, self.note, self._reader, by)
        self.visits = [Visit(PagePlace(begin))]
        self._heads: tuple[str, ...] = ()
        self._beside_asks: Asks = {}
        self._known, self._page, self._turn = KnownAnswers(heard_ms=clock.boot_ms()), Page(), 0
        self._log_view: LogView | None = None
        self._fits = frozenset[str]()

    # -- life ------------------------------------------------------------------------------------------

    def compose(self) -> ComposeResult:
        self._summary, self._title, self._note_bar = Bar("summary"), Bar("title"), Bar("note")
        self._canvas, self._prompt = Canvas(), PromptLine()
        self._small, self._whole = Bar("small"), Vertical()
        yield self._small
        with self._whole:
            yield from (self._summary, self._title, self._canvas, self._note_bar, self._prompt)
            yield Footer(show_command_palette=False, compact=True)

    def on_mount(self) -> None:
        self.note("")
        self._canvas.focus_page()
        self._reader.start()
        self.set_interval(TICK_S, self._tick)
        self._enter()

    def on_unmount(self) -> None:
        self._reader.stop()
        if self._log_view is not None:
            self._log_view.close()

    def note(self, words: str, style: str = "") -> None:
        """Show one line until the next key; with no words, remove it."""
        self._note_bar.tell((make_line(words, style),) if words else ())

    # -- news ------------------------------------------------------------------------------------------

    def on_console_feed_read(self, message: FeedRead) -> None:
        match message.news:
            case AnswersRead() as answers:
                self._send_answer(answers)
            case Away(why):
                self._known.away = why
                if self._known.as_of is None:
                    self._canvas.words(trouble_lines(why))
                self._draw()
            case Looked(ticket, shape):
                self._acting.looked(ticket, shape)
            case Acted(act, refused):
                self._acting.acted(act, refused)
            case Crashed(error):
                self.crashed(error)

    def _send_answer(self, news: AnswersRead) -> None:
        if news.turn == self._turn:
            moment = PageMoment.of(self._clock.wall_ms())
            self._known = KnownAnswers(news.answers, moment, self._clock.boot_ms(), None, news.refused)
            self._draw()

    # -- drawing ---------------------------------------------------------------------------------------

    @property
    def _here(self) -> tuple[Visit, PageView]:
        visit = self.visits[-1]
        return visit, VIEWS[visit.place.view]

    def _enter(self) -> None:
        """Ask for what the newest visit shows, and show what is known already."""
        self._turn += 1
        visit, view = self._here
        self._page = Page(shape=identify_place(visit.place))
        if self._log_view is not None:
            self._log_view.close()
            self._log_view = None
        self._canvas.pane.scroll_to(0, 0, animate=False, immediate=True)
        self._canvas.table.entries = ()
        self._canvas.table.marked.clear()
        self._canvas.words((make_line("asking the coordinator ...", "dim"),))
        self._known.keep(SUMMARY)
        self._beside_asks = {}
        self._want()
        if visit.place.view == "log":
            reader = self._source.log(visit.place.about)
            self._canvas.words(())
            self._log_view = LogView(reader, self._canvas)
            self._reader.beside(reader.read)
        self._draw()

    def _want(self) -> None:
        """What the page shows, and what stands beside it."""
        visit, view = self._here
        mine = {"now": ApiAsk(SUMMARY["now"].path, {"by": self._by})}
        asks = {**SUMMARY, **mine, **view.asks(visit.place.about), **self._beside_asks}
        self._reader.want(self._turn, asks)

    def _draw(self) -> None:
        """Draw the page, if its answers have come."""
        visit, view = self._here
        known = self._known
        if self._log_view is not None:
            self._log_view.draw(visit.word)
        elif known.as_of is not None and known.has({**SUMMARY, **view.asks(visit.place.about)}):
            width, height = self.size
            moment = replace(known.as_of, width=width, height=height, away=known.away is not None)
            page = view.page(known.answers, visit.place.about, moment)
            self._heads = page.head
            self._page = filter_rows(sort_rows(page, visit.order, visit.down), visit.word)
            aside = preview.count_columns(self._page, self.size.width)
            self._canvas.show(self._page, visit.key, view.wraps, aside)
            visit.key = ""  # the mark is where the user moves it
            self._preview()
        elif known.refused is not None:
            self._canvas.words(trouble_lines(known.refused))
        self._draw_frame()

    def _preview(self) -> None:
        """Beside the list the marked row in short; the next readings have what that takes."""
        row, moment = self._canvas.row, self._known.as_of
        if row is None or moment is None or not preview.count_columns(self._page, self.size.width):
            return self._canvas.tell_beside(())
        if (asks := preview.list_asks(row)) != self._beside_asks:
            self._beside_asks = asks
            self._want()
        refused = self._known.refused
        if refused is not None:
            return self._canvas.tell_beside(trouble_lines(refused))
        answers = self._known.answers
        return self._canvas.tell_beside(
            preview.draw_lines(row, answers, moment), preview.find_prose(row, answers)
        )

    def _draw_frame(self) -> None:
        """Draw the lines around the page."""
        silent_s, away = (self._clock.boot_ms() - self._known.heard_ms) / 1000, self._known.away
        self._summary.tell((top_line(self._known.answers, away, silent_s),))
        where = path_line([visit.place for visit in self.visits], self.visits[-1].word)
        where += f"  ({self._log_view.state})" if self._log_view is not None else ""
        where += f"  {len(marked)} marked" if (marked := self._canvas.table.marked) else ""
        self._title.tell((title_line(where, self._known.as_of, silent_s, self.size.width),))
        if self._subject.kinds != self._fits:
            self._fits = self._subject.kinds
            self.refresh_bindings()

    def _tick(self) -> None:
        if self._log_view is not None:
            self._log_view.draw(self.visits[-1].word)
        else:
            self._preview()
        self._draw_frame()

    def on_resize(self) -> None:
        """Draw anew; where there is too little room, only a line that says so."""
        small = self.size.width < LEAST[0] or self.size.height < LEAST[1]
        needs = f"pancode top needs {LEAST[0]}x{LEAST[1]}; this is {self.size.width}x{self.size.height}"
        self._small.tell((make_line(needs),) if small else ())
        self._whole.display = not small
        self._draw()

    # -- keys ------------------------------------------------------------------------------------------

    @property
    def _subject(self) -> KeySubject:
        return find_subject(self._page, self._canvas.row, self.visits[-1].place)

    def pressed(self, event: Event) -> None:
        """Remove the note; say what a key is for where nothing like it is marked."""
        if self._prompt.display:
            return
        self.note("")
        key = _BY_PRESS.get(event.key) if isinstance(event, Key) else None
        name, _, argument = key.action.partition("(") if key is not None else ("", "", "")
        kinds = self._kinds_for(name, (argument.strip("')"),))
        searches = self._log_view is not None and name == "act" and argument == "'deny')"  # `n` of a log
        if key is not None and kinds and not searches and not self._subject.kinds & kinds:
            words = " and ".join(sorted(kinds))
            self.note(f"{label_of(key)} acts on {words}: nothing like it is marked")

    def _kinds_for(self, action: str, parameters: tuple[object, ...]) -> frozenset[str]:
        """Return the kinds of things that an action is for; empty: it is for nothing in particular."""
        if action == "view":
            return frozenset({"run"})
        return KINDS[str(parameters[0])] if action == "act" else frozenset()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action in ("ask_filter", "ask_resource"):
            return not self._prompt.display  # an open prompt takes `/` and `:` as text
        if action == "log":
            return self._log_view is not None
        kinds = self._kinds_for(action, parameters)
        return not kinds or bool(self._subject.kinds & kinds)

    def action_act(self, name: str) -> None:
        """Begin the act on the marked thing."""
        marked = [row for row in self._canvas.table.entries if row.key in self._canvas.table.marked]
        things = [find_subject(self._page, row, self.visits[-1].place) for row in marked]
        self._acting.begin(name, [one for one in things if one.kinds & KINDS[name]] or [self._subject])

    def action_mark(self) -> None:
        """Mark the row for an act on several, or take its mark away, and go on to the next."""
        row, marked = self._canvas.row, self._canvas.table.marked
        if row is not None and row.kind in IDS:
            marked ^= {row.key}
            self._canvas.table.action_cursor_down()
            self._draw()

    def action_compare(self) -> None:
        """Show the two marked runs side by side."""
        marked = [row for row in self._canvas.table.entries if row.key in self._canvas.table.marked]
        runs = [str(row.shape["run"]) for row in marked if row.shape.get("run")]
        if len(runs) == 2:
            self.go(PagePlace("compare", " ".join(runs)))
        else:
            self.note("= compares two runs: mark them with Space")

    def action_view(self, name: str) -> None:
        self.go(PagePlace(name, self._subject.name("run")))

    def action_log(self, key: str) -> None:
        """Do what this key does in a log."""
        log, run = self._log_view, self.visits[-1].place.about
        if log is None:
            return
        match key:
            case "e":
                self.note("" if log.go_to(ERROR) else "no error below")
            case "n" | "N":
                self.note(log.go_to_word(forward=key == "n"))
                self.visits[-1].word = ""
            case "f":
                self._canvas.pane.scroll_end(animate=False)
            case "z":
                log.wraps = not log.wraps
            case _:
                try:
                    log.save(path := Path(f"{run}.log").absolute())
                    self.note(f"saved as {path}")
                except OSError as error:
                    self.note(f"not saved: {error}", "red")
        self._draw()

    def action_palette(self) -> None:
        self.app.push_screen(Palette())

    def action_inbox(self) -> None:
        self.go(PagePlace("inbox"))

    def action_again(self) -> None:
        """Read everything again, the theme included."""
        self._enter()
        if isinstance(self.app, SteadyApp):
            self.app.dress()

    def action_leave(self) -> None:
        self.dismiss(0)

    def go(self, place: PagePlace) -> None:
        """Go into a place; Esc comes back from it."""
        row = self._canvas.row
        self.visits[-1].key = row.key if row is not None else ""
        if self.visits[-1].place != place:
            self.visits.append(Visit(place))
        self._enter()

    def _go_in(self) -> None:
        row = self._canvas.row
        if row is not None and row.kind == "session":
            # The chat stands above this page until the user leaves it.
            page = self._source.chat(row.key)

            def left(status: int | None) -> None:
                self._enter()
                self.note(page.refusal, "red")

            self.app.push_screen(page, left)
        elif row is not None and row.enters is not None:
            self.go(row.enters)

    def action_back(self) -> None:
        """Leave the prompt, if it is open; then the filter, or else the place."""
        if self._prompt.display:
            self.end_prompt()
        if self.visits[-1].word:
            self.visits[-1].word = ""
            self._draw()
        elif len(self.visits) > 1:
            self.visits.pop()
            self._enter()

    def action_order(self, turned: bool) -> None:
        """Sort by the next column; `turned`: by the same one in the other direction."""
        visit, row = self.visits[-1], self._canvas.row
        every = ("", *self._heads)
        if turned:
            visit.down = not visit.down
        else:
            at = every.index(visit.order) + 1 if visit.order in every else 1
            visit.order, visit.down = every[at % len(every)], False
        visit.key = row.key if row is not None else ""
        self._draw()
        self.note(f"ordered by {visit.order}" if visit.order else "in the order in which they come")

    def action_copy(self) -> None:
        name = self._subject.copied
        if name:
            self.app.copy_to_clipboard(name)
        self.note(f"copied {name}" if name else "nothing here has an id")

    def on_data_table_row_selected(self, message: DataTable.RowSelected) -> None:
        self._go_in()

    def on_data_table_row_highlighted(self, message: DataTable.RowHighlighted) -> None:
        self._preview()
        self._draw_frame()

    # -- the prompt ------------------------------------------------------------------------------------

    def on_input_changed(self, event: Input.Changed) -> None:
        if event.input is self._prompt and self._prompt.sign == "/":
            self.visits[-1].word = event.value
            self._draw()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        if event.input is not self._prompt:
            return
        sign = self._prompt.sign
        if not sign:  # a second Enter, which came before the first one had closed the prompt
            return self._go_in()
        self.end_prompt()
        if sign == ":":
            self._resource(event.value)

    def action_ask_resource(self) -> None:
        self.note(": go to a resource; Tab completes")
        self._prompt.open(":")

    def action_ask_filter(self) -> None:
        self.note("/ filter; Enter keeps it, Esc ends it")
        self._prompt.open("/", self.visits[-1].word)

    def end_prompt(self) -> None:
        """Close the prompt and go back to the page."""
        self.note("")
        self._prompt.close()
        self._canvas.focus_page()

    def _resource(self, typed: str) -> None:
        found = find_resource(typed)
        if found is None:
            return self.note(f"resource {typed!r} not found: {', '.join(list_resources())}", "red")
        if found == "quit":
            self.dismiss(0)
        else:
            self.visits = [Visit(PagePlace(found))]
            self._enter()
        return None
