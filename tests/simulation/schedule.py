"""One schedule: a seed decides work, faults and their order; then faults stop and all comes to its end."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random  # noqa: TID251 - seeded, which is the point
from typing import Any

from node_agent.memory import MemoryClock, MemoryDepot, Script
from node_agent.wire.identity import AttemptId
from node_agent.wire.policy import Mode, Safety
from node_agent.wire.signing import SigningKey, parse_envelope
from pancode.adapters.memory_bus import MemoryRedis
from pancode.domain.records import Fence, Run, RunState
from pancode.errors import PancodeError, RefusedError
from tests.simulation.invariants import Broken, Invariants
from tests.simulation.machines import Desk, Machine

STEPS = 45
SETTLE_STEPS = 260
ENEMY = ("altered", "replayed", "forged", "foreign order", "old heartbeat", "rubbish")


@dataclass
class Schedule:
    """`run()` raises Broken with the seed and the story of what was done. The same seed does the same."""

    seed: int
    story: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = Random(self.seed)
        self.clock = MemoryClock(ms=10_000_000)
        self.arrived = MemoryDepot()
        self.redis = MemoryRedis(self.clock.boot_ms)
        self.redis.carry = self._carry
        self.desk = Desk(self.redis, self.arrived, self.clock)
        count = self.random.choice((1, 2, 2, 3))
        self.machines = [
            Machine(f"n{i}", self.redis, self.arrived, self.random.choice((1, 2, 3))) for i in range(count)
        ]
        self.invariants = Invariants(self.desk, self.machines)
        self.runs: list[str] = []
        self.chaos = 0.0
        self.held_back: list[tuple[str, str, bytes]] = []
        self.seen: list[tuple[str, str, bytes]] = []
        self.enemy = False
        self.heartbeats: dict[str, list[bytes]] = {}

    def run(self) -> None:
        try:
            self._begin()
            for _ in range(STEPS):
                self._act()
                self._step(self.random.choice((0, 100, 500, 1_000, 3_000)))
            self._heal()
            self._settle()
            self.invariants.at_the_end()
        except Exception as exc:
            kind = type(exc).__name__
            told = "\n  ".join(self.story[-80:])
            raise Broken(f"seed {self.seed}: {kind}: {exc}\n  {told}") from exc

    # -- time ------------------------------------------------------------------------------------

    def _begin(self) -> None:
        self.desk.start()
        for machine in self.machines:
            if self.desk.plane is not None:
                self.desk.plane.add_node(machine.row())
            machine.start(self.desk.key)
        for _ in range(4):
            self._step(1_000)

    def _step(self, ms: int) -> None:
        """Time passes, then everybody who can acts, in an order that the seed decides."""
        self.clock.advance(ms)
        for machine in self.machines:
            machine.clock.advance(ms)
        actors: list[Callable[[], None]] = [self.desk.turn, *(m.tick for m in self.machines)]
        self.random.shuffle(actors)
        for act in actors:
            act()
        for tag, data in self.redis.store.heartbeats.items():
            self.heartbeats.setdefault(tag, []).append(data)
        self._restarts()
        self.invariants.after_step()

    def _restarts(self) -> None:
        """What died comes back after a while, as its supervisor would see to it."""
        if self.desk.plane is None and self.random.random() < 0.4:
            self._say("coordinator starts")
            self.desk.start()
        for machine in self.machines:
            if machine.agent is None and self.random.random() < 0.4:
                self._say(f"{machine.name} starts")
                machine.start(self.desk.key)

    def _heal(self) -> None:
        self._say("faults stop")
        self.chaos = 0.0
        self.redis.down = False
        self.desk.frozen, self.desk.wire.at = False, None
        for machine in self.machines:
            machine.cut(False)
            machine.frozen, machine.wire.at = False, None
            machine.host.full = machine.shelf.full = False
            if machine.agent is None:
                machine.start(self.desk.key)
        if self.desk.plane is None:
            self.desk.start()
        if self.desk.plane is None:
            raise Broken("the coordinator does not start without faults")
        for machine in self.machines:
            self.desk.plane.drain(machine.name, None, "sim")
        self.desk.plane.put_setting("paused", None, "sim")
        # A run that waits for the budget waits with a reason until a person or the next day helps.
        self.invariants.ceiling = Decimal(1_000)
        self.desk.plane.set_ceiling("day", self.invariants.ceiling, "sim")

    def _settle(self) -> None:
        """Small steps at first, then the pace of the beat, until all is at its end and quiet."""
        quiet = 0
        for number in range(SETTLE_STEPS):
            self._step(1_000 if number < 10 else 5_000)
            quiet = quiet + 1 if self._at_rest() else 0
            if quiet >= 16:
                return

    def _at_rest(self) -> bool:
        with self.desk.seen() as tx:
            ended = all(r.state is RunState.ENDED for r in tx.find(Run))
        return ended and not any(m.journal.live() for m in self.machines)

    # -- what happens ----------------------------------------------------------------------------

    def _act(self) -> None:
        weighted: list[tuple[int, Callable[[], None]]] = [
            (10, self._dispatch),
            (3, self._stop),
            (1, self._retry),
            (4, self._crash_node),
            (3, self._crash_coordinator),
            (3, self._cut),
            (4, self._mend),
            (2, self._power),
            (1, self._freeze_node),
            (2, self._sleep_coordinator),
            (2, self._redis_away),
            (1, self._wipe),
            (2, self._noise),
            (1, self._drain),
            (1, self._pause),
            (1, self._disk),
            (1, self._kill_shims),
            (3, self._enemy),
            (8, lambda: None),
        ]
        acts = [act for weight, act in weighted for _ in range(weight)]
        self.random.choice(acts)()

    def _machine(self) -> Machine:
        return self.random.choice(self.machines)

    def _say(self, what: str) -> None:
        self.story.append(f"{self.clock.ms}: {what}")

    def _dispatch(self) -> None:
        if self.desk.plane is None or self.desk.frozen or len(self.runs) >= 12:
            return
        number = len(self.runs) + 1
        run_id = f"r-s{number:04d}"
        run = self._a_run(run_id)
        script = self._script()
        for machine in self.machines:
            machine.scripts[run_id] = script
        how = f"on {run.node} ro={run.read_only} lost={run.on_lost} {script.duration_ms} ms"
        self._say(f"dispatch {run_id} {how}")
        self.runs.append(run_id)
        plane = self.desk.plane

        def enqueue() -> None:
            try:
                plane.enqueue(run)
            except RefusedError:
                self._say(f"{run_id} refused by the budget")

        self.desk.guarded(enqueue)

    def _script(self) -> Script:
        r = self.random
        cost = r.choice(("0.01", "0.30", "1.50"))
        answer = f'{{"answer": "did it", "in": 10, "out": 5, "usd": "{cost}"}}\n'
        return Script(
            duration_ms=r.choice((0, 500, 3_000, 20_000, 90_000)),
            exit_code=r.choice((0, 0, 0, 0, 1)),
            output=r.choice((answer, answer, answer, "", '{"answer": "x"}\n')).encode(),
            kind=r.choice(("change", "change", "empty")),
            stop_ms=r.choice((0, 1_000, 30_000)),
            setup_code=r.choice((0, 0, 0, 0, 1)),
            gate_codes=(r.choice((0, 0, 0, 1, 127)),),
            gate_ms=r.choice((0, 100, 5_000)),
            commit_fails=r.random() < 0.03,
            start_fails=r.random() < 0.03,
        )

    def _a_run(self, run_id: str) -> Run:
        r = self.random
        git = r.random() < 0.6
        snapshot = self.desk.depot.snapshot("p", run_id).snapshot
        workspace = {"kind": "git", "repo": "repo-1", "base": None, "snapshot": snapshot}
        fields: dict[str, Any] = {
            "id": run_id,
            "created_ms": self.clock.wall_ms(),
            "created_by": "sim",
            "task": "work",
            "argv": None,
            "agent": r.choice(("builder", "scout")),
            "prompt": "",
            "tools": (),
            "read_only": r.random() < 0.25,
            "runtime": "scripted",
            "model": None,
            "mode": Mode.BUILD,
            "safety": Safety.AUTO_EDIT,
            "told_only": False,
            "node": r.choice((None, None, self._machine().name)),
            "require": {},
            "priority": r.choice((0, 0, 5)),
            "project": None,
            "workspace": workspace if git else {"kind": "none"},
            "setup": (("setup",),) if r.random() < 0.2 else (),
            "gates": ({"name": "verify", "argv": ["check"]},) if r.random() < 0.5 else (),
            "limits": {"wall_ms": 3_600_000, "idle_ms": 600_000, "output_bytes": 1 << 20, "usd": "1.00"},
            "env": (),
            "secrets": (),
            "depth": 0,
            "estimate_usd": Decimal(r.choice(("0", "0.20", "0.75"))),
            "on_lost": r.choice(("ask", "ask", "retry")),
            "max_attempts": r.choice((1, 1, 2)),
            "trace": "t",
        }
        return Run(**fields)

    def _stop(self) -> None:
        plane = self.desk.plane
        if plane is not None and self.runs and not self.desk.frozen:
            run_id = self.random.choice(self.runs)
            self._say(f"stop {run_id}")
            self._try(lambda: plane.stop(run_id, "by the simulation"))

    def _retry(self) -> None:
        plane = self.desk.plane
        if plane is not None and self.runs and not self.desk.frozen and len(self.runs) < 12:
            run_id = self.random.choice(self.runs)
            self._say(f"retry {run_id}")
            self._try(lambda: plane.retry(run_id, "sim"))

    def _try(self, verb: Callable[[], object]) -> None:
        """A verb that a person calls; its refusal is an answer, not a fault."""

        def call() -> None:
            try:
                verb()
            except PancodeError:
                return

        self.desk.guarded(call)

    def _crash_node(self) -> None:
        machine = self._machine()
        calls = self.random.randint(1, 40)
        self._say(f"{machine.name} will crash in {calls} calls")
        machine.crash_in(calls)

    def _crash_coordinator(self) -> None:
        calls = self.random.randint(1, 30)
        self._say(f"coordinator will crash in {calls} calls")
        self.desk.crash_in(calls)

    def _cut(self) -> None:
        machine = self._machine()
        self._say(f"{machine.name} link cut")
        machine.cut(True)

    def _mend(self) -> None:
        for machine in self.machines:
            machine.cut(False)
            machine.frozen = False
            machine.host.full = machine.shelf.full = False
        self.redis.down = False
        self.desk.frozen = False
        self._say("links, disks and Redis mended")

    def _power(self) -> None:
        machine = self._machine()
        self._say(f"{machine.name} power cut")
        machine.power_cut()

    def _freeze_node(self) -> None:
        machine = self._machine()
        self._say(f"{machine.name} frozen")
        machine.frozen = True

    def _sleep_coordinator(self) -> None:
        ms = self.random.choice((20_000, 60_000, 400_000))
        self._say(f"coordinator sleeps {ms} ms")
        self.desk.frozen = True
        for _ in range(4):
            self._step(ms // 4)
        self.desk.frozen = False

    def _redis_away(self) -> None:
        self.redis.down = not self.redis.down
        self._say(f"redis {'down' if self.redis.down else 'up'}")

    def _wipe(self) -> None:
        self._say("redis wiped")
        self.redis.wipe()

    def _noise(self) -> None:
        self.chaos = self.random.choice((0.0, 0.2, 0.5))
        self._say(f"messages are lost, doubled and late: {self.chaos}")

    def _drain(self) -> None:
        plane, machine = self.desk.plane, self._machine()
        if plane is not None and not self.desk.frozen:
            reason = self.random.choice((None, "sim"))
            self._say(f"drain {machine.name} {reason}")
            self._try(lambda: plane.drain(machine.name, reason, "sim"))

    def _pause(self) -> None:
        plane = self.desk.plane
        if plane is not None and not self.desk.frozen:
            value = self.random.choice((None, "sim"))
            self._say(f"pause {value}")
            self._try(lambda: plane.put_setting("paused", value, "sim"))

    def _disk(self) -> None:
        machine = self._machine()
        self._say(f"{machine.name} disk full")
        machine.host.full = machine.shelf.full = True

    def _kill_shims(self) -> None:
        machine = self._machine()
        self._say(f"{machine.name} shims killed")
        machine.host.kill_shims()

    def _enemy(self) -> None:
        """Somebody who can write to Redis: whatever he does, he may only delay and deny."""
        machine, stranger = self._machine(), SigningKey(b"x" * 32)
        store = self.redis.store
        what = self.random.choice(ENEMY)
        self._say(f"enemy: {what} at {machine.name}")
        if what == "old heartbeat" and machine.tag in self.heartbeats:
            store.heartbeats[machine.tag] = self.random.choice(self.heartbeats[machine.tag])
        elif what == "foreign order":
            self._push_order(machine)
        elif self.seen:
            stream, tag, data = self.random.choice(self.seen)
            self.enemy = True
            self.redis.append(stream, tag, _spoil(what, data, stranger))
            self.enemy = False

    def _push_order(self, machine: Machine) -> None:
        """An order that was signed for some fence, some node, some time ago, under a new job id."""
        with self.desk.seen() as tx:
            fences = tx.find(Fence)
        if fences and not self.redis.down:
            fence = self.random.choice(fences)
            identity = AttemptId(run=fence.run, attempt=fence.attempt, fence=fence.fence + 500)
            self.redis.bus().push_order(machine.tag, identity, fence.order)

    # -- messages --------------------------------------------------------------------------------

    def _carry(self, stream: str, tag: str, data: bytes) -> tuple[bytes, ...]:
        """What arrives instead of one message: nothing, it twice, or an earlier one with it."""
        r = self.random
        if not self.enemy:
            self.seen.append((stream, tag, data))
        late = [d for s, t, d in self.held_back if (s, t) == (stream, tag)]
        self.held_back = [h for h in self.held_back if (h[0], h[1]) != (stream, tag)]
        if r.random() >= self.chaos:
            return (data, *late)
        match r.choice(("lost", "twice", "late", "old first")):
            case "lost":
                return tuple(late)
            case "twice":
                return (data, data, *late)
            case "late":
                self.held_back.append((stream, tag, data))
                return tuple(late)
            case _:
                return (*late, data)


def _spoil(what: str, data: bytes, stranger: SigningKey) -> bytes:
    """A message as an enemy would put it back."""
    if what == "replayed":
        return data
    if what == "rubbish":
        return data[: len(data) // 2]
    envelope = parse_envelope(data)
    if what == "forged":
        return stranger.sign(envelope.payloadType, envelope.body()).model_dump_json().encode()
    body = envelope.body().replace(b"done", b"lost").replace(b'"seq":1', b'"seq":2')
    changed = base64.b64encode(body + b" ").decode()
    return envelope.model_copy(update={"payload": changed}).model_dump_json().encode()
