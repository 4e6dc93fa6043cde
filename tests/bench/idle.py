"""Row e: what a fleet costs that has nothing to do."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from urllib.request import urlopen

from node_agent.machine.home import NodeHome
from tests.bench.figures import Goal, Row, median
from tests.bench.ours import NO_OP, OurFleet
from tests.bench.peer import RqWorkers
from tests.bench.processes import memory_mb, own_cpu_ms
from tests.fakemodel.server import FakeModel

NODES = 10
PEER = "one stock `rq worker`, idle"
SETTLE_S = 10
"""Until what the burst began has ended on both sides."""


def idle(tell: Callable[[str], None], seconds: float) -> list[Row]:
    """Node agent and shim beside an idle worker, then a coordinator with ten nodes."""
    with FakeModel() as model, OurFleet(environ=_login(model.url)) as ours:
        log_in(ours, _login(model.url))
        shim = _shim(ours)
        agent = ours.node_pids()[0]
        with tempfile.TemporaryDirectory(prefix="pb-peer-") as folder, RqWorkers(Path(folder), 1) as peer:
            ours.burst(4, NO_OP)
            peer.burst(4, NO_OP)
            time.sleep(SETTLE_S)
            one = share(agent, seconds)
            mine, theirs = memory_mb(agent), memory_mb(peer.worker_pids[0])
        tell(f"e: agent {mine} MB, worker {theirs} MB, {one:.3f} % of a core; shim {shim:.1f} MB")
        for number in range(2, NODES + 1):
            home = str(ours.root / f"n{number}")
            ours.api().call("POST", "/v1/nodes", {"name": f"n{number}", "local": True, "local_home": home})
        ours.owner.run("fleet", "up", timeout_s=300).ok()
        time.sleep(15)
        ten = share(ours.coordinator_pid, seconds)
        heard = sum(node["state"] == "online" for node in ours.owner.nodes().values())
        tell(f"e: coordinator with {heard} nodes {ten:.3f} % of a core")
        return [*_memory(mine, theirs), *_shares(shim, one, ten, heard), _calls(model)]


def _login(url: str) -> dict[str, str]:
    """Whoever wanted to ask a model would ask this one."""
    return {
        "ANTHROPIC_BASE_URL": url,
        "ANTHROPIC_API_KEY": "bench",
        "OPENAI_BASE_URL": f"{url}/v1",
        "OPENAI_API_KEY": "bench",
    }


def log_in(ours: OurFleet, values: dict[str, str]) -> None:
    """The same for the node agent, which takes such values from its owner's file alone."""
    homes = [path.parent.parent for path in (ours.owner.home / ".pancode-node").glob("*/run/agent.pid")]
    for home in homes:
        NodeHome(home).secrets.write_text(json.dumps(values), encoding="utf-8")
        NodeHome(home).secrets.chmod(0o600)


def _calls(model: FakeModel) -> Row:
    count = len(model.requests)
    with urlopen(f"{model.url}/v1/models", timeout=10):
        pass
    time.sleep(1)  # it counts what it has answered
    if len(model.requests) != count + 1:
        raise ValueError("the model server does not count what it is asked")
    return Row(
        "e calls",
        "model calls of an idle fleet, counted by the only model server that it knows",
        "calls",
        count,
        1,
        "one call would be one too many",
        Goal(most=0.0),
        "Nothing asks a model but an agent program in a run, and no probe runs one against its vendor.",
    )


def _shim(ours: OurFleet) -> float:
    """RSS of a shim whose program sleeps, in MB."""
    api, agent = ours.api(), ours.node_pids()[0]
    run = api.dispatch(["/bin/sleep", "600"])
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        brief = json.loads(api.call("GET", f"/v1/runs/{run}/brief"))
        found = [pid for pid in _shims(ours) if pid != agent]
        if brief["state"] == "running" and found:
            time.sleep(1)
            rss = median([memory_mb(pid)[0] for pid in found])
            api.call("POST", f"/v1/runs/{run}/stop", {"reason": "measured"})
            return rss
        time.sleep(0.1)
    raise TimeoutError("no shim is seen")


def _shims(ours: OurFleet) -> list[int]:
    """Parents of the sleeping program."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")[:2]
            environ = (entry / "environ").read_bytes() if words == [b"/bin/sleep", b"600"] else b""
        except OSError:
            continue
        if str(ours.root).encode() in environ:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            found.append(parent)
    return found


def share(pid: int, seconds: float) -> float:
    """Percent of one core over that time."""
    before = own_cpu_ms(pid)
    time.sleep(seconds)
    return (own_cpu_ms(pid) - before) / (seconds * 1000) * 100


def _memory(mine: tuple[float, float], theirs: tuple[float, float]) -> list[Row]:
    limit = (
        "The interpreter, RQ and redis-py as in the peer; beside them cryptography (8 MB), pydantic (7 MB) "
        "and the wire's models, and some 10 MB of our own code, journal and threads."
    )
    return [
        Row(
            f"e {name}",
            f"idle node agent with 4 slots, {name}",
            "MB",
            mine[i],
            theirs[i],
            PEER,
            Goal(most=2.3),
            limit,
        )
        for i, name in enumerate(("RSS", "PSS"))
    ]


def _shares(shim: float, one: float, ten: float, heard: int) -> list[Row]:
    """Bounds that are absolute: the peer's column is the bound."""
    most = Goal(most=1.0)
    return [
        Row(
            "e shim",
            "a shim, RSS",
            "MB",
            shim,
            12,
            "the bound of 12 MB",
            most,
            "An interpreter and its own imports.",
        ),
        Row(
            "e cpu",
            "idle node agent",
            "%",
            one,
            0.2,
            "the bound of 0.2 % of a core",
            most,
            "Heartbeat, looks at heartbeat and controls, the hint's ping.",
        ),
        Row(
            "e desk",
            f"idle coordinator, {heard} loopback nodes, each with its own node agent",
            "%",
            ten,
            1.0,
            "the bound of 1 % of a core",
            most,
            "Heartbeats verified, heartbeats signed, SSH keepalives, a round each second.",
        ),
    ]
