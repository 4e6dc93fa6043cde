"""A drill of this machine's fleet: the faults of its processes, the restore, and the signed report."""

from __future__ import annotations

import fcntl
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from node_agent.wire.clock import Clock, Ids
from node_agent.wire.signing import PublicKey
from pancode.backups.commands.drilled_copies import copies_for
from pancode.drills.answers import FAULT
from pancode.drills.drill import Drill
from pancode.drills.drill import must_be_idle as must_be_idle
from pancode.drills.model import MARK, DrilledCopies, DrillReport, DrillRow, Fault, RunSeen, Seen, list_faults
from pancode.fleet.answers import FLEET, NODE
from pancode.fleet.commands.steps import bring_up
from pancode.fleet.ssh.home import Home
from pancode.interfaces.cli.parameters import Face
from pancode.interfaces.client.client import Client
from pancode.kernel.errors import ConfigError, RefusedError, UnavailableError
from pancode.kernel.host.files import make_private, write_durable
from pancode.kernel.host.single_instance import holder_of
from pancode.kernel.states import RunState
from pancode.landing.commands.landing import list_waiting
from pancode.queue.valkey.process import ServerRecord, read_record, wait_until
from pancode.runs.answers import EXPORT, QUEUE, RUN, RUNS, STOP, STREAMS
from pancode.runs.log import OUT
from pancode.runs.receipts.offline_verification import read_keys

FOLDER, SCRATCH = "drills", "scratch"
PAGE = 1_000
COPIES: tuple[Callable[[Face, Client, Path, str | None], DrilledCopies], ...] = (copies_for,)
"""What a drill restores, of the feature that makes copies."""
LATER: tuple[Callable[[Client], list[str]], ...] = (list_waiting,)
"""Which runs still wait for something after their end, of the feature that lands changes."""
GONE_MS = 10_000
RUN_MS, RUN_USD = 600_000, "0.01"
"""The limits of each run of a drill. A shell run calls no model, so it costs nothing."""
_OF_NODES = {Fault.LINK: "link", Fault.AGENT: "agent", Fault.SHIM: "shim"}
_DOES = {
    Fault.LINK: "ends the connection of the node's link",
    Fault.AGENT: "kills the node agent",
    Fault.SHIM: "kills the shim of a run of the drill, which is then repeated",
    Fault.COORDINATOR: "kills the coordinator, which the drill's next request or its service starts again",
    Fault.REDIS: "kills the Redis that PanCode started",
    Fault.RESTORE: "restores the newest verified copy into a scratch home, and removes that",
}


