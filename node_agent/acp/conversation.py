"""Drives an agent program over ACP: starts it or resumes its session, sends messages, follows its turns."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import unicodedata
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from node_agent.acp.calls import AcpCalls, reject_call
from node_agent.acp.fleet import FleetServer
from node_agent.acp.home import ProgramHome
from node_agent.acp.offers import ProgramOffer, format_offers, news_of, offers_of
from node_agent.acp.pipe import AcpPipe, Broken, Message, kill_commands
from node_agent.chat.client import HEARTBEAT_S
from node_agent.chat.limits import ChatLimits, Over
from node_agent.native.equipment import WorkerHeartbeat
from node_agent.native.interactive_run import TurnOver
from node_agent.native.loop import ModelDeclined
from node_agent.native.tools.offer import Deeds
from node_agent.native.tools.shell import CHILDREN
from node_agent.native.voice import Voice
from node_agent.runtimes.acp import AcpWay
from node_agent.runtimes.lines import count_of, dict_of, list_of, text_of
from node_agent.runtimes.starting import HEAD
from node_agent.wire.clock import Clock
from node_agent.wire.failure import FailureKind, by_status
from node_agent.wire.policy import is_bypass_mode

VERSION = 1
"""The supported version of the protocol."""
STARTS_MS, CANCELS_MS, KEEPS_MS, KEPT_S = 120_000, 800, 20_000, 0.05
"""A start takes half a minute on a busy node. If a turn is not over this long after its cancel, the program
is ended, too. A busy disk may take long to write an answer."""
AUTH_REQUIRED, NO_METHOD = -32000, -32601
MOST_WHY, MOST_OFFERS = 400, 1_000
_STATUS = re.compile(r"(?:^|\bHTTP |\berror: |\bstatus:? )([45]\d\d)\b")
"""Finds the model server's HTTP status in a text for users, for programs that report it nowhere else."""
_NEVER = "session-1970-01-01T00-00-{}.jsonl"
"""A file name that contains a time at which Gemini CLI cannot have been started."""
_UNSEEN = "CMZ"
"""The Unicode classes of invisible characters, which a program may drop before it reads a message."""
ABLE = {"fs": {"readTextFile": False, "writeTextFile": False}, "terminal": False}
"""PanCode offers no files and no terminals over ACP: the program uses them itself, inside its sandbox."""


class AcpRefused(Exception):
    """The program answered a request with an error."""

    def __init__(self, error: Mapping[str, Any]) -> None:
        data = error.get("data")
        more = text_of(dict_of(data).get("details")) or (data if isinstance(data, str) else "")
        super().__init__(": ".join(filter(None, (text_of(error.get("message")), more)))[:MOST_WHY])
        self.code = error.get("code")
        self.status = _status_of(error)


