"""Brings the lab's hosts and the session's fleet back to how they were, whatever an earlier test did."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Collection, Mapping
from contextlib import closing, suppress
from pathlib import Path
from signal import SIGCONT
from typing import Any

from tests.e2e.kept import keep_bundles, lay_out_bundles
from tests.e2e.owner import Owner, until
from tests.lab import Lab

FLEETS = "home/.pancode-node"
"""Where fleets live on a host's disk."""
KEPT = "kept-bundles"
"""Beside the home, where nobody on the host sees it: unpacked bundles of fleets that were taken off."""

END_ALL = "for p in $(grep -lsF {} /proc/[0-9]*/environ | cut -d/ -f3); do kill -9 $p; done"
UP_S = 180


def fleet_of(owner: Owner) -> str | None:
    """The fleet's id, by its ledger, whether or not its coordinator lives; None if it never came so far."""
    ledger = owner.fleet_home / "ledger.db"
    if not ledger.exists():
        return None
    with closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as db:
        tables = [name for (name,) in db.execute("select name from sqlite_master where type = 'table'")]
        sought = "select value from settings where name = 'fleet'"
        found = db.execute(sought).fetchone() if "settings" in tables else None
    return str(json.loads(found[0])) if found else None


def take_off(lab: Lab, fleets: Collection[str]) -> None:
    """Nothing of these fleets stays on the hosts.

    A bundle is 50 MB: ten that stay leave less free disk than a node keeps in reserve, and it takes no work.
    """
    for k, host in lab.hosts.items():
        disk = Path(lab.path(k, "disk", FLEETS))
        for fleet in fleets:
            if not (disk / fleet).is_dir():
                continue
            if host["state"] != "off":
                lab.run(k, END_ALL.format(f"/.pancode-node/{fleet}"))
            _keep(disk / fleet / "bundles", Path(lab.path(k, "disk", KEPT)))
            shutil.rmtree(disk / fleet, ignore_errors=True)
        with suppress(OSError):
            disk.rmdir()


def _keep(bundles: Path, kept: Path) -> None:
    kept.mkdir(mode=0o700, exist_ok=True)
    for ready in bundles.glob("*/.ready"):
        if not (kept / ready.parent.name).exists():
            ready.parent.rename(kept / ready.parent.name)


def plant(lab: Lab, fleet: str | None, hosts: Collection[int]) -> None:
    """This fleet finds on the hosts what others have unpacked and compiled there."""
    for k in hosts:
        disk, owned = Path(lab.path(k, "disk")), lab.hosts[k]["uid"]
        ready = (*disk.glob(f"{KEPT}/*/.ready"), *disk.glob(f"{FLEETS}/*/bundles/*/.ready"))
        if fleet is None or not ready:
            continue
        home = disk / FLEETS / fleet
        for folder in (disk / FLEETS, home, home / "bundles"):
            if not folder.exists():
                folder.mkdir(mode=0o700)
                os.chown(folder, owned, owned)
        (home / ".pancode-node").write_text(f"{fleet}\n")
        os.chown(home / ".pancode-node", owned, owned)
        for bundle in {path.parent.name: path.parent for path in ready}.values():
            subprocess.run(["cp", "-al", bundle, home / "bundles" / bundle.name], check=True)


def living_on(lab: Lab) -> set[str]:
    """The fleets that have a home on some host."""
    return {
        path.name
        for k in lab.hosts
        for path in Path(lab.path(k, "disk", FLEETS)).glob("f-*")
        if path.is_dir()
    }


def keys_of(lab: Lab) -> dict[int, bytes]:
    """Each host's private key, as its fleets know it."""
    return {k: lab.host_key(k) for k in lab.hosts}


def repair(lab: Lab, keys: Mapping[int, bytes]) -> None:
    """Every host is up, linked, unbroken, and has the key that it had."""
    answers = {s["name"]: s["sshd"] for s in lab.status()}
    for k, h in lab.hosts.items():
        if h["state"] == "frozen":
            lab.thaw([k])
        if lab.hosts[k]["state"] == "off":
            lab.boot([k])
        lab.heal([k])
        for name in list(h["faults"]):
            lab.fault([k], name, on=False)
        if h["sshd"] or not answers[h["name"]]:
            lab.sshd([k], "restart", [])
        if lab.host_key(k) != keys[k]:
            lab.rekey([k], trust=True, key=keys[k])  # other fleets know it by the old one


