"""A coordinator in memory with one session, and the chat's screen before it, played by a pilot."""

from __future__ import annotations

import asyncio
import base64
import json
import queue
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from textual.pilot import Pilot

from node_agent.wire.clock import Clock
from pancode.interfaces.cli.output import Face
from pancode.interfaces.client.client import Client, ServerEvent, StreamCutError
from pancode.interfaces.tui.application import SteadyApp
from pancode.kernel.route import path_in
from pancode.sessions.commands.screen.app import ChatScreen
from pancode.sessions.commands.screen.controller import ChatController
from pancode.sessions.commands.slash import CommandEnd
from tests.fakes.node.clock import MemoryClock, SeededIds

RUN = "r-abc123"
Play = Callable[["ChatScene", Pilot[int]], Awaitable[None]]


def shape(state: str, **more: Any) -> Any:
    """A session as the API tells it."""
    told: dict[str, Any] = {
        "session": RUN,
        "run": RUN,
        "state": state,
        "reason": "",
        "waiting": 0,
        "asks": None,
    }
    told |= {"goes_on": False, "takes_turns": True, "agent": "builder", "node": "gpubox", "model": "qwen3"}
    told |= {"mode": "build", "safety": "auto-edit", "next": None}
    told |= {"runtime": "native", "title": "why is the build slow?"}
    told["usage"] = {"input_tokens": 1200, "output_tokens": 34, "cost_usd": "0.0125"}
    told["usage"]["cost_source"] = "metered"
    told["money"] = {"ceiling_usd": "2.00", "left_usd": "1.85", "sitting_usd": "0.50"}
    told["interactive_runs"] = [{"run": RUN, "outcome": None, "turns": 1}]
    return told | more


def asks(kind: str, words: str, call: int | None = None, *choices: str, yes: Sequence[str] = ()) -> Any:
    """The session with a question."""
    asked = {"run": RUN, "kind": kind, "call": call, "words": words, "command": "x", "choices": list(choices)}
    asked["yes"] = list(yes)
    return shape("asks", asks=asked)


class SessionApi:
    """Keeps the stream's events; a follower gets those from its number on, and then what comes."""

    place = Path("/nowhere")

    def __init__(self) -> None:
        self.posts: list[tuple[str, dict[str, Any]]] = []
        self.keys: list[str] = []
        self.refuses: Exception | None = None
        self.loses = False
        self.at_work: list[str] = []
        self.goes = threading.Event()
        self.goes.set()
        self.state = shape("works")
        self.asked_from: list[str] = []
        self._log = self._last = b""
        self._followers: list[queue.Queue[ServerEvent | None]] = []
        self.is_away = False

    def post(self, path: str, body: dict[str, Any], wait_s: float = 0, key: str = "") -> dict[str, Any]:
        """`goes`: requests are answered; `loses`: each is taken, and its answer is lost."""
        self.goes.wait()
        if self.refuses is not None:
            raise self.refuses
        self.posts.append((path_in(path), {name: value for name, value in body.items() if name != "by"}))
        self.keys += [key] if key else []
        if self.loses:
            raise StreamCutError("it went away")
        return self.state if path_in(path).endswith("/terms") else {"run": RUN, "number": 1, "warnings": []}

    def get(self, path: str, **query: Any) -> dict[str, Any]:
        path = path_in(path)
        if path == "/v1/runs" and query.get("outcome") == "running":
            return {"runs": [{"run": one, "status": "running"} for one in self.at_work]}
        if path == "/v1/runs":
            return {"runs": [{"run": "r-m2w8vd", "task": "Annotate billing", "runtime": "native"}]}
        if path in ("/v1/modes", "/v1/safety"):
            names = ("build", "plan") if path == "/v1/modes" else ("auto-edit", "suggest")
            return {path[4:]: [{"name": name, "default": name == names[0]} for name in names]}
        return self.state

    def events(self, method: str, path: str, query: dict[str, Any], wanted: object) -> Iterator[ServerEvent]:
        since = str(query["since"] or "")
        self.asked_from.append(since)
        if self.is_away:
            raise StreamCutError("the coordinator is away")
        mine: queue.Queue[ServerEvent | None] = queue.Queue()
        begin = int(since.partition(":")[2] or 0)
        if self._log[begin:]:
            mine.put(self._piece(begin, len(self._log)))
        mine.put(ServerEvent("session", self.state))
        self._followers.append(mine)
        while (event := mine.get()) is not None:
            yield event
        raise StreamCutError("the coordinator closed the connection")

    def _piece(self, begin: int, end: int) -> ServerEvent:
        b64 = base64.b64encode(self._log[begin:end]).decode()
        return ServerEvent("log", {"run": RUN, "attempt": "1.1", "next": end, "b64": b64})

    def writes(self, *events: dict[str, Any]) -> None:
        """The program writes these lines."""
        begin = len(self._log)
        self._last = b"".join(json.dumps(event).encode() + b"\n" for event in events)
        self._log += self._last
        for one in self._followers:
            one.put(self._piece(begin, len(self._log)))

    def becomes(self, told: dict[str, Any]) -> None:
        self.state = told
        for one in self._followers:
            one.put(ServerEvent("session", told))

    def cut(self) -> None:
        """The link is lost."""
        followers, self._followers = self._followers, []
        for one in followers:
            one.put(None)


