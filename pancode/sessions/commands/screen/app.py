"""The screen of the chat with one session: keys, updates, and the lines above and below the conversation."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, cast

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Input, Static

from pancode.conversation.answers import SessionShape
from pancode.conversation.model import HeardMessage, Part, SessionTalk
from pancode.interfaces.cli.terminal import safe_block
from pancode.interfaces.client.session import OVER, SessionActs
from pancode.interfaces.tui.application import SteadyApp, SteadyPage
from pancode.interfaces.tui.bars import Bar, PromptLine
from pancode.interfaces.tui.page import Line, spread_line
from pancode.kernel.errors import PancodeError, UsageError
from pancode.kernel.formatting import clip_columns, count_noun, escape_line
from pancode.runs.answers import QueuedAnswer
from pancode.sessions.commands.line_chat import spent_in_all
from pancode.sessions.commands.screen import blocks, card
from pancode.sessions.commands.screen.blocks import AnswerText, TalkView
from pancode.sessions.commands.screen.card import QUIET_MS, AskCard, CardAnswer
from pancode.sessions.commands.screen.controller import ChatController, Consent, News
from pancode.sessions.commands.screen.field import Field, Popup
from pancode.sessions.commands.screen.look import GLYPHS, QUIET, STATES, draw_glyph, draw_rule, format_clock
from pancode.sessions.commands.screen.mode_keys import SETTLE_MS, ChosenTerms
from pancode.sessions.commands.screen.transcript import AnswerBlock, CallsBlock, TalkStory, plain_of
from pancode.sessions.commands.slash import COMMANDS, TypedCommand, format_overview, parse_command

if TYPE_CHECKING:
    from node_agent.wire.clock import Clock

PAINT_MS, CALM = 50, 2
"""The least milliseconds between two repaints, and the least ratio of this pause to a repaint's duration."""
HELP = """\
Enter sends, Ctrl-J begins a new line. Esc ends the turn at work. Ctrl-D leaves, and nothing ends.
Tab goes to a question, and its keys answer it; one of them alone in the field, and Enter, does so, too.
Alt-U takes back the change of the configuration that you have just said yes to.
Up and Down bring back what you typed, Ctrl-R looks for it. @ names runs and files, / commands.
Shift-Tab goes through the modes plan, build and review; Alt-A to admin and back. Ctrl-Y changes the level.
Ctrl-O folds and unfolds all calls. Ctrl-Up and Ctrl-Down mark a block: Enter opens it, Alt-C copies it.
PageUp reads back, Ctrl-End follows again. Ctrl-F finds, Enter there goes to the next."""


KEYS = {
    **{"ctrl+d": "leave_or_delete", "ctrl+c": "clear_or_leave", "escape": "escape", "tab": "other"},
    **{"ctrl+o": "fold", "ctrl+r": "recall", "ctrl+f": "find", "alt+c": "copy", "alt+u": "undo"},
    **{"shift+tab": "choose('turn_mode')", "alt+a": "choose('admin')", "ctrl+y": "choose('turn_level')"},
    **{"ctrl+up": "mark(-1)", "ctrl+down": "mark(1)", "pageup": "page(-1)", "pagedown": "page(1)"},
    "ctrl+end": "follow",
}