@dataclass
class AcpConversation:
    """An ACP conversation; a `TakesTurns`. `session`: the session to resume, later the program's; `folder`:
    where the program works."""

    way: AcpWay
    env: Mapping[str, str]
    folder: str
    model: str
    session: str
    voice: Voice
    clock: Clock
    limits: ChatLimits
    deeds: Deeds
    heartbeat: WorkerHeartbeat
    fleet: FleetServer | None = None
    """The fleet's tools, for an orchestrator; None: there are none."""
    home: str = ""
    """The program's home, if only this run uses it; empty: it is not reset when the program is restarted."""
    turns: int = 0
    used: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("input", "cached", "output"), 0))
    remembers: bool = False

    def __post_init__(self) -> None:
        self._pipe: AcpPipe | None = None
        self._own: ProgramHome | None = None
        self._calls = AcpCalls(self.way, self.deeds, self.voice)
        self._number = 0
        self._kept_alive_ms = self._heard_ms = 0
        self._fault, self._sum = "", dict[str, int]()
        self._trouble = self._failed = ""
        self._answered, self._kept_lines = "", 0
        self._news = {"current_mode_update": news_of({"currentModeId": self.way.mode})}

    # ---- the program
    def begin(self) -> None:
        """Start the program, and resume its session if there is one. Over if the program cannot start."""
        self._sum = {}
        if self._own is not None:
            self._own.begin_anew()
        elif self.home:
            self._own = ProgramHome(self.home, self.way.memory, self.way.folders)
        try:
            environ = {**self.env, **self.programs(), "PWD": self.folder}
            process = CHILDREN.start(
                self.way.argv, cwd=self.folder, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, start_new_session=True, bufsize=0,
            )  # fmt: skip
        except OSError as exc:
            words = f"{self.way.argv[0]} could not be started: {exc.strerror}; fix: {self.way.install}"
            raise Over(FailureKind.RUNTIME_MISSING, words) from exc
        self._pipe = AcpPipe(process, self.way.name, self.clock)
        try:
            self._greet()
        except Broken as exc:
            self.end()
            kind = FailureKind.CANNOT_START if exc.speaks else FailureKind.RUNTIME_UNREADABLE
            raise Over(kind, f"{exc}; {self._describe_fix()}") from exc
        except AcpRefused as exc:
            self.end()
            raise self._make_over_error(exc, FailureKind.CANNOT_START) from exc
        except BaseException:
            self.end()
            raise

    def programs(self) -> dict[str, str]:
        """Return the path of the user's own program, by variable. Without it, an adapter starts the program
        in its package."""
        path = self.env.get("PATH")
        return {
            name: shutil.which(program, path=path) or program for name, program in self.way.programs.items()
        }

    def end(self, gently: bool = False) -> None:
        """End the program's process. `gently`: let it save its conversation first."""
        if self._pipe is not None:
            if gently:
                self._await_kept()
            self._pipe.end(gently)
        self._pipe = None

    def _await_kept(self) -> None:
        """If the program would end without saving it, wait until the last answer is in the session's file."""
        last = json.dumps(self._answered.strip().rpartition("\n")[2], ensure_ascii=False)[1:-1].encode()
        until = self.clock.mono_ms() + KEEPS_MS
        while self.way.keeps and last and self.clock.mono_ms() < until:
            mark, lines = (
                self.way.keeps[1].encode(),
                self._read_session_file().splitlines()[self._kept_lines :],
            )
            if any(mark in line and last in line for line in lines):
                return
            try:
                self._receive(KEPT_S)
            except Broken:
                return

    def _read_session_file(self) -> bytes:
        """Return the content of the program's session file."""
        pattern = self.way.keeps[0] if self.way.keeps else ""
        found = Path(self.env["HOME"]).glob(pattern.format(self.session)) if pattern else ()
        return b"".join(path.read_bytes() for path in found)

    def _greet(self) -> None:
        able = self._call_program("initialize", protocolVersion=VERSION, clientCapabilities=ABLE)
        version = able.get("protocolVersion")
        if version != VERSION:
            words = f"{self.way.name} speaks version {version!r} of ACP, and PanCode speaks {VERSION}"
            raise Over(FailureKind.RUNTIME_UNREADABLE, f"{words}; {self._describe_fix()}")
        agent = dict_of(able.get("agentInfo"))
        self._check_version(text_of(agent.get("version")))
        servers = [] if self.fleet is None else [self.fleet.declared()]
        where: dict[str, Any] = {"cwd": f"{self.folder}{self.way.behind}", "mcpServers": servers}
        where |= {"_meta": self.way.settings} if self.way.settings else {}
        wanted = self.session
        begun = self._resume_session(dict_of(able.get("agentCapabilities")), where) if wanted else None
        self.remembers = begun is not None
        if begun is None:
            begun = self._call_program("session/new", **where)
            self.session = text_of(begun.get("sessionId"))
        if not self.session:
            raise Over(
                FailureKind.RUNTIME_UNREADABLE, f"{self.way.name} started no session; {self._describe_fix()}"
            )
        self._set_mode(begun)
        self._set_options(begun)
        self._choose(begun)
        self.voice.tell(
            "session", model=self.model, session=self.session, version=text_of(agent.get("version"))
        )
        if wanted and not self.remembers:
            self.voice.tell("noted", text=f"[{self.way.name} does not remember what was said before]")

    def _check_version(self, version: str) -> None:
        """Raise Over for an unknown version, as only a known adapter is sure to pass PanCode's settings on to
        its program."""
        if not version.startswith(self.way.known):
            words = f"{self.way.name} has version {version or '(none told)'}, but PanCode supports"
            raise Over(FailureKind.CANNOT_START, f"{words} {self.way.known}x; fix: {self.way.install}")

    def _resume_session(self, able: Mapping[str, Any], where: Mapping[str, Any]) -> Message | None:
        """Resume the session; return None if the program could not."""
        has = list_resume_methods(able)
        how = next((one for one in self.way.resumes if one in has), None)
        if how is None:
            return None
        self._put_aside()
        try:
            return self._call_program(f"session/{how}", sessionId=self.session, **where)
        except AcpRefused as exc:
            self.voice.tell("noted", text=f"[{self.way.name} could not resume its session: {exc}]")
            return None

    def _put_aside(self) -> None:
        """Rename the session's file, because Gemini CLI continues only in the file that it loaded."""
        if not self.way.chats:
            return
        with suppress(OSError):
            found = sorted(Path(self.env["HOME"]).glob(self.way.chats.format(self.session[:8])))
            if found:
                first = max(found, key=lambda path: path.stat().st_size)
                first.rename(first.with_name(_NEVER.format(self.session[:8])))

    def _set_mode(self, begun: Mapping[str, Any]) -> None:
        """Set the mode. Over for a mode that the program does not list, as that mode's limits would be
        unknown."""
        if not self.way.mode or self.way.chooses:
            return
        modes = map(dict_of, list_of(dict_of(begun.get("modes")).get("availableModes")))
        listed = [text_of(one.get("id")) for one in modes]
        if self.way.mode not in listed:
            words = f"{self.way.name} has no mode {self.way.mode}, only {', '.join(listed) or 'none'}"
            raise Over(FailureKind.CANNOT_START, f"{words}; {self._describe_fix()}")
        self._call_program("session/set_mode", sessionId=self.session, modeId=self.way.mode)

    def _set_options(self, begun: Mapping[str, Any]) -> None:
        """Set the program's options. Over for a value that the program does not list."""
        lists = map(dict_of, list_of(begun.get("configOptions")))
        listed = {text_of(one.get("id")): list_of(one.get("options")) for one in lists}
        for name, value in self.way.options.items():
            if value not in (dict_of(one).get("value") for one in listed.get(name, [])):
                words = f"{self.way.name} does not offer {name} {value}"
                raise Over(FailureKind.CANNOT_START, f"{words}; {self._describe_fix()}")
            self._call_program(
                "session/set_config_option", sessionId=self.session, configId=name, value=value
            )

    def _choose(self, begun: Mapping[str, Any]) -> None:
        """Set the user's choices that an owner-configured program offers. Over for a model not offered."""
        way, offers = self.way, offers_of(begun)
        if not way.chooses:
            return
        if not self.remembers and (words := format_offers(offers)):
            self.voice.tell("noted", text=f"[{way.name} offers {words}]"[:MOST_OFFERS])
        self._choose_model(offers.get("model"))
        for kind, value in (("mode", way.mode), ("effort", way.effort)):
            offer = offers.get(kind)
            if value and (offer is None or value not in offer.values):
                self.voice.tell("noted", text=f"[{self._describe_lack(kind, value, offer)}]"[:MOST_OFFERS])
                value = ""
            if offer is not None and (value := value or self._find_quiet_mode(offer)):
                self._set(offer, value)

    def _choose_model(self, offer: ProgramOffer | None) -> None:
        if not (value := self.way.model):
            return
        if offer is None or value not in offer.values:
            words = f"{self._describe_lack('model', value, offer)}; fix: name one of them with --model"
            raise Over(FailureKind.CANNOT_START, words)
        self._set(offer, value)

    def _describe_lack(self, kind: str, value: str, offer: ProgramOffer | None) -> str:
        others = ", ".join(offer.values[:20]) if offer else "its own"
        return f"{self.way.name} does not offer {kind} {value}, only {others}"

    def _find_quiet_mode(self, offer: ProgramOffer) -> str:
        """Return a mode with permission requests if the program starts in one without them; else empty. Over
        if it has none."""
        if offer.kind != "mode" or not is_bypass_mode(offer.now):
            return ""
        if not offer.values:
            words = f"{self.way.name} has only the mode {offer.now}, which requests no permissions"
            raise Over(
                FailureKind.CANNOT_START, f"{words}; fix: configure another mode in the program's settings"
            )
        return offer.values[0]

    def _set(self, offer: ProgramOffer, value: str) -> None:
        method, params = offer.choice(value)
        self._call_program(method, sessionId=self.session, **params)

    def _describe_fix(self) -> str:
        return f"fix: install a version that speaks ACP: {self.way.install}"

    def _call_program(self, method: str, **params: Any) -> Message:
        """Return the answer to a request made before the first turn, ignoring other messages until then."""
        number = self._send(method, **params)
        until = self.clock.mono_ms() + STARTS_MS
        while (left := until - self.clock.mono_ms()) > 0:
            message = self._receive(min(left / 1000, HEARTBEAT_S))
            self.heartbeat()
            if message is not None and _is_answer(message, number):
                return _read_result(message)
            if message is not None and "id" in message and "method" in message:
                self._answer(message, permits=False)
        words = f"{self.way.name} did not answer {method} within {STARTS_MS // 1000} s"
        raise Over(FailureKind.RUNTIME_UNREADABLE, f"{words}; {self._describe_fix()}")

    # ---- a turn
    def run(self, task: str) -> str:
        """Run a turn with this task; return the last message of the program."""
        self._await_ready()
        number = self._number + 1
        try:
            self._fault = self._trouble = self._failed = self._answered = ""
            self._kept_lines = self._read_session_file().count(b"\n")
            if self.fleet is not None:
                self.fleet.turn = True
            self._send(
                "session/prompt",
                sessionId=self.session,
                prompt=[*self._list_instructions(), self._text(task)],
            )
            self._heard_ms = self.clock.mono_ms()
            while True:
                message = self._receive(self.heartbeat.pause_s)
                self._look()
                if message is not None and _is_answer(message, number):
                    return self._finish_turn(_read_result(message))
                if message is not None:
                    self._take(message)
        except TurnOver:
            self._cancel(number)
            raise
        except AcpRefused as exc:
            raise self._make_over_error(exc, FailureKind.MODEL_FAILED) from exc
        except Broken as exc:
            self.end()
            raise Over(FailureKind.AGENT_FAILED, str(exc)) from exc

    def _await_ready(self) -> None:
        """Start the program again if it was ended, or ended itself, during or after the last turn."""
        try:
            while self._pipe is not None and (message := self._receive(0)) is not None:
                self._take(message)
                self.heartbeat()
        except Broken:
            self.end()
        if self._pipe is None:
            self.begin()

    def hear(self, words: Callable[[], str]) -> None:
        """Do nothing, as messages that arrive during a turn start the next one."""

    def close(self, why: str) -> None:
        """End the turn's calls. The program itself stores the conversation."""
        self._calls.over()
        if self.fleet is not None:
            self.fleet.over()

    def _look(self) -> None:
        now = self.clock.mono_ms()
        if now - self._kept_alive_ms >= HEARTBEAT_S * 1000:
            self._kept_alive_ms = now
            self.heartbeat()
        if self._calls.at_work or (self.fleet is not None and self.fleet.waits):
            self._heard_ms = now
        if self.way.silent_ms and now - self._heard_ms >= self.way.silent_ms:
            seconds = self.way.silent_ms // 1000
            self._cancel(self._number)
            words = f"the model gave no answer: {self.way.name} has sent nothing for {seconds} s"
            raise Over(FailureKind.MODEL_FAILED, words)

    def _take(self, message: Message) -> None:
        if "method" in message and "id" in message:
            self._answer(message)
            self._heard_ms = self.clock.mono_ms()
        elif message.get("method") == "session/update":
            params = dict_of(message.get("params"))
            if params.get("sessionId") == self.session:
                self._update(dict_of(params.get("update")))

    def _update(self, update: Mapping[str, Any]) -> None:
        kind = update.get("sessionUpdate")
        if kind == "agent_message_chunk":
            self._take_text(text_of(dict_of(update.get("content")).get("text")))
            # Qwen Code reports its usage for each call.
            if usage := dict_of(dict_of(update.get("_meta")).get("usage")):
                answer = self.voice.answer.copy()
                self._count(usage)
                self.voice.answer[:] = answer  # Messages after an answer do not end the answer.
        elif kind in ("tool_call", "tool_call_update"):
            self._calls.take(update)
        elif kind == "session_info_update":
            return self._note_model_failure(dict_of(dict_of(update.get("_meta")).get("codex")))
        elif kind == "current_mode_update":
            return self._tell_news(kind, news_of(update))
        elif kind == "plan":
            self._tell_news(kind, news_of(update))
        elif kind == "agent_thought_chunk":
            self.voice.think(text_of(dict_of(update.get("content")).get("text")))
        else:
            return  # The program's facts about itself do not show that its model answers.
        self._heard_ms = self.clock.mono_ms()

    def _tell_news(self, kind: str, news: str) -> None:
        """Report a plan or mode only if new: programs repeat the whole plan and the mode that PanCode set."""
        if news and self._news.get(kind) != news:
            self._news[kind] = news
            self.voice.tell("noted", text=f"[{self.way.name} {news}]"[:MOST_OFFERS])

    def _note_model_failure(self, info: Mapping[str, Any]) -> None:
        """Record that the model failed, as Codex's adapter reports it. The adapter also writes the failure
        into the model's text and ends the turn as a success."""
        error = dict_of(info.get("error"))
        self._trouble = (
            text_of(error.get("additionalDetails")) or text_of(error.get("message")) or self._trouble
        )
        if dict_of(info.get("threadStatus")).get("type") == "systemError":
            self._failed = self._trouble or "the model gave no answer"

    def _take_text(self, text: str) -> None:
        if self._failed:
            return
        notices = self.way.notices
        if not text.startswith(notices):
            self.voice.say(text)
            self._fault = self._fault if not text.strip() else ""
            return
        self.voice.tell("noted", text=f"[{self.way.name}: {text}]"[:MOST_WHY])
        self._fault = text if text.startswith(notices[-1]) else ""

    def _answer(self, request: Message, permits: bool = True) -> None:
        """Answer a request of the program."""
        params = dict_of(request.get("params"))
        if request["method"] != "session/request_permission":
            error = {"code": NO_METHOD, "message": "method not found"}
            self._write({"id": request["id"], "error": error})
            return
        try:
            result = self._calls.permit(params) if permits else reject_call(params)
        except TurnOver:
            self._write({"id": request["id"], "result": {"outcome": {"outcome": "cancelled"}}})
            raise
        self._write({"id": request["id"], "result": result})

    def _finish_turn(self, result: Mapping[str, Any]) -> str:
        answer = "".join(self.voice.answer)
        self._count(_usage_in(result))
        stop = result.get("stopReason")
        if stop == "end_turn" and (fault := self._failed or self._fault):
            found = _STATUS.search(fault)
            kind = by_status(int(found[1])) if found else FailureKind.MODEL_FAILED
            raise Over(kind, f"{self.way.name}: {fault}"[:MOST_WHY])
        if stop == "end_turn":
            self._answered = answer
            return answer
        if stop == "refusal":
            raise ModelDeclined(FailureKind.AGENT_FAILED, "the model declined to answer")
        if stop == "max_turn_requests":
            raise Over(
                FailureKind.REQUEST_LIMIT, f"{self.way.name} reached its limit of model requests per turn"
            )
        if stop == "max_tokens":
            raise Over(FailureKind.AGENT_FAILED, "the model's answer was cut off because it was too long")
        if self._calls.refused:
            raise Over(FailureKind.TOOL_DENIED, f"{self.way.name} ended the turn after a call was refused")
        raise Over(
            FailureKind.AGENT_FAILED, f"{self.way.name} ended the turn for an unknown reason: {stop!r}"
        )

    def _count(self, usage: Mapping[str, Any]) -> None:
        cached = count_of(usage.get("cachedReadTokens"))
        counts = {"input": count_of(usage.get("inputTokens")), "cached": cached}
        counts["output"] = count_of(usage.get("outputTokens")) + count_of(usage.get("thoughtTokens"))
        # The number of input tokens includes the cached tokens.
        if 0 < count_of(usage.get("totalTokens")) < sum(counts.values()):
            counts["input"] -= min(cached, counts["input"])
        if self.way.sums:
            before, self._sum = self._sum, counts
            counts = {name: max(0, count - before.get(name, 0)) for name, count in counts.items()}
        if not any(counts.values()):
            return
        self.turns += 1
        for name, count in counts.items():
            self.used[name] += count
        self.voice.tell("usage", **self.used, turns=self.turns, told=True, model=self.model)

    def _cancel(self, number: int) -> None:
        """Cancel the turn; if it does not end, end the process: the next message starts a new one with the
        same session. All commands are killed, even those that ignore milder signals."""
        assert self._pipe is not None
        if self.fleet is not None:
            self.fleet.over()
        commands = self._pipe.commands()
        try:
            self._write({"method": "session/cancel", "params": {"sessionId": self.session}})
            until = self.clock.mono_ms() + CANCELS_MS
            while (left := until - self.clock.mono_ms()) > 0:
                message = self._receive(left / 1000)
                if message is not None and _is_answer(message, number):
                    return self._count(_usage_in(dict_of(message.get("result"))))
                if message is not None and "method" in message and "id" in message:
                    self._answer(message, permits=False)
        except Broken:
            pass
        finally:
            kill_commands(commands)
        self.end()

    # ---- messages
    def _list_instructions(self) -> list[dict[str, str]]:
        """Return the agent's instructions, only once in a session."""
        if self.remembers or not self.way.begins:
            return []
        self.remembers = True
        return [{"type": "text", "text": self.way.begins}]

    def _text(self, words: str) -> dict[str, str]:
        """Return the message as text for the model, never as a command of the program, as that would start
        unchecked shells."""
        seen = (one for one in words if unicodedata.category(one)[0] not in _UNSEEN)
        head = HEAD if next(seen, " ") in self.way.signs else ""
        return {"type": "text", "text": f"{head}{words}"}

    def _send(self, method: str, **params: Any) -> int:
        self._number += 1
        self._write({"id": self._number, "method": method, "params": params})
        return self._number

    def _write(self, message: Mapping[str, object]) -> None:
        assert self._pipe is not None
        self._pipe.send(message)

    def _receive(self, seconds: float) -> Message | None:
        assert self._pipe is not None
        if self.fleet is not None:
            self.fleet.poll()
        return self._pipe.receive(seconds)

    def _make_over_error(self, refused: AcpRefused, other: FailureKind) -> Over:
        if refused.code == AUTH_REQUIRED:
            return Over(FailureKind.MODEL_AUTH, f"{self.way.name}: {refused}")
        kind = by_status(refused.status) if refused.status else other
        return Over(kind, f"{self.way.name}: {refused}")


