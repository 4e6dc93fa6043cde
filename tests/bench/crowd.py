"""A crowd of nodes on a simulated clock: real control plane, ledger, Redis and signatures; no SSH or HTTP.

A few nodes are real node agents with memory for a machine; the others only say what an idle one says. Time
passes as fast as the processor goes, so a busy node makes no node late. Only the coordinator's own
processor time is counted.
"""

from __future__ import annotations

import gc
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self, TypeVar

from node_agent.link.bus import RedisUplink
from node_agent.wire import keys
from node_agent.wire.clock import SystemIds
from node_agent.wire.model import FleetTime
from node_agent.wire.node import Ask, Heartbeat, Inventory, NodeFacts
from node_agent.wire.packing import pack
from node_agent.wire.policy import Mode, Safety
from node_agent.wire.signing import SigningKey
from pancode import __version__
from pancode.app.features import FEATURES
from pancode.app.schema import SCHEMA
from pancode.config.fleet_settings import pause_queue
from pancode.fleet import inventory
from pancode.kernel.host.files import FileArchive, FileEpochs
from pancode.kernel.node import NodeState
from pancode.kernel.records import Node, Run, RunState
from pancode.queue.queue import RedisBus
from pancode.queue.valkey.access import connect
from pancode.runs.core import ControlSettings, Core, Ports
from pancode.runs.reconcile import act_now, run_pass, start_epoch, wait_for_messages
from pancode.store.ledger import SqlLedger
from tests.bench.history import KEYED, copies
from tests.contract.redis_servers import OwnValkey
from tests.fakes.node import MemoryClock, MemoryDepot, Script
from tests.simulation.coordinator import FLEET, SimDepot
from tests.simulation.machines import Machine
from tests.simulation.trees import Trees
from tests.unit.pancode.runs.world import enqueue

T = TypeVar("T")
REAL, PASSWORD = 4, "password"
STEP_MS, HEARTBEAT_MS, INVENTORY_MS, PASS_MS = 100, 5_000, 600_000, 1_000


class FarRedis:
    """A real server in the place of the simulation's."""

    def __init__(self, access: Any, place: Any, clock: MemoryClock) -> None:
        self.access, self._place, self._clock = access, place, clock
        self.real = RedisBus(access, clock)
        self.cut: set[str] = set()

    def bus(self) -> Any:
        """Nodes have their users from the coordinator here, not from their own disk."""
        return SimpleNamespace(admit_node=lambda tag, password: None)

    def uplink(self, tag: str, shapes: object) -> RedisUplink:
        self.real.admit_node(tag, PASSWORD)
        return RedisUplink(tag, lambda: self._place, lambda: PASSWORD, self._clock)


@dataclass
class Voice:
    """A node that is only heard: its key, and the number of its next heartbeat."""

    row: Node
    key: SigningKey
    control_seen: int = 0
    seq: int = 0

    def heartbeat(self, facts: NodeFacts, boot_ms: int, heard: FleetTime | None, obeys: str) -> str:
        self.seq += 1
        tag = self.key.public.tag
        return (
            Heartbeat(
                fleet=FLEET,
                node=tag,
                session=f"s-{tag}",
                boot_id="boot-1",
                seq=self.seq,
                boot_ms=boot_ms,
                nonce=f"n-{tag}",
                echo=heard,
                epoch_seen=heard.epoch if heard else 0,
                control_seen=self.control_seen,
                ask=Ask(seq=self.seq, slots=4, open=()),
                version=__version__,
                obeys=(obeys,),
                facts=facts.without_profile(),
                profile=facts.make_profile().digest(),
            )
            .signed(self.key)
            .model_dump_json()
        )

    def inventory(self, at: FleetTime) -> str:
        tag = self.key.public.tag
        said = Inventory(
            fleet=FLEET,
            node=tag,
            session=f"s-{tag}",
            nonce=f"n-{tag}",
            at=at,
            epoch_seen=at.epoch,
            entries=(),
        )
        return said.signed(self.key).model_dump_json()


