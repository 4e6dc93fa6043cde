"""A fleet in memory behind the real API, a client of it without a socket, and the console before it."""

from __future__ import annotations

import asyncio
import json
import queue
import subprocess
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.pilot import Pilot
from textual.widgets import Static

from node_agent.wire.endpoint import ModelFact
from node_agent.wire.failure import FailureKind, Outcome
from node_agent.wire.identity import AttemptId
from node_agent.wire.job import Job
from node_agent.wire.node import RuntimeFact
from node_agent.wire.receipt import UserQuestion
from pancode.config.fleet_settings import pause_queue
from pancode.interfaces.client.client import Client
from pancode.interfaces.client.connection import NotRunningError
from pancode.interfaces.tui.app import Console
from pancode.interfaces.tui.application import SteadyApp, SteadyPage
from pancode.interfaces.tui.log_reader import LogReader
from pancode.interfaces.tui.reader import Reader, Say
from pancode.kernel.values import replace
from tests.crowd import crowded
from tests.unit.pancode.interfaces.http.world import World
from tests.unit.pancode.issues.memory import track_issues
from tests.unit.pancode.kernel.fleets import endpoint
from tests.unit.pancode.runs.world import Puppet, facts, failed
from tests.unit.pancode.workflows.world import Flows

SPITEFUL = "echo \x1b[31m[red]boo[/red]\x1b]52;c;AAAA\x07 \u202eevil"
"""A task that would colour, copy or turn around, if anybody let it."""


class _Feed:
    """A stream of events that continues until the coordinator is away."""

    status = 200

    def __init__(self, client: WorldClient) -> None:
        self._client = client
        self.lines: queue.Queue[bytes] = queue.Queue()
        self.is_closed = False

    def readline(self) -> bytes:
        while not (self._client.is_away or self.is_closed):
            try:
                return self.lines.get(timeout=0.05)
            except queue.Empty:
                continue
        return b""


class WorldClient(Client):
    """The real client; its requests go to the application of a world."""

    def __init__(self, world: World) -> None:
        super().__init__(Path(), starts=False)
        self.world, self.is_away = world, False
        self.asked: list[tuple[str, str, Any]] = []
        self._one_at_a_time = threading.Lock()
        self._feeds: list[_Feed] = []

    def happened(self) -> None:
        """Tell those who follow the feed."""
        for feed in self._feeds:
            for one in (b"event: run.stage\n", b'data: {"number": 1}\n', b"\n"):
                feed.lines.put(one)

    def close(self) -> None:
        """End the streams of a console that is left."""
        for feed in self._feeds:
            feed.is_closed = True
        self._feeds.clear()

    def _send(
        self, method: str, path: str, body: Any, timeout_s: float, told: Any = None, key: str = ""
    ) -> Any:
        if self.is_away:
            raise NotRunningError("no coordinator is running", why="nobody listens", fix="pancode fleet up")
        connection = SimpleNamespace(close=lambda: None)
        if path.startswith("/v1/events"):
            self._feeds.append(_Feed(self))
            return connection, self._feeds[-1]
        with self._one_at_a_time:
            self.asked.append((method, path, body))
            answer = asyncio.run(self.world.http._send(method, path, {}, body))
        read = SimpleNamespace(status=answer.status_code, headers=answer.headers, read=lambda: answer.content)
        return connection, read


