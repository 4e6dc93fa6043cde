"""One fleet that has everything which a user can look at, behind the real API on its socket.

Ledger and Redis are in memory, and the nodes say what a test tells them; the use cases, the routes, the depot
with its git, the landings and the files of the user are the real ones. Rows come from the API wherever a
user makes them by a command.
"""

from __future__ import annotations

import hashlib
import io
import os
from dataclasses import replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import asyncssh
import uvicorn
from starlette.types import ASGIApp

from node_agent.link.bus import RedisUplink
from node_agent.wire.clock import SystemClock, SystemIds
from node_agent.wire.endpoint import AskFact, AskState
from node_agent.wire.failure import FailureKind, Outcome
from node_agent.wire.identity import Mark
from node_agent.wire.job import Job
from node_agent.wire.node import NodeFacts, RoomFact, RuntimeFact
from node_agent.wire.policy import Isolation, Safety
from node_agent.wire.receipt import (
    Blob,
    GateResult,
    SuspendReason,
    TurnMessage,
    TurnRecord,
    TurnStop,
    Usage,
    UserQuestion,
)
from node_agent.wire.skill import SkillMark
from pancode import __version__
from pancode.app.http_routes import build_app
from pancode.app.schema import SCHEMA
from pancode.app.server.http_server import QUIET, Answering
from pancode.app.server.serve import PeerProtocol, listen
from pancode.backups.hooks import Backups
from pancode.config.notify import NoticeRoute, NotifyRules
from pancode.fleet import inventory
from pancode.fleet.ssh.home import Home
from pancode.fleet.ssh.hostkey import HostKey
from pancode.fleet.ssh.reach import reach_to
from pancode.fleet.ssh.target import Target
from pancode.git.depot import Depot
from pancode.git.forge.forges import HttpForges
from pancode.git.log_store import LogStreams
from pancode.git.port import GitDepot
from pancode.git.pull_state import PullOpened
from pancode.interfaces.http.context import ApiContext
from pancode.kernel.declared import to_json
from pancode.kernel.host.single_instance import HomeLock
from pancode.kernel.records import Action, ActionKind, Run
from pancode.landing.git.change_store import DepotCode
from pancode.pull_requests.hooks import WatchedPulls
from pancode.pull_requests.model import PullItem, PullItemKind, WatchedPull
from pancode.queue.queue import RedisBus
from pancode.queue.valkey.embedded_server import EmbeddedValkey
from pancode.runs.reconcile import act_now
from pancode.runs.unit_of_work import unit_of_work
from pancode.schedules.scheduler import Scheduler
from pancode.store.ledger import SqlLedger
from pancode.workflows.advancing import Advancing
from pancode.workflows.step_start import StepStarter
from tests.contract.transcripts import output
from tests.integration.git.repos import Repo
from tests.made_tools import proposal
from tests.unit.node_agent.wire import samples
from tests.unit.pancode.backups.memory import a_record
from tests.unit.pancode.interfaces.http.world import FACTS, Http, MemoryCoordinator
from tests.unit.pancode.issues.memory import track_issues
from tests.unit.pancode.runs.world import Desk, Puppet, entry_of, failed

ENVIRON = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"]}
FILES = {
    "skills.yaml": "skills:\n- {name: deploy, description: Deploy it., from: 'https://git.example.org/o/r', "
    f"commit: {'a' * 40}, path: deploy}}\n",
    "password": "secret",
    "plan.md": "# Limits\n\n## Steps\n\n1. Count the calls.\n2. Refuse the rest.\n",
    "chain.yaml": "name: chain\nsteps:\n- {name: one, task: look}\n",
    "beads.jsonl": '{"id": "b-1", "title": "do it", "status": "open", "priority": 2, "issue_type": "task"}\n',
    "agents.yaml": "agents:\n  a: {tier: mid}\n",
}
"""Files in the repository that commands read."""
PASSWORD = "pass word of a node"
BY_NOBODY = ("/v1/lanes", "/v1/workflows", "/v1/schedules")
NODES = HERE, GPUBOX, ATTIC = ("desk", "gpubox", "attic")
ENDS: dict[Outcome, FailureKind] = {
    Outcome.ERROR: FailureKind.AGENT_FAILED,
    Outcome.VERIFY_FAILED: FailureKind.GATE_FAILED,
    Outcome.TIMEOUT: FailureKind.WALL_LIMIT,
    Outcome.STALLED: FailureKind.IDLE_LIMIT,
    Outcome.BUDGET_EXCEEDED: FailureKind.USD_LIMIT,
    Outcome.INFRA: FailureKind.SETUP_FAILED,
    Outcome.POLICY_VIOLATION: FailureKind.READ_ONLY_BROKEN,
}
"""The outcomes that a node tells and nobody waits for, each with a reason."""
REPORT = "SCOPE: the limiter\nFILES CHANGED: none\nRESULT: it counts by key\nDECIDED: 429\nOPEN: the docs"
FOUND = "REPORT: it counts by key\nFOUND: limiter.py:12 the counter\nNOT FOUND: nothing"
MODEL = "anthropic/claude-sonnet-4-5"


