"""A drill of this machine's fleet: the faults of its processes, the restore, and the signed report."""

from __future__ import annotations

import fcntl
import os
import shlex
import shutil
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from node_agent.wire.clock import Clock, Ids
from node_agent.wire.signing import PublicKey
from pancode.app.restoring import RestoreAsked, restore_fleet
from pancode.app.schema import SCHEMA
from pancode.app.single_instance import holder_of
from pancode.backups.answers import BACKUPS
from pancode.backups.model import is_folder
from pancode.drills.answers import FAULT
from pancode.drills.model import MARK, DrillReport, DrillRow, Fault, RunSeen, Seen, list_faults
from pancode.drills.service import Drill
from pancode.drills.service import must_be_idle as must_be_idle
from pancode.fleet.acts import NodeSpec
from pancode.fleet.answers import FLEET, NODE, NodeDetail
from pancode.fleet.ssh.home import Home
from pancode.fleet.ssh.hostkey import HostKey
from pancode.interfaces.cli.parameters import fetch_page
from pancode.interfaces.client.client import Client
from pancode.kernel.errors import ConfigError, RefusedError, UnavailableError
from pancode.kernel.host.files import make_private, write_durable
from pancode.kernel.records import Run
from pancode.kernel.states import RunState
from pancode.landing.answers import LANDINGS
from pancode.queue.valkey.process import ServerRecord, read_record, wait_until
from pancode.runs.answers import EXPORT, QUEUE, RUN, RUNS, STOP, STREAMS
from pancode.runs.log import OUT
from pancode.runs.receipts.offline_verification import read_keys
from pancode.store.ledger import SqlLedger

FOLDER, SCRATCH = "drills", "scratch"
PAGE = 1_000
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
    drill's id; `key`: the recovery key; None: copies cannot be opened."""

    client: Client
    home: Path
    environ: Mapping[str, str]
    clock: Clock
    ids: Ids
    by: str
    drill: str
    key: str | None

    def list_work(self) -> Mapping[str, str]:
        states = [state.value for state in RunState if state is not RunState.ENDED]
        rows = [
            row
            for state in states
            for row in self.client.get(RUNS, outcome=state, limit=PAGE, checks=True)["runs"]
        ]
        others = [row["run"] for row in rows if not row["task"].startswith(f"{MARK}{self.drill}\n")]
        landings = [row["run"] for row in self.client.get(LANDINGS)["landings"]]
        found = {run: f"pancode logs -f {run}" for run in others}
        found |= {f"the landing of {run}": f"pancode runs show {run}" for run in landings}
        copies = self.client.get(BACKUPS)
        is_copying = copies["running"] is not None or copies["waiting"] > 0
        return {**found, "a backup": "pancode admin backup --list"} if is_copying else found

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
        body = {"by": self.by, "nodes": list(nodes)}
        for event in self.client.events("POST", "/v1/fleet/up", body):
            for one in event.data["results"] if event.kind == "result" else ():
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
        if fault is Fault.RESTORE and self._find_copy() is None:
            return "there is no verified copy; make one: pancode admin backup --to NODE"
        if fault is Fault.RESTORE and self.key is None:
            return "the copy opens only with the recovery key: --key-file FILE"
        return ""

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
        copy, key = self._find_copy(), self.key
        assert copy is not None and key is not None  # otherwise `why_not` has a reason
        taken_at, name, copy_name = copy
        fleet, node = self.client.get(FLEET)["coordinator"]["fleet"], None
        if not is_folder(name):
            node = self.client.get(NODE.at(name))
        rows = fetch_page(self.client, RUNS, "runs", PAGE, None, whole=True)["runs"]
        before = {row["run"] for row in rows if row["created_at"] < taken_at}
        scratch, spec = self.home / FOLDER / SCRATCH, NodeSpec(name) if node is None else spec_of(node)
        accept = (lambda question: "") if node is None else accept_pins(node)
        asked = RestoreAsked(
            scratch, self.environ, spec, fleet, copy_name, "", accept, lambda _: key, lambda done, of: None
        )
        try:
            restore_fleet(asked)
            ledger = SqlLedger(Home(scratch).ledger, SCHEMA)
            try:
                with ledger.transaction() as tx:
                    there = {run.id for run in tx.find(Run)}
            finally:
                ledger.close()
        except OSError as exc:
            raise UnavailableError("the copy was not restored", why=str(exc), fix="pancode doctor") from exc
        finally:
            remove_scratch(scratch)
        return len(before - there)

    def pause(self, seconds: float) -> None:
        time.sleep(seconds)

    def _find_copy(self) -> tuple[str, str, str] | None:
        """Return the newest verified copy: when it was taken, its node and its name."""
        nodes = self.client.get(BACKUPS)["nodes"]
        copies = [(node["node"], one) for node in nodes for one in node["copies"] if one["verified_at"]]
        return max(((one["taken_at"], node, one["name"]) for node, one in copies), default=None)

    def _find_valkey(self) -> ServerRecord | None:
        """Return the Redis that PanCode has started on this machine, if it runs."""
        record = read_record(Home(self.home).valkey / "server.json")
        return record if record is not None and record.alive() else None


def remove_scratch(scratch: Path) -> None:
    """Remove the home of a restore, if it is there. ConfigError, with its path, if that fails."""
    try:
        if scratch.exists():
            shutil.rmtree(scratch)
    except OSError as exc:
        why, fix = f"it has keys of the fleet; {exc}", shlex.join(("rm", "-rf", str(scratch)))
        raise ConfigError(f"cannot remove {scratch}", why=why, fix=fix) from exc


def spec_of(node: NodeDetail) -> NodeSpec:
    """Return how a restore reaches the node: as the fleet does."""
    target = node["target"]["target"]
    identity = next(iter(target["identities"]), None)
    return NodeSpec(target["alias"], target["host"], target["user"], target["port"], identity)


def accept_pins(node: NodeDetail) -> Callable[[dict[str, str]], str]:
    """Return a function that accepts a host key only if the fleet has pinned it."""
    pins = {HostKey.parse(line).fingerprint for line in node["target"]["pins"].values()}
    return lambda question: question["value"] if question["value"] in pins else ""


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
        remove_scratch(folder / SCRATCH)
        with suppress(KeyboardInterrupt):
            Drill(fleet, fleet.clock, nodes, report).run(begun)
        return last, file


def trusted_keys(client: Callable[[], Client], file: Path | None) -> dict[str, PublicKey]:
    """Return the keys of the coordinator, also former ones, by id: from an export, or from itself."""
    if file is not None:
        return {keyid: one.key for keyid, one in read_keys(file).coordinators.items()}
    rows = client().get(EXPORT)["keys"]
    return {row["keyid"]: PublicKey.parse(row["public"]) for row in rows if row["role"] == "coordinator"}