class Scene:
    """Two nodes, of which one is silent; a run that works, one done, one that asks, one that waits."""

    def __init__(self, home: Path) -> None:
        self.flows = Flows(home)
        self.world, self.desk = self.flows.world, self.flows.world.context
        self.client = WorldClient(self.world)
        self.chats: list[Chat] = []
        self._silent_machine()
        self.asks = self._asks()
        self.done = self._done()
        self.works = self._works()
        self.flows.begin({"name": "lint", "dispatch": self.world.shell(task="ruff")}, name="checks")
        pause_queue(self.desk.core, None, "a new disk", "ada")
        self.waits = str(self.world.dispatch(task=SPITEFUL, require={"os": "linux"})["run"])

    def _silent_machine(self) -> None:
        wall_ms = self.desk.clock.wall_ms()
        self.world.node.facts = self.world.node.facts.model_copy(update={"wall_ms": wall_ms})
        gpubox = Puppet(self.desk, "gpubox")
        models = (ModelFact(id="qwen3", parameters=8 * 10**9, ctx_usable=32_768),)
        gpubox.facts = facts(
            wall_ms=wall_ms,
            runtimes=(RuntimeFact(name="claude", state="ok", version="2.1"),),
            endpoints=(endpoint("ollama", *models),),
        )
        gpubox.breathe()
        for _ in range(12):
            self.world.node.breathe()

    def _job(self, task: str) -> tuple[str, Job]:
        run = str(self.world.dispatch(task=task, runtime="scripted", budget="0.10")["run"])
        job = self.world.claim()
        self.world.node.start(job)
        self.desk.turn()
        return run, job

    def _asks(self) -> str:
        run, job = self._job("choose the port")
        question = UserQuestion(question="Which port?", choices=("8080", "9090"))
        self.world.node.deliver(job, question=question, **failed(FailureKind.NEEDS_USER, Outcome.BLOCKED))
        self.desk.turn()
        return run

    def _done(self) -> str:
        run, job = self._job("tidy the imports")
        self.log(job.identity, b"first line\nsecond \x1b[31mred\x1b[0m line\n")
        self.world.node.deliver(job)
        self.desk.turn()
        return run

    def _works(self) -> str:
        run, job = self._job("write the tests")
        self.log(job.identity, b"begun\n")
        self.working = job.identity
        return run

    def track(self, top: Path) -> str:
        """A project with a tracker, and work on its one issue of two; the run."""
        subprocess.run(["git", "init", "-q", str(top)], check=True)
        said = {"by": "ada", "path": str(top), "name": "shop", "tracker": "github:o/r"}
        assert self.world.http.post("/v1/projects", said).status_code == 200
        there = track_issues(self.world.coordinator).trackers.there
        there["SHOP-13"] = replace(there["SHOP-12"], ref="SHOP-13", id="13", title=f"Log out {SPITEFUL}")
        return str(self.world.http.post("/v1/work", {"by": "ada", "issue": "SHOP-12"}).json()["run"])

    def log(self, identity: AttemptId, data: bytes) -> None:
        """Its agent says these lines."""
        said = ({"type": "say", "text": one} for one in data.decode().split("\n")[:-1])
        events = b"".join(json.dumps(event).encode() + b"\n" for event in said)
        self.world.coordinator.streams.put(identity, "out", events)

    def reader(self, say: Say) -> Reader:
        return Reader(self.client, self.client, say, (0.05, 0.5))

    def chat(self, session: str) -> SteadyPage:
        self.chats.append(Chat(session))
        return self.chats[-1]

    def log_reader(self, run: str) -> LogReader:
        return LogReader(self.client, run, 0.05)


class Chat(SteadyPage):
    """A page that Esc leaves."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(0)")]

    def __init__(self, session: str) -> None:
        super().__init__()
        self.session = session

    def compose(self) -> ComposeResult:
        yield Static(f"talking with {self.session}")


class Readers:
    def __init__(self, scene: Scene) -> None:
        self.reader, self.log, self.chat = scene.reader, scene.log_reader, scene.chat


def console(scene: Scene, begin: str = "status") -> Console:
    return Console(Readers(scene), "ada", scene.desk.clock, begin)


def played(
    scene: Scene,
    play: Callable[[Console, Pilot[int]], Awaitable[None]],
    begin: str = "status",
    size: tuple[int, int] = (80, 24),
) -> None:
    """A user before the console."""

    async def run() -> None:
        page = console(scene, begin)
        async with SteadyApp(page).run_test(size=size) as pilot:
            await play(page, pilot)

    try:
        asyncio.run(run())
    finally:
        scene.client.close()


def screen(page: Console) -> str:
    """What stands there, without colours. The screen of an application that has failed would be empty."""
    app = page.app
    assert isinstance(app, SteadyApp)
    if app.crash is not None:
        raise app.crash
    assert app.return_code is None, f"it has ended with {app.return_code}"
    strips = app.screen._compositor.render_strips()
    return "\n".join(strip.text.rstrip() for strip in strips)


async def shows(app: Console, pilot: Pilot[int], words: str) -> str:
    """Wait until this is on the screen."""
    await comes(app, pilot, lambda: words in screen(app), repr(words))
    return screen(app)


async def comes(app: Console, pilot: Pilot[int], holds: Callable[[], object], what: str) -> None:
    """Wait until that is so."""
    for _ in range(int(400 * crowded())):
        if holds():
            return
        await pilot.pause(0.02)
    assert holds(), f"{what} did not come:\n{screen(app)}"