def _facts(**changes: Any) -> NodeFacts:
    """What a machine with all that there is tells of itself."""
    names = ("shell", "scripted", "claude", "native")
    runtimes = tuple(RuntimeFact(name=name, version="2.1.3", state="ok") for name in names)
    absent = (
        RuntimeFact(name="codex", state="not_logged_in", version="0.1", fix="pancode node login desk codex"),
        RuntimeFact(name="gemini", state="missing", fix="npm i -g @google/gemini-cli"),
    )
    rich = samples.facts()
    ask = AskFact(ask="a" * 16, endpoint="ollama", model="qwen3-coder:30b", state=AskState.TESTING)
    told = {
        "runtimes": (*runtimes, *absent),
        "isolation": Isolation.SANDBOX,
        "asks": (ask,),
        "shut": None,
        "allows": rich.allows.model_copy(
            update={"safety": Safety.FULL_AUTO, "repositories": None, "runtimes": None, "closed": ""}
        ),
        "room": (RoomFact(what="journal", bytes=10_000), RoomFact(what="cache", bytes=2_000_000)),
    }
    return rich.model_copy(update={**told, **changes})


class RealRedis:
    """A Valkey of its own, with the coordinator's end and those of nodes."""

    def __init__(self, folder: Path) -> None:
        self.clock = SystemClock()
        self.valkey = EmbeddedValkey(folder, self.clock, SystemIds())
        self.access = self.valkey.start_or_adopt(__version__).access
        self.opened: list[RedisBus | RedisUplink] = []

    def bus(self) -> RedisBus:
        self.opened.append(made := RedisBus(self.access, self.clock))
        return made

    def uplink(self, tag: str) -> RedisUplink:
        place = self.access.socket
        self.opened.append(made := RedisUplink(tag, lambda: place, lambda: PASSWORD, self.clock))
        return made

    def stop(self) -> None:
        for end in self.opened:
            end.close()
        self.valkey.stop()