class Session:
    """The session's lab and the fleet on it, once there is one; who broke them leaves them whole."""

    def __init__(self, lab: Lab) -> None:
        self.lab, self.keys = lab, keys_of(lab)
        self.fleet: Owner | None = None
        self.name: str | None = None
        """The fleet's own id, also when its ledger is gone."""

    def has(self, fleet: Owner | None) -> None:
        """That is the session's fleet from now on."""
        self.fleet, self.name = fleet, fleet_of(fleet) if fleet else None
        assert fleet is None or self.name, "a fleet that is up has a name"

    def after_module(self) -> None:
        """The next module finds the hosts and the fleet as this one did."""
        repair(self.lab, self.keys)
        take_off(self.lab, living_on(self.lab) - {self.name or ""})
        if self.fleet is None:
            return
        if troubles(self.fleet):
            self.after_failure()
        until(self._walled, "every host says again that it has a sandbox", 60)

    def _walled(self) -> bool:
        """A node says half a minute late that a module took `sandbox.json` away; gates ask meanwhile."""
        assert self.fleet is not None
        nodes = self.fleet.nodes()
        return all(nodes[f"node{k}"]["isolation"] == "sandbox" for k in self.lab.hosts)

    def after_failure(self) -> None:
        """A test that failed half way left runs, pauses and faults; its module's own fleet stays."""
        repair(self.lab, self.keys)
        if self.fleet is None:
            return
        self.fleet.end_begun()
        try:
            revive(self.fleet, self.lab)
        except (AssertionError, subprocess.TimeoutExpired):  # beyond repair: who comes next gets a new one
            self.fleet.down()
            take_off(self.lab, [self.name] if self.name else [])
            shutil.rmtree(self.fleet.fleet_home)
            bring_up(self.fleet, self.lab)
            self.has(self.fleet)


def bring_up(owner: Owner, lab: Lab) -> None:
    """The session's fleet: node1 and node2 have 4 slots, the last one has 2 and the label rack=b.

    A job stays good for two minutes in spite of the scale: a test may hold a node up on a busy node.
    Many interactive runs without a price keep what they hold, so the day has room for them.
    """
    owner.fleet_home.mkdir(mode=0o700, exist_ok=True)
    lay_out_bundles(owner.fleet_home / "bundles")
    settings = {"timing": {"start_by": "20m"}, "budget": {"ceiling": 1_000}}
    (owner.fleet_home / "pancode.yaml").write_text(json.dumps(settings))
    for k, host in lab.hosts.items():
        more = ["--slots", "2", "--label", "rack=b"] if k == len(lab.hosts) else ["--label", "rack=a"]
        pin = fingerprint(host["host_key"])
        owner.run("node", "add", f"node{k}", "--accept-fingerprint", pin, *more).ok()
    plant(lab, fleet_of(owner), lab.hosts.keys())
    owner.run("fleet", "up", timeout_s=UP_S).ok()
    keep_bundles(owner.fleet_home / "bundles")


def fingerprint(line: str) -> str:
    """SHA256:... of an OpenSSH public key line, as ssh shows it."""
    raw = base64.b64decode(line.split()[1])
    return "SHA256:" + base64.b64encode(hashlib.sha256(raw).digest()).decode().rstrip("=")


def troubles(owner: Owner) -> list[str]:
    """What keeps this fleet from being as it was after its `fleet up`, the runs that still work included."""
    said = owner.run("fleet", "status", "--json")
    if said.code != 0:
        return [said.err]
    found = [f"{n['name']} is {n['state']}" for n in said.json()["nodes"] if n["state"] != "online"]
    return found + [f"{name} is paused" for name in _paused(owner)] + [f"{r} works" for r in unended(owner)]


def _paused(owner: Owner) -> list[str]:
    return [q["name"] for q in owner.ask("queue", "ls")["queues"] if q["paused"]]


def unended(owner: Owner) -> list[str]:
    return [r["run"] for r in owner.ask("runs", "1000")["runs"] if r["outcome"] is None]


def revive(owner: Owner, lab: Lab) -> None:
    """Nothing stands still, waits, works or is held of what a test has left; every node is online."""
    pid = owner.coordinator_pid()
    if pid is not None:
        os.kill(pid, SIGCONT)
    for k in lab.hosts:
        lab.run(k, "kill -CONT -1")
    owner.run("fleet", "up", timeout_s=UP_S).ok()
    owner.run("fleet", "resume", *(f"node{k}" for k in lab.hosts))
    for queue in _paused(owner):
        owner.run("fleet", "resume", "--queue", queue)
    runs = unended(owner)
    for run in runs:
        owner.run("runs", "stop", run)
    for run in runs:
        owner.ended(run)
    _settle(owner, runs)
    until(lambda: not troubles(owner), "the fleet is as it was", 60, lambda: troubles(owner))


def _settle(owner: Owner, runs: list[str]) -> None:
    """What a stopped run may have cost is said, so that nothing stays held for it."""
    for run in runs:
        attempts: list[dict[str, Any]] = owner.show(run)["attempts"]
        if any(float(attempt["held_usd"] or 0) for attempt in attempts):
            owner.run("budget", "settle", run, "--usd", "0.01")
