"""The line-by-line terminal chat of one session: shows the session, sends messages and answers questions."""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import suppress
from shutil import get_terminal_size
from typing import Any, cast

from node_agent.wire.clock import Clock, Ids
from pancode.conversation.answers import SessionQuestion, SessionShape
from pancode.conversation.lines import OURS, LineStory
from pancode.conversation.model import Part, SessionTalk, Turn
from pancode.interfaces.cli.output import Face, exit_of, find_user, tell_error, write_stderr
from pancode.interfaces.cli.terminal import (
    Sink,
    escape_line,
    format_count,
    format_usd,
    list_choices,
    safe_block,
)
from pancode.interfaces.client import session as client_session
from pancode.interfaces.client.caller import terminal_is_gone
from pancode.interfaces.client.client import Client
from pancode.kernel.errors import ExitCode, PancodeError
from pancode.kernel.formatting import count_noun
from pancode.runs.answers import RUN
from pancode.sessions.commands import slash

OWN_COUNT, ASSUMED = "reported", "assumed"
"""Sources of a cost that the model gateway did not meter: the program's own count, or partly assumed."""
REST_MS = 700
"""How long after a question a typed line cannot be its answer, because no one reads so fast; as on the
screen."""
ONCE, ALWAYS, NO = ("y", "yes"), ("a", "always"), ("n", "no")
HELP = """  words          are sent to the agent; while it works, with its next model call
  Ctrl-D, Ctrl-C leave; nothing ends. Answer a question with y, n WORDS, a (always), or a number.
"""


def lost_turn(shape: SessionShape) -> str:
    """Return what the user must decide about an interrupted turn, with the commands for it."""
    run, turn = shape["run"], shape["turn"]
    if shape["interactive_runs"][-1]["outcome"] == "lost":
        return f"send the messages of the lost run again: pancode runs retry {run}"
    which = f"turn {turn['number']}" if turn else "a turn"
    again = f'its messages again, or others: pancode attach {shape["session"]} "..."'
    look = f"see what it did: pancode diff {run}"
    return f"{which} was interrupted and is not repeated automatically; {look}; send {again}"


def read_line() -> str | None:
    """Return the next line of standard input; None at its end.

    Reads unbuffered: a thread waiting for a line would otherwise hold the buffer's lock at exit.
    """
    line = b""
    with suppress(OSError):  # The terminal was closed.
        while (byte := os.read(sys.stdin.fileno(), 1)) not in (b"", b"\n"):
            line += byte
        return line.decode("utf-8", "replace") if line or byte else None
    return None


def leaves_with_terminal() -> None:
    """Treat a closed terminal like Ctrl-C: only this command ends."""
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
        signal.signal(signal.SIGHUP, signal.default_int_handler)


def format_cost(cost_usd: str | None, source: str, tokens: int) -> str:
    """Return tokens and dollars; a cost counted by the program or partly assumed is marked."""
    dollars = format_usd(cost_usd)
    if source == ASSUMED:
        return f"{format_count(tokens)} tokens, about {dollars}"
    return f"{format_count(tokens)} tokens, {dollars}{' by its own count' if source == OWN_COUNT else ''}"


def spent_in_all(shape: SessionShape) -> str:
    """Return what a session used, what the runs that it started cost, and what is left of its ceiling."""
    usage, money = shape["usage"], shape["money"]
    tokens = usage["input_tokens"] + usage["output_tokens"]
    text = format_cost(usage["cost_usd"], usage["cost_source"], tokens)
    if money.get("runs_usd") is not None:
        text += f", its runs {format_usd(money['runs_usd'])}"
    if money["ceiling_usd"] is not None:
        text += f", {format_left(shape)} of {format_usd(money['ceiling_usd'])} left"
    return text


def format_left(shape: SessionShape) -> str:
    """Return what is left of a session's ceiling: at most that, if a cost of it is unknown."""
    most = "at most " if shape["usage"]["cost_usd"] is None else ""
    return most + format_usd(shape["money"]["left_usd"])


def tell_command(command: slash.TypedCommand, run: str = "") -> bool:
    """Print a command's output, which is not part of the conversation; return whether it succeeded.

    `run`: the session's run. UsageError if the command needs one.
    """
    match command.command.name:
        case "/help":
            write_stderr(HELP + slash.format_overview())
        case "/copy":
            write_stderr("only the screen has /copy; use your terminal's own copy here\n")
        case _ if command.command.says:
            write_stderr(f"{command.command.says}\n")
        case _:
            argv = command.command.argv(command.words, run)
            end = slash.carried_out(argv, command.command.patience_s, get_terminal_size().columns)
            write_stderr(f"{end.text}\n")
            return end.status == 0
    return True


def _describe_rule(question: SessionQuestion) -> str:
    """Return what an approval for the rest of the run allows, which is more than this one command."""
    return f"in this run {escape_line(question['whole'])}" if question.get("whole") else "always in this run"