class Populated:
    """The fleet. `names`: what a command or a route can be asked for, by the name of the argument."""

    def __init__(self, folder: Path) -> None:
        self.home, self.repo = folder / "home", Repo(folder / "shop")
        Home(self.home).prepare()
        self.lock = HomeLock(self.home)
        self.redis = RealRedis(self.home / "valkey")
        self.desk = Desk(ceiling="100", redis=self.redis)
        self.ledger = SqlLedger(self.home / "ledger.db", SCHEMA)
        self.desk.ledger = self.ledger  # type: ignore[assignment]
        self.streams = LogStreams(self.home)
        depot = Depot(self.home / "depots")
        self.desk.depot = GitDepot(depot, self.streams, self.desk.clock, environ=ENVIRON)  # type: ignore[assignment]
        self.desk.restart()
        Home(self.home).keep_key(self.desk.key)
        self.nodes = {name: Puppet(self.desk, name, slots=8, password=PASSWORD) for name in NODES}
        self.coordinator = MemoryCoordinator(self.desk, self.home)
        self.coordinator.streams = self.streams
        track_issues(self.coordinator)
        self.coordinator.by_kind[Backups].records.keep(a_record("gpubox"))
        self.coordinator.code = DepotCode(
            depot, self.desk.core, self.coordinator.around({}), HttpForges(dict, str, SystemClock())
        )
        facts = {**FACTS, "home": str(self.home)}
        self.context = ApiContext(self.coordinator, facts, lambda by: None, lambda: "http://127.0.0.1:1")
        self.app = build_app(self.context)
        self.http = Http(self.app)
        self.depot, self.names = depot, dict[str, str]()
        self._machines()
        self._lost()
        self._ended()
        self._changes()
        self._workflows()
        self._talks()
        self._project()
        self._people()

    # -- how things come to be ---------------------------------------------------------------------

    def post(self, path: str, /, **body: Any) -> dict[str, Any]:
        answer = self.http.post(path, {"by": "ana", **body} if path not in BY_NOBODY else body)
        assert answer.status_code < 400, f"{path}: {answer.text}"
        return dict(answer.json())

    def breathe(self) -> None:
        for node in self.nodes.values():
            node.facts = node.facts.model_copy(update={"wall_ms": self.desk.clock.wall_ms()})
            if node.name != ATTIC or "lost" not in self.names:
                node.breathe()

    def dispatch(self, task: str = "true", node: str = HERE, **more: Any) -> str:
        asked = {"task": task, "runtime": "shell", "workspace": "none", "node": node, **more}
        return str(self.post("/v1/runs", **asked)["run"])

    def take(self, node: str = HERE) -> Job:
        """The next job of a node, at work until it is said to have ended."""
        self.breathe()
        who = self.nodes[node]
        job = who.take()
        who.start(job)
        who.open.append(job.identity)
        digest = job.signed(self.desk.key).digest()
        who.journal.append(entry_of(job, Mark.SPAWNED).model_copy(update={"job": digest}))
        self.desk.turn()
        return job

    def end(self, job: Job, node: str = HERE, text: str = "line 1\n", **claims: Any) -> str:
        """The run ends; its output has arrived."""
        data = text.encode()
        self.streams.append(job.identity, "out", 0, len(data), io.BytesIO(data).read)
        blob = Blob(name="out", size=len(data), sha256=hashlib.sha256(data).hexdigest())
        free = Usage(cost_usd=Decimal(0), cost_source="local")
        marks = tuple(SkillMark(name=one.name, digest=one.digest) for one in job.skills)
        told: dict[str, Any] = {"blobs": (blob,), "base": job.workspace.base, "skills": marks}
        told |= {"exit_code": 0, "isolation": Isolation.SANDBOX}
        told |= {"usage": free} if job.runtime == "shell" else {}
        who = self.nodes[node]
        who.open.remove(job.identity)
        who.journal = [entry for entry in who.journal if entry.identity != job.identity]
        who.deliver(job, **{**told, **claims})
        self.desk.turn()
        return job.identity.run

    def serve(self, app: ASGIApp) -> Answering:
        """The API on the socket of its home, as a coordinator serves it."""
        self.lock.take()
        config = uvicorn.Config(app, http=PeerProtocol, timeout_graceful_shutdown=1, **QUIET)
        api = Answering(config, "api", lambda: None)
        assert api.start(listen(self.home))
        return api

    def close(self) -> None:
        self.lock.leave()
        self.ledger.close()
        self.redis.stop()

    # -- what there is -----------------------------------------------------------------------------

    def _machines(self) -> None:
        """This machine, one over SSH through another one, one that will be silent."""
        key = HostKey.parse(asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode())
        hop = Target("jump", "192.0.2.1", 22, "ops")
        far = Target("gpubox", "192.0.2.7", 2222, "ops", hops=(hop,), warnings=("ssh -G gpubox: Tag is new",))
        reaches = {
            HERE: reach_to(Target(HERE, "127.0.0.1", 0, ""), local=True, installed_home="/home/ana/n"),
            GPUBOX: reach_to(far, {far.endpoint: key}, installed_home="/home/ops/n"),
            ATTIC: reach_to(
                replace(far, alias=ATTIC, host="192.0.2.9", hops=()), installed_home="/home/ops/n"
            ),
        }
        labels = {HERE: {"local": "true"}, GPUBOX: {"gpu": "24g"}, ATTIC: {}}
        for name, node in self.nodes.items():
            told = {
                "target": to_json(reaches[name]),
                "labels": labels[name],
                "added_ms": self.desk.clock.wall_ms(),
            }
            told["added_ms"] = self.desk.clock.wall_ms()
            inventory.change(self.desk.core, name, partial(replace, **told))
            node.facts = _facts(hostname=name)
        self.breathe()
        self.names |= {"node": GPUBOX}

    def _lost(self) -> None:
        """A run whose machine went away in the middle of it."""
        run = self.dispatch(node=ATTIC)
        self.take(ATTIC)
        self.breathe()
        self.names["lost"] = run
        for _ in range(100):
            self.desk.turn(10_000)
            for name in (HERE, GPUBOX):
                self.nodes[name].heartbeat()
        self.breathe()

    def _ended(self) -> None:
        """A run of every other outcome, one at work, one that waits."""
        for outcome, kind in ENDS.items():
            self.dispatch(f"it ends as {outcome}")
            self.names[outcome.value] = self.end(self.take(), **failed(kind, outcome))
        self.dispatch("which?")
        asked = UserQuestion(question="Which side?", choices=("left", "right"))
        told = failed(FailureKind.NEEDS_USER, Outcome.BLOCKED)
        self.names["blocked"] = self.end(self.take(), question=asked, **told)
        stopped = self.dispatch("it is stopped", node=GPUBOX)
        job = self.take(GPUBOX)
        self.post(f"/v1/runs/{stopped}/stop", reason="enough")
        self.names["interrupted"] = self.end(job, GPUBOX, **failed(FailureKind.STOPPED, Outcome.INTERRUPTED))
        self.dispatch("it edits a file", runtime="claude")
        self.names["claude"] = self.end(self.take(), text=output("claude", "ok-edit").decode())
        self.names["running"] = self.dispatch("sleep 60", node=GPUBOX)
        self.take(GPUBOX)
        self.names["waiting"] = self.dispatch("it waits", node=ATTIC)

    def changed(self, name: str, text: str, verify: tuple[str, ...] = ()) -> str:
        """A run over the repository that leaves a file with this text; its gates have passed."""
        run = self.dispatch(f"write {name}", workspace="git", cwd=str(self.repo.path), verify=verify)
        job = self.take()
        agent = Repo(self.home.parent / f"agent-{run}")
        place = str(self.depot.path(str(job.workspace.repo)))
        agent.git("fetch", "-q", place, f"refs/pancode/snap/{run}")
        agent.git("checkout", "-q", "--detach", "FETCH_HEAD")
        agent.write(name, text)
        commit = agent.commit(f"write {name}")
        agent.git(
            "push",
            "-q",
            "-f",
            place,
            f"HEAD:refs/pancode/{run}/{job.identity.attempt}.{job.identity.lease}",
        )
        gates = tuple(
            GateResult(name=gate.name, argv=gate.argv, passed=True, exit_code=0, duration_ms=5)
            for gate in job.gates
        )
        return self.end(
            job, commit=commit, change="change", files_changed=(name,), answer=REPORT, gates=gates
        )

    def _changes(self) -> None:
        self.repo.write("limiter.py", "def count():\n    return 1\n")
        for name, text in FILES.items():
            self.repo.write(name, text)
        self.repo.commit("begin")
        self.names["run"] = self.changed("limiter.md", "It counts by key.\n")
        self.names["green"] = self.changed("green.md", "It is tested.\n", ("true",))
        self.names["landed"] = self.changed("more.md", "And more.\n")
        self.names["to_land"] = self.changed("last.md", "And last.\n")
        for name in ("to_land", "landed"):
            self.post(f"/v1/runs/{self.names[name]}/comments", words="Say it in one line.")
        queue = self.coordinator.code.queue
        queue.start()
        self.post(f"/v1/runs/{self.names['landed']}/land", branch="agent/more")
        queue.stop()
        self.post(f"/v1/runs/{self.names['to_land']}/land", branch="agent/last", wait=False)
        watched = self.coordinator.part(WatchedPulls)
        run = self.desk.row(Run, self.names["landed"])
        url = "https://git.example.org/o/r/pull/7"
        watched.note_pull(
            run, PullOpened("github", "git.example.org/o/r", 7, url, "origin", "agent/more", "ana")
        )
        with unit_of_work(self.desk.core) as work:
            (pull,) = work.tx.find(WatchedPull)
            item = PullItem("review-1", PullItemKind.REMARK, "ana requests changes", "Add a test.")
            work.tx.put(replace(pull, items=(to_json(item),), looked_ms=self.desk.core.wall_ms()))

    def _advance(self) -> None:
        """What the threads of workflows and schedules do."""
        core = self.desk.core
        advancing = Advancing(core, StepStarter(core, self.coordinator.around))
        for action in self.desk.rows(Action):
            if action.kind is ActionKind.ADVANCE and action.at_ms <= self.desk.clock.wall_ms():
                advancing.do(action.run, lambda: False)
        act_now(core)

    def _workflows(self) -> None:
        asked = {"task": "true", "runtime": "shell", "workspace": "none", "node": HERE}
        steps = [{"name": "one", "dispatch": asked}, {"name": "two", "needs": ["one"], "dispatch": asked}]
        self.names["workflow"] = str(self.post("/v1/workflows", kind="chain", steps=steps)["workflow"])
        self._advance()
        self.end(self.take())
        self._advance()
        self.end(self.take())
        self._advance()
        self.post(
            "/v1/lanes", name="docs", cwd=str(self.repo.path), defaults={"node": HERE, "runtime": "shell"}
        )
        self.post("/v1/lanes/docs/add", task="true", key="first")
        self._advance()
        self.names["lane"] = "docs"
        self.post("/v1/schedules", name="nightly", on="webhook", dispatch=asked)
        self.post("/v1/schedules/nightly/run")
        Scheduler(self.desk.core, self.coordinator.around).run_pass()
        self.names["schedule"] = "nightly"
        for _ in range(2):
            self.end(self.take())

    def _talks(self) -> None:
        """A session of two interactive runs, with a point to which one can go back."""
        said = {
            "runtime": "native",
            "model": MODEL,
            "node": HERE,
            "cwd": str(self.repo.path),
            "task": "hello",
        }
        run = self.names["session"] = str(self.post("/v1/sessions", **said)["run"])
        self._interactive_run()
        self.post(f"/v1/sessions/{run}/checkpoints", name="begun")
        self.post(f"/v1/sessions/{run}/words", text="go on")
        self.names["child"] = self.dispatch("look there", parent=run, depth=1)
        self._interactive_run()
        self.end(self.take())

    def _interactive_run(self) -> None:
        job = self.take()
        assert job.turns is not None
        words = TurnMessage.of(0, job.turns.by, job.task)
        turn = TurnRecord(number=1, words=(words,), stop=TurnStop.END_TURN, usage=Usage())
        self.end(
            job, session="s-1", turns=(turn,), rests=SuspendReason.ASKED, answer="hi", change="no_change"
        )

    def _project(self) -> None:
        """A project with a tracker, an issue at work, a workspace, a made tool, notes."""
        self.post("/v1/projects", path=str(self.repo.path), name="shop", tracker="github:o/r", prefix="SHOP")
        self.names |= {"project": "shop", "issue": "SHOP-12", "workspace": "login"}
        self.post("/v1/workspaces", name="login", title="Add login", project="shop", node=HERE)
        self.dispatch(workspace="login")
        self.end(self.take(), change="no_change")
        self.post("/v1/work", issue="shop-12", runtime="claude")
        self.take()
        self.names["tool_run"] = self.dispatch("make it", workspace="git", cwd=str(self.repo.path))
        self.end(self.take(), proposed=(proposal(),), change="no_change")
        self.names["tool"] = "count-words"
        scouts = self.post(
            "/v1/explore", questions=["Where is the limiter?"], cwd=str(self.repo.path), node=HERE
        )
        self.names["scout"] = str(scouts["scouts"][0]["run"])
        self.end(self.take(), answer=FOUND, change="no_change")

    def _people(self) -> None:
        self.post("/v1/tokens", name="phone", scopes=["read"])
        self.names |= {"token": "phone", "channel": "phone", "agent": "builder"}
        self.coordinator.rules = NotifyRules({"phone": "ntfy"}, (NoticeRoute(("phone",)),))
        self.post("/v1/notify/test", channel="phone")
