"""A coordinator for faces on memory adapters: the real plane, a fleet that does as it is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import httpx2
from starlette.applications import Starlette

from node_agent.wire.identity import AttemptId
from node_agent.wire.job import Job
from node_agent.wire.signing import SigningKey
from pancode import __version__
from pancode.app.http_routes import build_app
from pancode.app.parts import CHANGE_MAKERS
from pancode.backups.hooks import Backups
from pancode.checkouts.hooks import KeptCheckouts
from pancode.config.agents.presets import apply_preset
from pancode.config.agents.writer import OwnAgents
from pancode.config.notify import NotifyRules
from pancode.config.settings_writer import KeptSettings
from pancode.config.user_environment import FileSurroundings
from pancode.fleet import inventory
from pancode.fleet.acts import Caller, NodeResult, NodeSpec, Progress, ProgressLine
from pancode.fleet.answers import TroubleShape
from pancode.fleet.part import CoordinatorPart
from pancode.fleet.place import ApiListener, ListenAddress
from pancode.fleet.standing import Held
from pancode.interfaces.http.context import ApiContext as ApiDesk
from pancode.interfaces.http.routing import FOLDER
from pancode.kernel.errors import NotFoundError, UsageError
from pancode.kernel.node import NodeState
from pancode.kernel.records import Node
from pancode.landing.git.change_store import DepotCode
from pancode.pull_requests.hooks import WatchedPulls
from pancode.runs import keyring
from pancode.runs.core import Core
from pancode.skills.assignment import find_skills
from tests.unit.pancode.backups.memory import make_backups
from tests.unit.pancode.landing.memory import MemoryLandings
from tests.unit.pancode.pull_requests.memory import MemoryPulls
from tests.unit.pancode.runs.world import Desk, Puppet

FINGERPRINT = "SHA256:abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
FACTS = {
    "pid": 4711,
    "version": __version__,
    "home": "/h",
    "started_at": "2026-11-20T00:00:00.000Z",
}


P = TypeVar("P")


class MemoryStreams:
    """Logs by (identity, name)."""

    def __init__(self) -> None:
        self.bytes: dict[tuple[str, str], bytes] = {}
        self.listeners: list[Callable[[str], None]] = []

    def put(self, identity: AttemptId, name: str, data: bytes) -> None:
        self.bytes[(str(identity), name)] = self.bytes.get((str(identity), name), b"") + data
        for listener in self.listeners:
            listener(identity.run)

    def arrived(self, identity: AttemptId, name: str, size: int, sha256: str) -> bool:
        return len(self.bytes.get((str(identity), name), b"")) == size

    def read(self, identity: AttemptId, name: str, offset: int, limit: int) -> bytes:
        if "/" in name:
            raise ValueError(name)
        return self.bytes.get((str(identity), name), b"")[offset : offset + limit]

    def size(self, identity: AttemptId, name: str) -> int:
        return len(self.bytes.get((str(identity), name), b""))

    def names(self, identity: AttemptId) -> list[str]:
        return sorted(name for who, name in self.bytes if who == str(identity))


class MemoryFiles:
    """What a disk keeps of runs: their commits in one repository, and their logs."""

    def __init__(self) -> None:
        self.named, self.logs, self.packed = set[str](), set[str](), list[str]()

    def commits(self) -> Mapping[str, frozenset[str]]:
        return {"p-1234": frozenset(self.named)}

    def logged(self) -> Mapping[str, int]:
        return dict.fromkeys(self.logs, 10)

    def forget_commits(self, repository: str, runs: Iterable[str]) -> None:
        self.named -= set(runs)

    def forget_logs(self, run: str) -> None:
        self.logs.discard(run)

    def pack(self, repository: str, now: bool) -> None:
        self.packed += [repository] if now else []

    def sizes(self) -> dict[str, int]:
        return {"depots": 1_000 * len(self.named), "logs": 10 * len(self.logs)}


class ToldFleet:
    """Bring-up as a test wants it; `sick` nodes fail."""

    def __init__(self, context: Desk) -> None:
        self.context = context
        self.sick: set[str] = set()
        self.callers: list[Caller] = []
        self.told: list[tuple[str, tuple[str, ...]]] = []

    def list_contacts(self) -> list[str]:
        return ["n1 cannot be asked now"]

    def probe(self, spec: NodeSpec, caller: Caller) -> dict[str, Any]:
        self.callers.append(caller)
        asked = {
            "kind": "host_key",
            "text": f"{spec.name} has the host key {FINGERPRINT}",
            "value": FINGERPRINT,
        }
        return {"target": {"name": spec.name}, "questions": [asked], "warnings": ["Match is not honoured"]}

    def add(self, spec: NodeSpec, caller: Caller) -> Node:
        if spec.fingerprint != FINGERPRINT:
            raise UsageError("not accepted", code="fingerprint_not_accepted")
        node = Node(spec.name, self.context.clock.wall_ms(), {}, dict(spec.labels), spec.slots or 4)
        inventory.add(self.context.core, node)
        return node

    def up(self, names: Sequence[str], caller: Caller, progress: Progress) -> list[NodeResult]:
        with self.context.ledger.transaction() as tx:
            known = list(names) or [node.name for node in tx.find(Node)]
        for name in known:
            progress(ProgressLine(name, "connect", "started"))
            progress(ProgressLine(name, "connect", "failed" if name in self.sick else "done", "said", 0.5))
        sick = ({"what": "no Python", "fix": "install python3"},)
        return [NodeResult(n, n not in self.sick, sick if n in self.sick else ()) for n in known]

    def down(self, names: Sequence[str], caller: Caller, progress: Progress) -> list[NodeResult]:
        return [NodeResult(name, True) for name in names]

    def remove(self, name: str, caller: Caller, progress: Progress) -> NodeResult:
        progress(ProgressLine(name, "remove", "done"))
        inventory.revoke(self.context.core, name)
        inventory.forget(self.context.core, name)
        return NodeResult(name, True, changed=("removed",))

    def handed(self, name: str, probe: str | None, key: str | None, remove: bool) -> dict[str, Any]:
        if probe is None:
            return {"look": {"kind": "script", "text": "true", "args": [], "timeout_s": 5, "look": ""}}
        self.told.append(("handed", (name, probe, key or "", str(remove))))
        return {"steps": [], "key": key}

    def cleaned(self, name: str) -> bool:
        with self.context.ledger.transaction() as tx:
            known = any(node.name == name and node.removed == NodeState.NOT_CLEANED for node in tx.find(Node))
        if known:
            inventory.forget(self.context.core, name)
        return known

    def let_in(self, names: Sequence[str]) -> None:
        self.told.append(("let_in", tuple(names)))

    def trust(self, name: str, fingerprint: str, caller: Caller) -> NodeResult:
        return NodeResult(name, True, changed=(fingerprint,))

    def doctor(self, names: Sequence[str], caller: Caller) -> list[dict[str, Any]]:
        return [{"node": "n1", "what": "reached", "ok": True, "fix": ""}]


class MemoryCoordinator:
    """pancode.interfaces.http.context.CoordinatorApi on memory."""

    def __init__(self, context: Desk, home: Path) -> None:
        self.context = context
        self.home = home
        self.fleet: Any = ToldFleet(context)
        self.streams: Any = MemoryStreams()
        self.kept_files = MemoryFiles()
        self.story: list[str] = []
        self.inside: Sequence[AttemptId] | None = ()
        self.figures_at: ListenAddress | None = None
        self.rules, self.kept = NotifyRules(), dict[str, str]()
        self.listener: ApiListener | None = None
        self.change_makers = CHANGE_MAKERS
        self.shut: list[TroubleShape] = []
        self.chosen = KeptSettings(home, {}, home / "none.yaml")
        self.own_agents = OwnAgents(home, {})
        self.by_kind: dict[type, Any] = {
            KeptCheckouts: KeptCheckouts(home),
            Backups: make_backups(context.core, home)[0],
            DepotCode: MemoryLandings(),
            WatchedPulls: MemoryPulls(context.core, self.around),
        }
        self.held: Held | None = None

    @property
    def core(self) -> Core:
        return self.context.core

    def around(self, callers: Mapping[str, object], preset: str | None = None) -> FileSurroundings:
        return FileSurroundings(self.home, {}, callers, self.home / "none.yaml", preset, find_skills)

    def applied_preset(self, name: str | None) -> str | None:
        return apply_preset(self.home, name)

    def attempts_of(self, pid: int, start: str) -> Sequence[AttemptId] | None:
        return self.inside

    def process_figures(self) -> Mapping[str, float]:
        return {"process_open_fds": 12.0}

    def notify_rules(self) -> NotifyRules:
        return self.rules

    def keep_secret(self, name: str, value: str | None) -> None:
        self.kept.pop(name, None)
        self.kept |= {} if value is None else {name: value}

    def kept_secret(self, name: str) -> str:
        if name not in self.kept:
            raise NotFoundError(f"there is no secret {name}", code="no_secret")
        return self.kept[name]

    @property
    def parts(self) -> Sequence[CoordinatorPart]:
        return tuple(self.by_kind.values())

    @property
    def code(self) -> Any:
        """The landings, which tests replace."""
        return self.by_kind[DepotCode]

    @code.setter
    def code(self, made: DepotCode) -> None:
        self.by_kind[DepotCode] = made

    def part(self, kind: type[P]) -> P:
        found: P = self.by_kind[kind]
        return found

    def closed(self) -> Sequence[TroubleShape]:
        return self.shut

    def lead(self, by: str) -> None:
        self.story.append(f"{by} lets it lead")
        self.held = None

    def is_replaced(self) -> bool:
        return False

    def rotate_key(self, by: str) -> None:
        keyring.rotate_key(self.context.core, SigningKey(b"r" * 32), by)

    def after_reboot(self) -> str:
        return "restarted by the test"

    def stay_down(self) -> None:
        self.story.append("stays down")

    def start(self) -> None:
        self.story.append("start")

    def repair(self, failed: bool) -> str:
        self.story.append(f"repair {failed}")
        return ""

    def stop(self, stop_valkey: bool) -> None:
        self.story.append(f"stop valkey={stop_valkey}")


def app_of(coordinator: MemoryCoordinator) -> tuple[Starlette, ApiDesk]:
    context = ApiDesk(coordinator, dict(FACTS), lambda by: coordinator.story.append(f"shutdown by {by}"))
    return build_app(context), context


class Http:
    """Requests to the application, without a socket; each is answered to its end."""

    def __init__(self, app: Starlette) -> None:
        self._app = app

    def get(self, path: str, **query: str) -> httpx2.Response:
        return asyncio.run(self._send("GET", path, query, None))

    def get_from(self, folder: Path, path: str) -> httpx2.Response:
        """As asked by a user who stands in this folder."""
        return asyncio.run(self._send("GET", path, {}, None, {FOLDER: quote(str(folder))}))

    def post(
        self, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> httpx2.Response:
        return asyncio.run(self._send("POST", path, {}, body if body is not None else {}, headers))

    async def _send(
        self,
        method: str,
        path: str,
        query: dict[str, str],
        body: object,
        headers: Mapping[str, str] | None = None,
    ) -> httpx2.Response:
        transport = httpx2.ASGITransport(self._app, raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url="http://pancode") as client:
            return await client.request(method, path, params=query or None, json=body, headers=headers)


def client_of(coordinator: MemoryCoordinator) -> Http:
    return Http(app_of(coordinator)[0])


def events_of(answer: httpx2.Response) -> list[tuple[str, Any]]:
    """(kind, data) of a stream of server-sent events."""
    blocks = [block for block in answer.text.split("\n\n") if "event:" in block]
    lines = [dict(line.split(": ", 1) for line in block.splitlines()) for block in blocks]
    return [(line["event"], json.loads(line["data"])) for line in lines]


class World:
    """A coordinator with one node that listens, and its API."""

    def __init__(self, home: Path) -> None:
        self.context = Desk()
        self.node = Puppet(self.context)
        self.node.breathe()
        self.coordinator = MemoryCoordinator(self.context, home)
        self.http: Http = client_of(self.coordinator)

    def shell(self, **more: Any) -> dict[str, Any]:
        return {"task": "true", "runtime": "shell", "workspace": "none", **more}

    def dispatch(self, **more: Any) -> dict[str, Any]:
        answer = self.http.post("/v1/runs", self.shell(**more))
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    def claim(self) -> Job:
        job = self.node.take()
        return job

    def problem(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        answer = self.http.get(path) if method == "GET" else self.http.post(path, body)
        assert answer.status_code >= 400
        assert answer.headers["content-type"] == "application/problem+json"
        told: dict[str, Any] = answer.json()
        assert told["status"] == answer.status_code and told["message"] == told["title"]
        return told