def list_resume_methods(able: Mapping[str, Any]) -> set[str]:
    """Return the methods of `session/` that resume a session, according to the program's capabilities."""
    has = {
        "resume": "resume" in dict_of(able.get("sessionCapabilities")),
        "load": able.get("loadSession") is True,
    }
    return {name for name, there in has.items() if there}


def _is_answer(message: Message, number: int) -> bool:
    return message.get("id") == number and "method" not in message


def _read_result(message: Message) -> Message:
    """Return the result of a response. AcpRefused if the response is an error."""
    if "error" in message:
        raise AcpRefused(dict_of(message["error"]))
    return dict_of(message.get("result"))


def _usage_in(result: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the usage of a turn from the field of the protocol, or else from Gemini CLI's own."""
    tokens = dict_of(dict_of(dict_of(result.get("_meta")).get("quota")).get("token_count"))
    own = {"inputTokens": tokens.get("input_tokens"), "outputTokens": tokens.get("output_tokens")}
    return dict_of(result.get("usage")) or own


def _status_of(error: Mapping[str, Any]) -> int:
    """Return the model server's HTTP status if the error has one; else 0."""
    data = dict_of(error.get("data"))
    for value in (error.get("code"), *(data.get(name) for name in ("statusCode", "status", "code"))):
        if isinstance(value, int) and 400 <= value < 600:
            return value
    found = _STATUS.search(text_of(dict_of(error.get("data")).get("details")))
    return int(found[1]) if found else 0