class ChatScreen(SteadyPage):
    """The screen of a chat. `by`: the user. `first`: a message to send at once."""

    CSS = (
        """
    ChatScreen { layers: base over; }
    #head, #pulse, #edge, #foot { height: 1; }
    #write { height: auto; } #sign { width: 2; color: ansi_cyan; }
    Field, Field:focus { width: 1fr; height: auto; max-height: 8; border: none; padding: 0;
      background: ansi_default; color: ansi_default; }
    Popup { layer: over; dock: bottom; width: 80%; max-width: 80; height: auto; max-height: 10; display: none;
      margin: 0 0 3 1; border: round ansi_cyan; background: ansi_default; color: ansi_default; padding: 0; }
    """
        + blocks.CSS
        + card.CSS
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(key, action, show=False, priority=key != "escape") for key, action in KEYS.items()
    ]

    class Heard(Message):
        """An update from one of the controller's threads."""

        def __init__(self, news: News) -> None:
            super().__init__()
            self.news = news

    def __init__(
        self, controller: ChatController, clock: Clock, by: str, folder: str, first: str = ""
    ) -> None:
        super().__init__()
        self.controller, self._clock = controller, clock
        self._by, self._folder, self._first = by, folder, first
        self.talk, self._conversation = TalkStory(), SessionTalk()
        self.terms = ChosenTerms(controller.change)
        self.shape = cast(SessionShape, {})  # Empty until the first state has arrived.
        self._state = "starts" if controller.run else ""
        self._since_ms = self._key_ms = clock.mono_ms()
        self._away_ms: int | None = None
        self._next_ms, self._paints = 0, False
        self._note: tuple[str, str] = ("", "")
        self._progress = self._note
        """A note that ends with the next update of the session, such as one about a lost connection."""
        self._replies: CardAnswer | None = None
        self._agreed = False
        """Whether the user's last approval was of a change, and the coordinator has not refused it."""
        self._sure: Any = None
        """The question that the user answered with "always" once; a second "always" confirms it."""
        self._card_ms = 0
        """When the question on the card appeared."""
        self._leaves = False
        self._live = 0
        """How many other runs are at work."""
        self._popup = Popup()
        self.field = Field(self._popup)

    # -- lifecycle -------------------------------------------------------------------------------------

    def compose(self) -> ComposeResult:
        self._head, self._pulse, self._edge, self._foot = map(Bar, ("head", "pulse", "edge", "foot"))
        self.view = TalkView(self.talk.blocks, escape_line(self._by))
        self.card = AskCard(self._send_answer, self._type)
        self._find = PromptLine()
        self._find.placeholder = "find; Enter finds the next one, Esc closes"
        self._sign = Static("\u276f ", id="sign", markup=False)
        yield from (self._head, self.view, self.card, self._pulse, self._edge, self._find)
        with Horizontal(id="write"):
            yield self._sign
            yield self.field
        yield self._foot
        yield self._popup

    def on_mount(self) -> None:
        self.field.focus()
        self.set_interval(0.5, self._draw_frame)
        self._draw_frame()
        self.call_after_refresh(self._begin)

    def _begin(self) -> None:
        """Start the controller. The prompt is already drawn, so nothing typed now is lost."""
        self.controller.start(lambda news: self.post_message(self.Heard(news)))
        if self._first:
            self._enter(self._first.strip())

    def on_unmount(self) -> None:
        if self.controller.run:
            self.terms.send()
        self.controller.stop()
        if isinstance(self.card.asks, Consent):
            self.card.asks.answer.put(False)

    def tell_unsent(self, say: Callable[[str], object]) -> None:
        """Print, after the user has left, which messages were not sent or may not have been sent."""
        unsure = self.controller.leave()
        for one in unsure:
            what = safe_block(one or "your last selection").rstrip()
            say(f"it is unknown whether this was sent: {what}\n  check: pancode sessions\n")
        for one in (*self.controller.refused, self.field.text.strip()):
            if one and one not in unsure:
                say(f"not sent: {safe_block(one).rstrip()}\n")

    # -- updates ---------------------------------------------------------------------------------------

    def on_chat_screen_heard(self, message: Heard) -> None:
        kind, data = message.news
        if kind not in ("away", "note", "progress"):
            self._away_ms = None
        if kind in ("session", "log") and self._note == self._progress:
            self._note = ("", "")
        heard: dict[str, Callable[[Any], None]] = {
            **{"session": self._take_shape, "begun": self._take_begun, "panel": self._show_panel},
            **{"agree": self._show_question, "found": self.talk.found, "terms": self.terms.settings},
            **{
                "warning": self._warn,
                "crash": self.crashed,
                "refused": lambda refused: self._show_error(*refused),
            },
        }
        match kind:
            case "log" | "end":
                talk = self._conversation
                for part in talk.feed(*data) if kind == "log" else talk.end():
                    self._take(part)
                if kind == "log":
                    self.controller.taken()
            case "note" | "progress":
                self._note = (escape_line(data), QUIET)
                self._progress = self._note if kind == "progress" else self._progress
            case "away":
                self._away_ms = self._clock.mono_ms() if self._away_ms is None else self._away_ms
            case "live":
                self._live = data
            case "things":
                self.field.things = data
                self.field.suggest()
            case _ if kind in heard:
                heard[kind](data)
        self._wants_paint()
        self._draw_frame()

    def _take(self, part: Part) -> None:
        """Show a part of the conversation. A message in it whose response was lost has arrived after all, so
        remove that message from the field."""
        if isinstance(part, HeardMessage) and part.by == self._by:
            text = part.text.strip()
            if text in self.controller.unsure:
                self.controller.arrived(text)
                if self.field.text.strip() == text:
                    self.field.put("")
        self.talk.take(part)

    def _take_shape(self, shape: SessionShape) -> None:
        """Apply the session's new state."""
        self.shape = shape
        self.terms.shaped(shape)
        state, failed = shape["state"], shape["interactive_runs"][-1]["outcome"] not in (None, "done")
        if state != self._state:
            self._state, self._since_ms = state, self._clock.mono_ms()
            if self._note[1] == QUIET:  # It was about the state before.
                self._note = ("", "")
            if state in OVER and failed:
                self.talk.tell(f"{state}: {shape['reason']}   why: pancode why {shape['run']}", "failed")
        if not isinstance(self.card.asks, Consent):  # A thread waits for the user's answer to a Consent.
            self._show_question(shape["asks"])

    def _warn(self, warning: str) -> None:
        self.talk.tell(f"warning: {warning}", "error")

    def _take_begun(self, begun: QueuedAnswer) -> None:
        chosen = f", {begun['chosen']}" if begun["chosen"] else ""
        self.talk.tell(f"session {begun['run']}: agent {begun['agent']}{chosen}")
        for warning in begun["warnings"]:
            self._warn(warning)
        self._state, self._since_ms = "starts", self._clock.mono_ms()

    def _show_panel(self, panel: tuple[str, str]) -> None:
        """Show the output of a command."""
        self._note = ("", "")
        self.talk.panel(*panel)
        if panel[0].startswith("/theme ") and isinstance(self.app, SteadyApp):
            self.app.dress()

    def _show_error(self, error: PancodeError, words: str) -> None:
        """Show the error and put the message back into the field; only the user may send it again."""
        self.terms.over()
        self._agreed, self._note = False, ("", "")
        self.talk.tell(". ".join(filter(None, (str(error), error.why, error.fix))), "error")
        if words:
            self.talk.unsent(words)
        if words in (*self.controller.unsure, *self.controller.refused) and not self.field.text:
            self.field.put(words)
            if words in self.controller.refused:
                self.controller.refused.remove(words)
        if not self.controller.run:
            self._state = ""

    def _show_question(self, question: Any) -> None:
        """Show the question; keys pressed for the previous question do not answer it."""
        if self.card.show(question):
            self._card_ms = self._key_ms = self._clock.mono_ms()
            self._reply_to(None)
            if isinstance(question, Consent):
                self.app.bell()

    # -- drawing ---------------------------------------------------------------------------------------

    def _wants_paint(self) -> None:
        """Schedule a repaint: the first one at once, later ones after a pause in which keys are handled."""
        if not self._paints:
            self._paints = True
            # A Textual timer that is late when it starts never fires, which would freeze the screen.
            wait_s = max(0, self._next_ms - self._clock.mono_ms()) / 1000
            asyncio.get_running_loop().call_later(wait_s, self.call_next, self._paint_blocks)

    async def _paint_blocks(self) -> None:
        begin = self._clock.mono_ms()
        changed, self.talk.changed[:] = list(self.talk.changed), []
        await self.view.sync(changed)
        self.call_after_refresh(self._note_painted, begin)

    def _note_painted(self, begin: int) -> None:
        now = self._clock.mono_ms()
        self._paints, self._next_ms = False, now + max(PAINT_MS, CALM * (now - begin))
        if self.talk.changed:
            self._wants_paint()

    def _draw_frame(self) -> None:
        """Draw the lines around the conversation."""
        if not self.is_running:
            return
        columns, now = self.size.width, self._clock.mono_ms()
        shape = self.shape
        title = escape_line(shape.get("title") or "New session")
        place = escape_line(" \u00b7 ".join(filter(None, (shape.get("agent"), shape.get("node")))))
        name = shape.get("session", self.controller.run)
        right = f" {place} \u00b7 {name} " if place and columns >= 80 else f" {name} " if name else ""
        title = f" {clip_columns(title, max(8, columns - len(right) - 8))} "
        self._head.tell((draw_rule(columns, ((title, "bold"),), ((right, QUIET),)),))
        self._pulse.tell((self._pulse_line(columns, now),))
        means = " ".join(filter(None, (shape.get("runtime"), shape.get("model"))))
        self._edge.tell((self.terms.line(columns, escape_line(means)),))
        live = f" {count_noun(self._live, 'other run')} at work" if self._live else ""
        left = f"{live} {spent_in_all(self.shape)}" if self.shape.get("session") else live
        leave = " detach, work continues" if columns >= 100 else " detach"
        keys: Line = (("Ctrl-D", "bold"), (leave, QUIET), ("  /help", "bold"))
        self._foot.tell((spread_line(columns - 1, ((left, ""),), keys),))
        if self.controller.run and now - self._key_ms >= SETTLE_MS:
            self.terms.send()

    def _pulse_line(self, columns: int, now: int) -> Line:
        state = "asks" if isinstance(self.card.asks, Consent) else self._state
        sign, words = STATES.get(state, ("unknown", escape_line(state)))
        if sign == "waiting" and self.shape.get("reason"):
            words = clip_columns(f"{words}: {escape_line(self.shape['reason'])}", max(8, columns - 4))
        clock = format_clock((now - self._since_ms) // 1000)
        lasts = f"  {clock}" if self._state in ("works", "asks") else ""
        if not self.shape.get("heard", True):
            node, sign, lasts = escape_line(self.shape["node"] or ""), "unknown", ""
            words = f"{node} is unreachable; the turn on it is assumed to continue"
        if self._away_ms is not None:
            sign, lasts = "unknown", f"  {format_clock((now - self._away_ms) // 1000)}"
            words = "the coordinator is unreachable; your text is kept here"
        tone = GLYPHS[sign][1] if sign != "waiting" else ""
        left: Line = ((" ", ""), draw_glyph(sign), (f" {words}", tone), (lasts, QUIET))
        if self._note[0]:
            left = (*left, ("   ", ""), self._note)
        right = "" if self.view.follows else "\u25bc more below \u00b7 Ctrl-End"
        if not right and not self._note[0] and self._state in ("works", "asks"):
            right = "Esc stops this turn"
        return spread_line(columns - 1, left, ((right, QUIET),))

    def on_resize(self) -> None:
        self._draw_frame()

    # -- keys ------------------------------------------------------------------------------------------

    def pressed(self, event: events.Event) -> None:
        self._key_ms, self._note = self._clock.mono_ms(), ("", "")
        self._leaves = self._leaves and isinstance(event, events.Key) and event.key == "ctrl+c"

    def action_leave_or_delete(self) -> None:
        """Ctrl-D: leave; if the field has text, delete the character after the cursor."""
        if self.field.text:
            self.field.action_delete_right()
        else:
            self.dismiss(0)

    def action_clear_or_leave(self) -> None:
        """Ctrl-C: copy any selection; else clear the field; if it is empty, leave on a second press."""
        selected = self.get_selected_text()
        if selected:
            self.app.copy_to_clipboard(selected)
            self.clear_selection()
        elif self.field.text:
            self.field.typed.add(self.field.text)
            self.field.put("")
        elif self._leaves:
            self.dismiss(0)
        else:
            self._leaves, self._note = True, ("press Ctrl-C again to leave; the session continues", "")
        self._draw_frame()

    def action_other(self) -> None:
        """Tab: accept the suggestion, if any; else switch between the field and the card."""
        if self._popup.display:
            self.field._take_suggestion()
        elif self.card.asks is not None and self.focused is not self.card:
            self.set_focus(self.card)
        else:
            self.set_focus(self.field)

    def action_escape(self) -> None:
        """Esc: close what is open, if anything is; else cancel the current turn."""
        if self._find.display:
            self._find.close()
            self.view.mark(None)
            self.view.anchor()
            self.set_focus(self.field)
        elif self.focused is self.card:
            self.set_focus(self.field)
        elif self._replies is not None:
            self._reply_to(None)
        elif self.view.marked is not None:
            self.view.mark(None)
            self.view.anchor()
        elif self._state in ("works", "asks"):
            turn = self._conversation.turn
            self.controller.do(lambda acts: acts.cancel(turn))
            self._note = ("cancelling the turn", "")
        self._draw_frame()

    def action_choose(self, what: str) -> None:
        """Select another mode or level with `ChosenTerms`, which sends the choice after a pause in typing."""
        getattr(self.terms, what)()
        self._draw_frame()

    def action_fold(self) -> None:
        calls = [one for one in self.talk.blocks if isinstance(one, CallsBlock)]
        opens = not any(one.is_open for one in calls)
        for one in calls:
            one.is_open = opens
            self.view.redraw(one)

    def action_undo(self) -> None:
        """Undo the change approved here, at most once: the newest change may then be another user's."""
        if self._agreed:
            self._enter("/settings undo")
        self._agreed = False

    def action_recall(self) -> None:
        self.set_focus(self.field)
        self.field.recall()

    def action_find(self) -> None:
        self._find.open("find", self._find.value)

    async def on_input_submitted(self, event: Input.Submitted) -> None:
        found = self.view.find(event.value) if event.value else None
        if found is None:
            self._note = (f"nothing has {escape_line(event.value)!r}", "")
        await self._paint_blocks()
        self.call_after_refresh(self.view.mark, found)
        self._draw_frame()

    def action_mark(self, by: int) -> None:
        self.view.mark_next(by)

    def action_copy(self) -> None:
        """Copy the marked block, or the last answer if no block is marked."""
        answers = [one for one in self.talk.blocks if isinstance(one, AnswerBlock)]
        block = self.view.marked or (answers[-1] if answers else None)
        if block is not None:
            self.app.copy_to_clipboard(plain_of(block))
        self._note = ("copied" if block is not None else "there is nothing to copy yet", "")
        self._draw_frame()

    async def action_page(self, by: int) -> None:
        self.view.release_anchor()
        if self.view.page(by):
            await self._paint_blocks()
        self._draw_frame()

    def action_follow(self) -> None:
        self.view.anchor()

    # -- messages --------------------------------------------------------------------------------------

    def on_field_named(self) -> None:
        self.controller.look(self._folder)

    def on_field_sent(self, message: Field.Sent) -> None:
        text = message.text.strip()
        marked = self.view.marked
        if not text and isinstance(marked, CallsBlock):
            marked.is_open = not marked.is_open
            self.view.redraw(marked)
        if not text:
            return
        self.field.put("")
        if self._replies is None and (answer := self.card.answer_by(text)) is not None:
            self._send_answer(answer)
            return
        self.field.typed.add(text)
        self._enter(text)

    def _enter(self, text: str) -> None:
        """Run the command or send the message; put an invalid line back into the field."""
        try:
            command = parse_command(text)
            if command is not None:
                self._run_command(command)
            elif self._replies is not None:
                question = self._replies.question
                how = "words" if question["kind"] == "question" else "no"
                self.controller.do(lambda acts: acts.decide(question, how, text), text)
                self._reply_to(None)
            else:
                self._say(text)
        except UsageError as error:
            self._note = (f"{error}; {error.fix}", "")
            self.field.put(text)
        self._draw_frame()

    def _say(self, text: str) -> None:
        self.talk.sent(text, escape_line(self._by))
        self.view.mark(None)
        self.view.anchor()
        if self.controller.run or self._state == "begins":
            if self.controller.run:
                self.terms.send()
            self.controller.say(text)  # If the session is starting, the line is sent after the start.
        else:
            self._state, self._since_ms = "begins", self._clock.mono_ms()
            self.controller.begin(text, self.terms.first())
        self._wants_paint()

    def _run_command(self, command: TypedCommand) -> None:
        name = command.command.name
        if name == "/detach":
            self.dismiss(0)
        elif name == "/help":
            self.talk.panel(name, f"{HELP}\n\n{format_overview()}".rstrip())
        elif name == "/copy":
            self.action_copy()
        elif command.command.says:
            self.talk.tell(command.command.says)
        elif command.command.bare:
            if name in ("/modes", "/safety") and not command.words:
                mode, safety = self.terms.now
                self.talk.tell(f"this session: mode {mode}, safety {safety}")
            if name == "/cost" and self.shape.get("session"):
                turns = sum(one["turns"] for one in self.shape["interactive_runs"])
                self.talk.tell(f"this session: {count_noun(turns, 'turn')}, {spent_in_all(self.shape)}")
            self._note = (f"{escape_line(command.text)} ...", QUIET)
            self.controller.show(command, max(40, self.size.width - 4))
        elif not self.controller.run:
            self._note = ("the session has not started", "")
        else:
            turn = self._conversation.turn
            acts: dict[str, Callable[[SessionActs], object]] = {
                **{
                    "/cancel": lambda acts: acts.cancel(turn),
                    "/rest": SessionActs.rest,
                    "/end": SessionActs.end,
                }
            }
            self.controller.do(acts[name])
        self._wants_paint()

    def _type(self, character: str) -> None:
        """Insert a letter into the field when it was typed while the card had the focus."""
        self.set_focus(self.field)
        self.field.insert(character)

    def _send_answer(self, answered: CardAnswer) -> None:
        question, how = answered.question, answered.how
        if self._clock.mono_ms() - self._card_ms < QUIET_MS:
            self._note = ("this question has just appeared: read it, then press the key again", "")
            return
        if how == "always" and self._sure != question:
            self._sure = question
            self._note = ("allow it in the whole run? press a again; y allows it once", "")
            return
        if how == "words":
            self._reply_to(answered)
            return
        if isinstance(question, Consent):
            question.answer.put(how == "yes")
            # Shows the agent's question that waited until the Consent was answered.
            self._show_question(self.shape.get("asks"))
        elif how == "yes" and question["kind"] == "landing":
            # A landing may run gates for minutes, so a separate thread runs it and a panel shows the result.
            self._run_command(TypedCommand(COMMANDS["/approve"], (question["run"], *question["yes"])))
        elif how == "choice":
            self.controller.do(lambda acts: acts.decide(question, "words", answered.choice))
        else:
            self.controller.do(lambda acts: acts.decide(question, how))
        self._agreed = how == "yes" and isinstance(question, dict) and question["kind"] == "change"
        self._note = ("sent; Alt-U undoes the change" if self._agreed else "sent", "")
        self.set_focus(self.field)

    def _reply_to(self, answered: CardAnswer | None) -> None:
        """Use the next message as the answer to this question, or as the reason for a denial."""
        self._replies = answered
        self._sign.update("\u276f " if answered is None else "? ")
        if answered is not None:
            self._note = ("your next message answers this question; press Esc to cancel that", "")
        self.set_focus(self.field)  # Move the focus now, as the next key is not meant for the card.

    def on_markdown_link_clicked(self, event: AnswerText.LinkClicked) -> None:
        """Copy and show the link's address without opening it, as the link's text may disguise the target."""
        self.app.copy_to_clipboard(escape_line(event.href))
        self._note = (f"copied {escape_line(event.href)}", "")
        self._draw_frame()