def come_back(session: str, state: str) -> str:
    """Return the text for a user who leaves."""
    outlook = "has ended" if state == "ended" else "continues"
    back = f"come back: pancode attach {session}   end it: pancode sessions end {session}"
    return f"{session} {outlook}.  {back}"


class ChatLoop:
    """One user in one session. `run`: the newest known run; `since`: where output starts, as `RUN:BYTE`."""

    def __init__(self, face: Face, client: Client, ids: Ids, clock: Clock, run: str, since: str = "") -> None:
        self._face, self._client, self._clock = face, client, clock
        self._acts = client_session.SessionActs(client, ids, find_user(), run)
        self._looks = Client(client.place, starts=False)
        self._queue: queue.Queue[client_session.Happening] = queue.Queue()
        self._story = LineStory(self._show)
        self.talk = SessionTalk()
        self._sink = Sink(sys.stdout)
        self._shape = cast(SessionShape, {})  # Empty until the first state has arrived.
        self._state = self._shown = ""
        self._counted: tuple[str, int] | None = None
        """The turn whose cost was printed last; None until the first state has arrived."""
        self._asked: SessionQuestion | None = None
        self._sure: SessionQuestion | None = None
        """The question that the user answered with "always" once; a second "always" confirms it."""
        self._rests_ms = 0
        """Until this time, a typed yes or no may refer to what was shown before the question."""
        self._sent: list[tuple[str, int]] = []
        """Messages whose turn has not ended: their run, and their number in the run."""
        self._later: deque[str] = deque()
        """Lines of a pipe that wait for the end of the previous turn."""
        self._eof = self._prompted = self._once = self._missed = self._went_wrong = False
        self._tty = sys.stdin.isatty()
        self._follower = client_session.SessionFollower(face.note, self._looks, self._queue.put, since)

    # ---- a single turn
    def once(self, message: tuple[str, int]) -> int:
        """Wait for the end of this message's turn, suspend the interactive run, print the answer."""
        run, number = message
        self._once = True
        client_session.SessionFollower(self._face.note, self._looks, self._queue.put, f"{run}:0").follow(run)
        try:
            # The message's turn; None if no turn has ended with this message and none will.
            self._wait_until(
                lambda: self._find_turn(run, number) is not None or self._state == "asks" or self._is_over()
            )
            turn = self._find_turn(run, number)
            if turn is not None and self._shape["takes_turns"] and self._state not in client_session.OVER:
                # The run may also suspend by itself at this moment.
                if client_session.in_turn(self._acts.rest):
                    self._wait_until(lambda: self._state in (*client_session.OVER, "asks"))
                else:
                    self._print_state(self._acts.shape())
            # A session that works until its gates pass continues in further runs.
            if self._shape["goes_on"]:
                self._wait_until(lambda: self._state == "asks" or self._is_over())
        except KeyboardInterrupt:
            return self._print_way_back(ExitCode.DETACHED)
        return self._print_answer(turn if self._shape["run"] == run or turn is None else self.talk.ended[-1])

    def _is_over(self) -> bool:
        """Whether no program runs, and none will start without another message."""
        return self._state in client_session.OVER and not self._shape["goes_on"]

    def _has_failed(self) -> bool:
        """Whether the newest interactive run has ended with an outcome other than done."""
        return bool(self._shape) and self._shape["interactive_runs"][-1]["outcome"] not in (None, "done")

    def _find_turn(self, run: str, number: int) -> Turn | None:
        return next((turn for turn in self.talk.ended if turn.has(run, number)), None)

    def _wait_until(self, over: Any) -> None:
        """Process events until a state has arrived and `over` returns true, or until the stream ends."""
        while True:
            kind, data = self._queue.get()
            if kind == "broken":
                raise data
            self._take(kind, data)
            # A session state may arrive before the last output of its turn.
            if kind == "end" or (self._state and over()):
                return

    def _print_answer(self, turn: Turn | None) -> int:
        """Print the answer for `--once`, and return the exit status."""
        run = self._client.get(RUN.at(self._shape["run"]))
        missed = turn is None and self._shape["takes_turns"]
        answer = turn.answer if turn is not None else "" if missed else run["answer"]
        stop = turn.stop if turn is not None else ""
        shape: Mapping[str, Any] = self._shape
        names = ("session", "run", "state", "agent", "node", "usage", "money")
        unproven = run["outcome"] == "verify_failed"
        why = turn.why if turn is not None and not unproven else run["reason"]
        why = client_session.MISSED if missed and run["outcome"] == "done" else why
        report = {name: shape[name] for name in names} | {"answer": answer, "stop": stop, "why": why}
        report |= {"asks": shape["asks"], "commit": run["commit"]}
        status = exit_of(run["outcome"])
        if self._state == "asks":
            status = ExitCode.BLOCKED
        elif not unproven and (stop or (missed and run["outcome"] in (None, "done"))):
            status = ExitCode.DONE if stop == "end_turn" else ExitCode.ERROR
        if status not in (ExitCode.DONE, ExitCode.BLOCKED):
            self._face.note(f"{run['run']}: {escape_line(why or stop)}   why: pancode why {run['run']}")
        self._face.note(f"{spent_in_all(self._shape)}   continue: pancode attach {self._shape['session']}")
        return self._face.end(status, report, lambda: safe_block(answer))

    # ---- a conversation
    def go(self, sent: tuple[str, int] | None = None, typed: str = "") -> int:
        """Talk until the user leaves. `sent`: a message already sent; `typed`: its text if typed here."""
        self._sent += [sent] if sent is not None else []
        self._story.mine += [typed.strip()] if typed else []
        self._follower.follow(self._acts.run)
        threading.Thread(target=self._listen, name="keys", daemon=True).start()
        try:
            while True:
                kind, data = self._queue.get()
                if kind == "broken":
                    raise data
                if kind == "line" and self._handle_line(*data):
                    return self._print_way_back(ExitCode.DONE)
                self._take(kind, data)
                if self._must_leave(kind):
                    return self._print_way_back(self._find_status())
        except KeyboardInterrupt:
            return self._print_way_back(ExitCode.DETACHED)
        finally:
            if self._later:
                self._face.note(f"not sent: {count_noun(len(self._later), 'line')} of the pipe")

    def _listen(self) -> None:
        while (line := read_line()) is not None:
            self._queue.put(("line", (line, self._shown, self._clock.mono_ms() < self._rests_ms)))
        self._queue.put(("eof", None))

    def _must_leave(self, kind: str) -> bool:
        """Whether the conversation is over; if not, send the pipe's next line if that is allowed now.

        A pipe stops at a question, because lines written before the question cannot answer it.
        """
        self._eof = self._eof or kind == "eof"
        if self._tty:
            if not self._sent and self._state and self._queue.empty() and not self._prompted:
                self._prompted = True
                write_stderr("> ")
            return self._eof
        if self._state == "asks":
            return True
        while self._state and self._later and not self._sent:
            if self._handle_line(self._later[0], waited=True):
                return True
            self._later.popleft()
        return self._eof and not self._later and bool(self._state) and not self._sent

    def _find_status(self) -> ExitCode:
        """Return the exit status, so that a script learns what a user would see on the terminal."""
        if self._tty:
            return ExitCode.DETACHED if terminal_is_gone() else ExitCode.DONE
        if self._state == "asks":
            return ExitCode.BLOCKED
        return ExitCode.ERROR if (self._missed or self._went_wrong or self._has_failed()) else ExitCode.DONE

    def _take(self, kind: str, data: Any) -> None:
        match kind:
            case "session":
                self._print_state(data)
            case "log":
                self._print_parts(self.talk.feed(*data))
            case "end":
                self._print_parts(self.talk.end())

    def _print_state(self, shape: SessionShape) -> None:
        """Print the session's state, if it has changed and the output stream does not show it."""
        self._shape, self._acts.run = shape, shape["run"]
        # Print the cost of a turn that has ended, and of the session.
        turn = shape["turn"]
        newest = shape["run"], turn["number"] if turn else 0
        if turn and self._counted is not None and newest != self._counted and turn["tokens"] is not None:
            cost = format_cost(turn["cost_usd"], turn["cost_source"], turn["tokens"])
            whole = f"; session: {spent_in_all(shape)}" if shape["usage"]["input_tokens"] else ""
            self._note(f"[turn {turn['number']}: {cost}{whole}]")
            self._prompted = False
        self._counted = newest
        question, self._state, self._asked = shape["asks"], shape["state"], shape["asks"]
        if self._is_over():
            # Messages that wait for a turn of these runs; the turn will not come.
            runs = {one["run"] for one in shape["interactive_runs"]}
            missed = any(run in runs for run, _ in self._sent)
            self._sent = [one for one in self._sent if one[0] not in runs]
            if missed and shape["takes_turns"]:
                self._missed = True
                self._note(f"[{client_session.MISSED}]")
        failed = self._state in client_session.OVER and self._has_failed()
        shown = self._state
        if question:
            shown = f"asks {question['run']} {question['kind']} {question['call']} {question['words']}"
        elif failed:
            shown = f"{self._state} {shape['run']}"
        if shown == self._shown:
            return
        if question:
            self._ask(question)
        elif failed or self._state in ("waits for a slot", "starts", "turn lost", "ended"):
            why = f": {escape_line(shape['reason'])}" if shape["reason"] else ""
            self._note(f"[{shape['session']} {self._state}{why}]")
            if self._state == "turn lost":
                self._note(f"[{lost_turn(shape)}]")
            self._prompted = False
        self._shown = shown

    def _note(self, text: str) -> None:
        """Print one of PanCode's own lines, with a prefix that an agent's line never has."""
        self._face.note("\n".join(f"{OURS}{line}" for line in text.split("\n")))

    def _ask(self, question: SessionQuestion) -> None:
        self._rests_ms = self._clock.mono_ms() + REST_MS
        choices = "".join(f"\n{line}" for line in list_choices(question["choices"]))
        hows = {"question": "your answer", "change": "y or n", "landing": "y or n"}
        how = hows.get(question["kind"], f"y, n WORDS, or a: {_describe_rule(question)}")
        how = how if self._tty and not self._once else escape_line(question["command"])
        self._note(f"[it asks: {escape_line(question['words'])}{choices}\n  {how}]")
        self._prompted = False

    def _print_parts(self, parts: Iterable[Part]) -> None:
        for part in parts:
            self._story.take(part)
            if isinstance(part, Turn):
                self._sent = [one for one in self._sent if not part.has(*one)]
                self._prompted = False

    def _show(self, text: str) -> None:
        if not self._once:
            self._sink.write(text.encode())

    # ---- typed lines
    def _handle_line(self, line: str, shown: str = "", hasty: bool = False, *, waited: bool = False) -> bool:
        """Process a typed line; return whether to leave. Lines of a pipe wait for the previous turn's end.

        `shown`: the question displayed when the line was read, the only one that it can answer. `hasty`: that
        question had just appeared.
        """
        self._prompted = False
        text = line.strip()
        if text in slash.LEAVE:
            return True
        if text and not self._tty and not waited:
            self._later.append(line)
            return False
        try:
            command = slash.parse_command(text)
            if command is not None:
                self.run_typed(command)
            elif text and not (
                self._asked and shown == self._shown and self._answer_question(self._asked, text, hasty)
            ):
                run, _ = self.say(text)
                self._follower.follow(run)  # The stream may have ended meanwhile.
        except PancodeError as error:
            if not self._tty and error.code != client_session.NO_TURN:
                raise
            tell_error(error, as_json=False)
        return False

    def run_typed(self, command: slash.TypedCommand) -> bool:
        """Run the command; return whether it succeeded. Its output is not sent to a model."""
        match command.command.name:
            case "/cancel":
                self._acts.cancel(self.talk.turn)
            case "/rest":
                self._acts.rest()
            case "/end":
                self._acts.end()
            case name:
                if name == "/cost" and self._shape:
                    write_stderr(f"this session: {spent_in_all(self._shape)}\n")
                well = tell_command(command, self._acts.run)
                self._went_wrong = self._went_wrong or not well
                return well
        return True

    def say(self, text: str) -> tuple[str, int]:
        """Send a message to the session; return the run that gets it, and its number in that run."""
        done = self._acts.say(text)
        self._face.warn(done["warnings"])
        message = (str(done["run"]), int(done["number"]))
        self._sent.append(message)
        if self._tty:
            self._story.mine.append(text)
        return message

    def _answer_question(self, question: SessionQuestion, text: str, hasty: bool) -> bool:
        """Answer the displayed question, by its run and number; return False if the text is not an answer.

        A yes or no too soon after the question is not accepted, unless it contains the call's number.
        """
        word, _, more = text.partition(" ")
        word, call = word.lower(), question["call"]
        named = call is not None and more.strip() == str(call)
        says = "yes" if word in (*ONCE, *ALWAYS) and (named or not more) else "no" if word in NO else ""
        if question["kind"] == "question":
            if hasty:
                return False
            self._acts.decide(question, "words", text)
        elif says and hasty and not named:
            by_number = "" if call is None else f", or: y {call}"
            self._note(f"[the question appeared while you typed; answer it again{by_number}]")
        elif call is not None and not says and word in (*ONCE, *ALWAYS) and more.strip().isdecimal():
            self._note(f"[call {more.strip()} is not waiting for an answer; answer with: y {call}]")
        elif says == "yes" and word in ALWAYS and self._sure != question:
            self._sure = question
            self._note(f"[{_describe_rule(question)}? type {word} again to confirm; y allows it once]")
        elif says == "yes" and question["kind"] == "landing":
            tell_command(slash.TypedCommand(slash.COMMANDS["/approve"], (question["run"], *question["yes"])))
        elif says == "yes":
            self._acts.decide(question, "always" if word in ALWAYS else "yes")
        elif says == "no":
            self._acts.decide(question, "no", "" if named else more)
        else:
            return False
        return True

    def _print_way_back(self, status: ExitCode) -> int:
        """Print how to return to the session, and return the exit status."""
        write_stderr(f"\n{come_back(self._shape.get('session', self._acts.run), self._state)}\n")
        return int(status)