class Crowd:
    """A context: one coordinator and `count` nodes, all of them online."""

    def __init__(self, count: int, real: int = REAL) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="pb-crowd-"))
        self.clock, self.server = MemoryClock(ms=10_000_000), OwnValkey()
        self.redis = FarRedis(self.server.access, self.server.place, self.clock)
        self.client: Any = connect(self.server.access)
        arrived, trees = MemoryDepot(), Trees()
        self.key = SigningKey(b"c" * 32)
        ports = Ports(
            SqlLedger(self.folder / "ledger.db", SCHEMA),
            self.redis.real,
            SimDepot(arrived, trees),
            FileArchive(self.folder, self.clock),
            FileEpochs(self.folder / "epoch"),
            self.clock,
            SystemIds(),
        )
        self.ports = ports
        self.core = Core(ports, self.key, FLEET, ControlSettings(ceiling_usd=Decimal(10**9)), FEATURES)
        self.spent = self.worst = 0.0
        self.rounds = 0
        self._next_round = 0
        self._number = 0
        start_epoch(self.core)
        self.machines: list[Any] = []
        for n in range(min(real, count)):
            machine = Machine(f"n{n}", self.redis, (arrived, trees), 4)  # type: ignore[arg-type]
            inventory.add(self.core, machine.row({}))
            machine.scripts = _Short()
            machine.start({self.key.public.keyid: self.key.public})
            self.machines.append(machine)
        self.voices = [self._voice(n) for n in range(len(self.machines), count)]
        gc.collect()
        gc.freeze()  # as `pancode serve` does
        self.facts = self.machines[0].facts.look() if self.machines else None

    def _voice(self, n: int) -> Voice:
        key = SigningKey(n.to_bytes(32, "big"))
        row = Node(f"n{n}", 0, {}, {"crowd": "yes"}, 4, tag=key.public.tag, public_key=key.public.text())
        inventory.add(self.core, row)
        return Voice(row, key)

    def __enter__(self) -> Self:
        for voice in self.voices:
            self._say(voice)
        for _ in range(120):
            self.step()
        for voice in self.voices:  # a link has come up: its inventory, once
            at = FleetTime(epoch=self.core.epoch, ms=self.clock.boot_ms())
            self._up(voice, voice.inventory(at))
        for _ in range(80):
            self.step()
        return self

    def __exit__(self, *exc: object) -> None:
        self.ports.ledger.close()
        self.redis.real.close()
        self.client.close()
        self.server.discard()
        shutil.rmtree(self.folder, ignore_errors=True)

    # -- time ------------------------------------------------------------------------------------

    def step(self) -> None:
        """A tenth of a second: who is due speaks, and the coordinator has its rounds."""
        self.clock.advance(STEP_MS)
        now = self.clock.boot_ms()
        share = HEARTBEAT_MS // STEP_MS
        due = now // STEP_MS % share
        for voice in self.voices[due::share]:
            self._say(voice)
        for machine in self.machines:
            machine.clock.advance(STEP_MS)
            machine.tick()
        heard = self.taking(lambda: wait_for_messages(self.core, 1)) if self._any_up() else False
        if heard or now >= self._next_round:
            self._next_round = now + PASS_MS
            before = self.spent
            self.taking(lambda: run_pass(self.core, heard))
            self.rounds += 1
            self.worst = max(self.worst, self.spent - before)

    def taking(self, act: Callable[[], T]) -> T:
        """The same, with its processor time on the coordinator's account, in ms."""
        began = time.thread_time()
        try:
            return act()
        finally:
            self.spent += (time.thread_time() - began) * 1000

    def measured(self, act: Callable[[], object]) -> tuple[float, int]:
        """(ms of the coordinator, rounds) that this took."""
        spent, rounds = self.spent, self.rounds
        self.worst = 0.0
        act()
        return self.spent - spent, self.rounds - rounds

    def idle(self, seconds: int) -> None:
        for _ in range(seconds * 1000 // STEP_MS):
            self.step()

    def _say(self, voice: Voice) -> None:
        live = self.core.live
        heard = (
            FleetTime(epoch=self.core.epoch, ms=live.heartbeats.sent[-1]) if live.heartbeats.sent else None
        )
        voice.control_seen = self._settings_seen(voice)
        assert self.facts is not None
        if voice.seq == 0:
            profile = self.facts.make_profile().canonical()
            self.client.set(keys.profile_key(voice.key.public.tag), profile)
        text = voice.heartbeat(self.facts, self.clock.boot_ms(), heard, self.key.public.keyid)
        self.client.set(keys.heartbeat_key(voice.key.public.tag), pack(text.encode()))

    def _settings_seen(self, voice: Voice) -> int:
        if voice.control_seen == 0 or voice.seq % 50 == 0:
            with self.ports.ledger.transaction() as tx:
                row = tx.get(Node, voice.row.name)
            return row.control_seq if row is not None else 0
        return voice.control_seen

    def _up(self, voice: Voice, text: str) -> None:
        self.client.xadd(keys.up_stream(voice.key.public.tag), {"e": text})

    def _any_up(self) -> bool:
        if not self.machines:
            return False
        tags = [m.tag for m in self.machines]
        with self.client.pipeline(transaction=False) as pipe:
            for tag in tags:
                pipe.xlen(keys.up_stream(tag))
            return any(pipe.execute())

    def online(self) -> int:
        with self.core.ports.ledger.transaction() as tx:
            return [v.state for v in self.core.views(tx)].count(NodeState.ONLINE)

    # -- work ------------------------------------------------------------------------------------

    def dispatch(self, **more: Any) -> str:
        """A no-op run on one of the real nodes."""
        self._number += 1
        run = a_run(self._number, self.clock.wall_ms(), node=f"n{self._number % len(self.machines)}", **more)
        self.taking(lambda: enqueue(self.core, run))
        self.taking(lambda: act_now(self.core))
        return run.id

    def wait_in_line(self, count: int) -> None:
        """So many runs are queued, and the fleet is paused."""
        pause_queue(self.core, None, "bench", "bench")
        for _ in range(count):
            self._number += 1
            enqueue(self.core, a_run(self._number, self.clock.wall_ms()))

    def has_ended(self, count: int) -> None:
        """So many copies of a run that was really executed; a second lies between two of them."""
        run = self.dispatch()
        self.until_settled([run])
        with sqlite3.connect(self.folder / "ledger.db", timeout=60) as database:
            for table, key in {**KEYED, "ended_runs": "run"}.items():
                database.execute(copies(database, table, key, count), (run,))
        self.idle(1)

    def until_settled(self, ids: list[str]) -> None:
        left = set(ids)
        for _ in range(3_000):
            self.step()
            with self.ports.ledger.transaction() as tx:
                found = [tx.get(Run, run) for run in left]
            left -= {r.id for r in found if r is not None and r.state is RunState.ENDED}
            if not left:
                return
        raise TimeoutError(f"{len(left)} runs are not settled")


class _Short(dict[str, Script]):
    """Every run is over at once."""

    def get(self, key: str, default: Any = None) -> Script:
        return Script(duration_ms=200, kind="empty")


def a_run(number: int, created_ms: int, **more: Any) -> Run:
    fields: dict[str, Any] = {
        "id": f"r-c{number:07d}",
        "created_ms": created_ms,
        "created_by": "bench",
        "task": "work",
        "argv": None,
        "agent": "builder",
        "prompt": "",
        "tools": (),
        "read_only": False,
        "runtime": "scripted",
        "model": None,
        "mode": Mode.BUILD,
        "safety": Safety.AUTO_EDIT,
        "told_only": False,
        "node": None,
        "require": {},
        "priority": 0,
        "project": None,
        "workspace": {"kind": "none"},
        "setup": (),
        "cache": (),
        "gates": (),
        "limits": {"wall_ms": 3_600_000, "idle_ms": 600_000, "output_bytes": 1 << 20, "usd": "1.00"},
        "env": (),
        "secrets": (),
        "depth": 0,
        "estimate_usd": Decimal(0),
        "on_lost": "ask",
        "max_attempts": None,
        "trace": "t",
    }
    return Run(**{**fields, **more})


def idle_percent(crowd: Crowd, seconds: int = 15) -> float:
    """Of a core, over simulated time."""
    ms, _ = crowd.measured(lambda: crowd.idle(seconds))
    return ms / seconds / 10


def run_ms(crowd: Crowd, idle: float, runs: int = 10, steps: int = 5) -> float:
    """Of the coordinator for a no-op run, beyond `idle` percent; so many steps between two dispatches."""
    began = crowd.clock.ms

    def at_work() -> None:
        ids = []
        for _ in range(runs):
            ids.append(crowd.dispatch())
            for _ in range(steps):
                crowd.step()
        crowd.until_settled(ids)

    ms, _ = crowd.measured(at_work)
    return (ms - idle / 100 * (crowd.clock.ms - began)) / runs


def main(argv: list[str]) -> None:
    """For a look: `python -m tests.bench.crowd NODES ...`."""
    for count in map(int, argv):
        with Crowd(count) as crowd:
            idle = idle_percent(crowd)
            told = (
                f"{count} nodes, {crowd.online()} online: idle {idle:.2f} %, worst round {crowd.worst:.0f} ms"
            )
            if count:
                single, burst = run_ms(crowd, idle), run_ms(crowd, idle, 20, 0)
                told += f"; a run {single:.1f} ms at 2/s, {burst:.1f} ms of 20 at once"
            print(told, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
