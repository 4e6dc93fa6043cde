"""Rows c and f: time to start on a real SSH host against a cold `ssh host true`, and `fleet up` by steps."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tests.bench.figures import Goal, Row, median, paired
from tests.bench.idle import share
from tests.bench.ours import NOW, OurFleet
from tests.e2e.tidy import fingerprint
from tests.lab import Lab, missing, own_name, reap

HOSTS = 3
SETTLE_S, IDLE_S = 30, 60
"""Until what the runs began has ended, and how long an idle fleet is looked at, also in a quick run."""
_STEP = re.compile(r"^\s+(\S+)\s+(\S+)\s+ok(?:, as it was)?(?:\s+(\d+\.\d) s)?\s")


def remote(tell: Callable[[str], None], singles: int) -> tuple[list[Row], str]:
    """(rows, the steps as a table). Needs what tests.lab needs."""
    lacks = missing()
    if lacks:
        raise RuntimeError("real SSH hosts need: " + "; ".join(lacks))
    reap()
    with Lab(own_name("b"), owned=True).up(HOSTS) as lab, OurFleet() as ours:
        ours.owner.know(lab)
        for k in range(1, HOSTS + 1):
            pin = fingerprint(lab.hosts[k]["host_key"])
            ours.owner.run("node", "add", f"node{k}", "--accept-fingerprint", pin).ok()
        rows, steps = _bring_up(ours, tell)
        return [*_start(ours, tell, singles), *_idle(ours, lab, tell), *rows], steps


def _idle(ours: OurFleet, lab: Lab, tell: Callable[[str], None]) -> list[Row]:
    """What an idle SSH node costs the coordinator, and the line to it."""
    link = Path(f"/sys/class/net/{lab.link(1)}/statistics")
    time.sleep(SETTLE_S)
    before = _count_bytes(link)
    three = share(ours.coordinator_pid, IDLE_S)
    hourly = (_count_bytes(link) - before) / IDLE_S * 3600 / 1e6
    ours.owner.run("fleet", "down", "node2", "node3", timeout_s=120).ok()
    time.sleep(SETTLE_S)
    one = share(ours.coordinator_pid, IDLE_S)
    each = (three - one) / (HOSTS - 1)
    tell(
        f"c: coordinator {three:.3f} % with {HOSTS} idle hosts, {one:.3f} % with one; {hourly:.2f} MB an hour"
    )
    limit = (
        "Heartbeats both ways each five seconds through asyncssh, and what the node reads at each of them."
    )
    cpu, wire, most = "coordinator, for each idle SSH node", "an idle SSH node, both ways", Goal(most=1.0)
    rows = [Row("c wire", wire, "MB/h", hourly, 1.5, "the bound of 1.5 MB", most, limit)]
    if each > 0:  # less than nothing was measured on a crowded machine
        rows.append(Row("c idle", cpu, "%", each, 0.07, "the bound of 0.07 %", most, limit))
    return rows


def _count_bytes(link: Path) -> int:
    return sum(int((link / name).read_text()) for name in ("rx_bytes", "tx_bytes"))


def _bring_up(ours: OurFleet, tell: Callable[[str], None]) -> tuple[list[Row], str]:
    names = [f"node{k}" for k in range(1, HOSTS + 1)]
    isolations: list[float] = []
    steps: list[dict[str, float]] = []
    for _ in range(2):
        began = time.monotonic()
        said = ours.owner.run("fleet", "up", *names, timeout_s=180).ok()
        isolations.append(time.monotonic() - began)
        steps.append(slowest_steps(said.err))
    tell(f"f: first {isolations[0]:.2f} s, again {isolations[1]:.2f} s")
    limit = (
        "The first builds the bundle (once per version and platform), sends it to "
        "each host and tries it there; each step of the second is a look."
    )
    what = ("`fleet up` of 3 fresh hosts", "`fleet up` again, nothing to do")
    rows = [
        Row(f"f {n + 1}", what[n], "s", isolations[n], None, "no peer: seconds by step below", None, limit)
        for n in range(2)
    ]
    body = [f"| {name} | {steps[0].get(name, 0):.1f} | {steps[1].get(name, 0):.1f} |" for name in steps[0]]
    return rows, "\n".join(["| step | fresh hosts | again |", "| --- | --- | --- |", *body])


def slowest_steps(progress: str) -> dict[str, float]:
    """Of `fleet up`'s progress: each step's longest time over all hosts; without one it took below 0.05 s."""
    found: dict[str, float] = {}
    for line in progress.splitlines():
        match = _STEP.match(line + " ")
        if match:
            name, seconds = match[2], float(match[3] or 0)
            found[name] = max(found.get(name, 0.0), seconds)
    return found


def _start(ours: OurFleet, tell: Callable[[str], None], singles: int) -> list[Row]:
    api, owner = ours.api(), ours.owner
    words = ("dispatch", "--detach", "--json", "--runtime", "shell", "--workspace", "none", "--node", "node1")
    mine: list[float] = []
    whole: list[float] = []
    peer: list[float] = []
    for _ in range(singles):
        own = _wall(owner.argv("dispatch", "-h"), owner.env)
        began = time.time()
        run = json.loads(owner.run(*words, "--", *NOW).ok().out)["run"]
        started = float(ours.output(api, run))
        whole.append((started - began) * 1000)
        mine.append(whole[-1] - own)
        peer.append(_wall(["ssh", "-F", f"{owner.home}/.ssh/config", "node1", "true"], owner.env))
    tell(
        f"c: ours {median(mine):.0f} ms (with the CLI's start {median(whole):.0f}), ssh {median(peer):.0f} ms"
    )
    limit = (
        f"The CLI's own start is taken off (its `-h`, measured beside each, which prints more than a "
        f"dispatch: it may come out below zero); with it the median is {median(whole):.0f} ms. What is left: "
        "one HTTP request, admission and its commits, the job through the tunnel, the node's journal, a "
        "shim."
    )
    what = "`dispatch` to process start on an SSH host, fleet warm, beyond the CLI's own start"
    goal = Goal(most=0.5, beyond=0.2)
    return [
        Row(
            "c",
            what,
            "ms",
            median(mine),
            median(peer),
            "a cold `ssh host true`",
            goal,
            limit,
            paired(mine, peer),
        )
    ]


def _wall(argv: list[str], env: dict[str, str]) -> float:
    began = time.monotonic()
    subprocess.run(argv, env=env, check=True, stdin=subprocess.DEVNULL, capture_output=True)
    return (time.monotonic() - began) * 1000