@dataclass(frozen=True, slots=True)
class FleetHere:
    """A DrilledFleet through its coordinator's API, and through the processes of this machine. `drill`: the
    drill's id; `copies`: those of the fleet, if a feature makes copies."""

    client: Client
    home: Path
    clock: Clock
    ids: Ids
    by: str
    drill: str
    copies: tuple[DrilledCopies, ...]

    def list_work(self) -> Mapping[str, str]:
        states = [state.value for state in RunState if state is not RunState.ENDED]
        rows = [
            row
            for state in states
            for row in self.client.get(RUNS, outcome=state, limit=PAGE, checks=True)["runs"]
        ]
        others = [row["run"] for row in rows if not row["task"].startswith(f"{MARK}{self.drill}\n")]
        landings = [run for find in LATER for run in find(self.client)]
        found = {run: f"pancode logs -f {run}" for run in others}
        found |= {f"the landing of {run}": f"pancode runs show {run}" for run in landings}
        return found | {what: show for one in self.copies for what, show in one.list_work().items()}

    def begin_run(self, node: str, task: str) -> str:
        limits = {"timeout_ms": RUN_MS, "budget": RUN_USD}
        body = {"by": self.by, "task": task, "runtime": "shell", "workspace": "none", "node": node, **limits}
        return self.client.post(QUEUE, body, key=self.ids.token(16))["run"]

    def stop_run(self, run: str) -> None:
        self.client.post(STOP.at(run), {"by": self.by, "reason": "the drill could not use it"})

    def look_at_run(self, run: str) -> RunSeen:
        seen = self.client.get(RUN.at(run))
        failed = [one for one in seen["attempts"] if one["outcome"] not in (None, "done")]
        is_working = seen["state"] == "running" and seen["started_at"] is not None
        return RunSeen(is_working, seen["outcome"], len(failed), seen["reason"])

    def count_effects(self, run: str, drill: str) -> int:
        streams = self.client.get(STREAMS.at(run))["streams"]
        printed = [self.client.log(run, OUT, one, 0).data for one, names in streams.items() if OUT in names]
        return sum(data.split().count(drill.encode()) for data in printed)

    def bring_up(self, nodes: Sequence[str]) -> None:
        for one in bring_up(self.client, {"by": self.by, "nodes": list(nodes)}):
            if not one["ok"]:
                raise UnavailableError(f"{one['node']} is not up", fix=f"pancode fleet up {one['node']}")

    def look(self, nodes: Sequence[str], run: str) -> Seen:
        coordinator = self.client.get(FLEET)["coordinator"]
        found = [self.client.get(NODE.at(name)) for name in nodes]
        is_well = all(one["state"] == "online" and one["linked"] for one in found)
        sessions, heartbeats = zip(*((one["session"], one["heartbeat"]) for one in found), strict=True)
        server, is_well = self._find_valkey(), is_well and coordinator["trouble"] is None
        redis = None if server is None else server.pid
        return Seen(coordinator["pid"], redis, sessions, heartbeats, is_well, self.look_at_run(run))

    def why_not(self, fault: Fault) -> str:
        if fault is Fault.REDIS and self._find_valkey() is None:
            return "not started by PanCode"
        if fault is not Fault.RESTORE:
            return ""
        return next((one.why_not() for one in self.copies), "this PanCode makes no copies")

    def inject(self, fault: Fault, node: str, run: str) -> int | None:
        if fault in _OF_NODES:
            body = {"by": self.by, "fault": _OF_NODES[fault], "run": run}
            return self.client.post(FAULT.at(node), body)["noticed_ms"]
        began = self.clock.mono_ms()
        target = self._find_valkey() if fault is Fault.REDIS else holder_of(self.home)
        if target is None:
            raise UnavailableError(f"no {fault} is running for {self.home}", fix="pancode fleet up")
        try:
            os.kill(target.pid, signal.SIGKILL)
        except OSError as exc:
            raise UnavailableError(f"cannot kill the {fault}", why=str(exc), fix="pancode doctor") from exc
        if fault is Fault.REDIS:
            return None
        if not wait_until(self.clock, GONE_MS, lambda: not target.alive()):
            raise UnavailableError(f"the {fault}, pid {target.pid}, did not end", fix="pancode doctor")
        return self.clock.mono_ms() - began

    def restore(self) -> int:
        return sum(one.restore() for one in self.copies)

    def pause(self, seconds: float) -> None:
        time.sleep(seconds)

    def _find_valkey(self) -> ServerRecord | None:
        """Return the Redis that PanCode has started on this machine, if it runs."""
        record = read_record(Home(self.home).valkey / "server.json")
        return record if record is not None and record.alive() else None


def plan_drill(nodes: Sequence[str]) -> list[dict[str, str]]:
    """Return what a drill of these nodes would do: `fault`, `node` (empty: the whole fleet), `does`."""
    return [{"fault": one.value, "node": node, "does": _DOES[one]} for one, node in list_faults(nodes)]


def run_drill(
    fleet: FleetHere, nodes: Sequence[str], begun: DrillReport, notify: Callable[[DrillRow], None]
) -> tuple[DrillReport, Path]:
    """Carry out a drill; return its report and the signed file with it, also after Ctrl-C. `notify`: called
    after each row. ConfigError without the coordinator's key; RefusedError if another drill is running."""
    folder, key = fleet.home / FOLDER, Home(fleet.home).signing_key()
    if key is None:
        raise ConfigError("the coordinator's key is missing", why=str(fleet.home), fix="pancode doctor")
    stamp = time.strftime("%Y-%m-%dT%H-%M-%SZ", time.gmtime(begun.begun_ms / 1_000))
    file = folder / f"{stamp}-{begun.drill}.json"
    make_private(folder)

    last = begun

    def report(now: DrillReport) -> None:
        nonlocal last
        try:
            write_durable(file, now.signed(key).model_dump_json().encode() + b"\n")
        except OSError as exc:
            raise ConfigError(f"cannot write {file}", why=str(exc), fix="pancode doctor") from exc
        last = now
        if now.ended_ms is None and now.rows:
            notify(now.rows[-1])

    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise RefusedError("another drill of this fleet is running", fix="pancode runs") from exc
        for one in fleet.copies:
            one.clear()
        with suppress(KeyboardInterrupt):
            Drill(fleet, fleet.clock, nodes, report).run(begun)
        return last, file


def trusted_keys(client: Callable[[], Client], file: Path | None) -> dict[str, PublicKey]:
    """Return the keys of the coordinator, also former ones, by id: from an export, or from itself."""
    if file is not None:
        return {keyid: one.key for keyid, one in read_keys(file).coordinators.items()}
    rows = client().get(EXPORT)["keys"]
    return {row["keyid"]: PublicKey.parse(row["public"]) for row in rows if row["role"] == "coordinator"}