class FakeFace(Face):
    """Hands out the coordinator in memory."""

    api: SessionApi

    def client(self, *, starts: bool = True, works: bool = False) -> Client:
        return cast("Client", self.api)


class ChatScene:
    """The screen before the coordinator. `clock` stands still until a test moves it."""

    def __init__(self, run: str = RUN, first: str = "", begin: Any = None) -> None:
        self.api, self.clock = SessionApi(), MemoryClock()
        face = FakeFace(as_json=False)
        object.__setattr__(face, "api", self.api)
        self.ran: list[list[str]] = []
        """Command lines of commands."""
        self.desk = ChatController(face, SeededIds(), begin or _begun, run, runs=self._runs)
        self.page = ChatScreen(self.desk, cast("Clock", self.clock), "ada", "/nowhere", first)
        self.app = SteadyApp(self.page)

    def _runs(self, argv: Sequence[str], patience_s: float, columns: int) -> CommandEnd:
        self.ran.append(list(argv))
        if argv[-1] == "full-auto":
            words = (
                "error: this change raises the safety level of it to full-auto\n  fix: the same with --yes"
            )
            return CommandEnd(words, 5)
        return CommandEnd(f"{' '.join(argv)} says\n[red]this[/red]", 0)

    @property
    def screen(self) -> str:
        """What stands there, without colours."""
        strips = self.app.screen._compositor.render_strips()
        return "\n".join(strip.text.rstrip() for strip in strips)

    async def shows(self, pilot: Pilot[int], words: str) -> str:
        await self.until(pilot, lambda: words in self.screen, words)
        return self.screen

    async def until(self, pilot: Pilot[int], so: Callable[[], bool], what: str) -> None:
        for _ in range(1_000):
            if so():
                return
            if self.app.crash is not None:
                raise self.app.crash
            await pilot.pause(0.02)
        raise AssertionError(f"{what} did not come:\n{self.screen}")


def _begun(face: Face, client: Client, words: str, terms: Mapping[str, str]) -> Any:
    client.post("/v1/sessions", {"task": words, **terms})
    return {"run": RUN, "agent": "builder", "chosen": "", "warnings": []}


def played(scene: ChatScene, play: Play, size: tuple[int, int] = (80, 24)) -> ChatScene:
    """A user before the screen."""

    async def run() -> None:
        async with scene.app.run_test(size=size) as pilot:
            await play(scene, pilot)

    try:
        asyncio.run(run())
    finally:
        scene.api.cut()
    if scene.app.crash is not None:
        raise scene.app.crash
    return scene
