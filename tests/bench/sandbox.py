"""Rows j: what the sandbox, with the model gateway and its relay, adds to a start, and their memory."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from node_agent.attempt.gateways import GatewayAccess
from node_agent.gateway import spec as places
from node_agent.gateway.opening import GatewayProcesses
from node_agent.sandbox.policy import FILTER_FD, Network
from node_agent.sandbox.wrapper import Permissions, Sandbox
from node_agent.shim.spool import PhaseLimits, PhasePlan, Step, StepKind
from node_agent.wire.clock import SystemClock, SystemIds
from node_agent.workspace.folders import change_owner
from tests.bench.figures import Goal, Row, median
from tests.fakemodel import FakeModel, preset
from tests.integration.gateway.gateways import job_of

START_MS, MEMORY_MB = 60.0, 40.0
PATH = "/usr/local/bin:/usr/bin:/bin"
LIMITS = PhaseLimits(processes=1_000)
_START = "Namespaces, mounts, the relay's interpreter and the gateway's sockets, against the bare program."
_MEMORY = "Shared pages in parts: who holds the sandbox up, the relay, and an interpreter for the gateway."


def sandbox(tell: Callable[[str], None], rounds: int) -> list[Row]:
    """Against what is allowed: 60 ms to a start, 40 MB."""
    place = tempfile.TemporaryDirectory(prefix="pcb-", dir="/var/tmp")  # inside, /tmp is another one
    with place as root, FakeModel(preset("text")) as model:
        home, values = Path(root), {"OPENAI_BASE_URL": f"{model.url}/v1"}
        home.chmod(0o755)
        gateways = GatewayProcesses(sys.executable, SystemIds(), lambda: values)
        wall = Sandbox(home, PATH, SystemClock(), os.path.expanduser("~"))
        if wall.find().tools is None:
            raise RuntimeError(str(wall.find().problem))
        bare, walled, memory = list[float](), list[float](), 0.0
        for number in range(rounds + 1):
            attempt = home / f"a{number}"
            began = time.perf_counter()
            listener = _opened(gateways, attempt)
            opening = time.perf_counter() - began
            walled.append(opening * 1000 + _took(_argv(wall, attempt, listener, "true")))
            bare.append(_took(["/dev/null", "true"]))
            memory = _memory_mb(wall, attempt, listener) if number == rounds else memory
            gateways.close(attempt)
    added = median(walled[1:]) - median(bare[1:])
    tell(f"j: {added:.1f} ms more than {median(bare[1:]):.1f} ms; {memory:.1f} MB")
    allowed, once = "what is allowed", Goal(most=1.0)
    return [
        Row("j 1", "sandbox and gateway: added to a start", "ms", added, START_MS, allowed, once, _START),
        Row("j 2", "sandbox and gateway: memory", "MB", memory, MEMORY_MB, allowed, once, _MEMORY),
    ]


def _opened(gateways: GatewayProcesses, attempt: Path) -> GatewayAccess:
    attempt.mkdir()
    listener = gateways.open(job_of("opencode"), attempt)
    assert listener is not None
    return listener


def _argv(wall: Sandbox, attempt: Path, listener: GatewayAccess, *argv: str) -> Sequence[str]:
    """The filter of system calls, and the argument list, of an agent that may reach its model alone."""
    tree, own = attempt / "tree", attempt / "home"
    for folder in (tree, own):
        folder.mkdir(exist_ok=True)
    marker = f"bench-{attempt.name}"
    step = Step("agent", StepKind.AGENT, argv, str(attempt / "out"), str(attempt / "err"))
    env = {"PATH": PATH, "HOME": str(own)}
    plan = PhasePlan(marker, "work", marker, str(tree), env, (step,), LIMITS)
    owner = wall.owner_of(marker)
    for folder in (tree, own) if owner is not None else ():
        change_owner(folder, owner or 0)
    made = wall.around(plan, Permissions(True, Network.MODEL, listener.port), ())
    assert made is not None
    inside = made.steps[0]
    return (inside.calls, *inside.wall, *argv)


def _run(argv: Sequence[str], **more: object) -> subprocess.Popen[bytes]:
    """`argv`: the filter's file, then the command. On descriptor 3 the sandbox says how it went."""
    env: Mapping[str, str] = {"PATH": PATH}
    line = f'calls=$1; shift; exec "$@" 3>/dev/null {FILTER_FD}<"$calls"'
    return subprocess.Popen(["sh", "-c", line, "sh", *argv], env=env, stdin=subprocess.DEVNULL, **more)  # type: ignore[call-overload]


def _took(argv: Sequence[str]) -> float:
    """Milliseconds."""
    began = time.perf_counter()
    status = _run(argv).wait()
    if status != 0:
        raise RuntimeError(f"status {status}")
    return (time.perf_counter() - began) * 1000


def _memory_mb(wall: Sandbox, attempt: Path, listener: GatewayAccess) -> float:
    """Of the gateway and of all that stands between it and the program, while that sleeps."""
    running = _run(_argv(wall, attempt, listener, "sleep", "30"), start_new_session=True)
    try:
        while not (held := _holders(running.pid, b"sleep\0")):
            time.sleep(0.05)
        time.sleep(0.5)
        gateway = places.find_gateway(attempt)
        pids = [*(held or ()), *([gateway[0]] if gateway else [])]
        return sum(map(_pss_kb, pids)) / 1024
    finally:
        running.kill()
        running.wait()


def _holders(pid: int, program: bytes) -> list[int]:
    """The process and all below it but the program itself; nothing as long as that is not there."""
    found, below, there = list[int](), [pid], False
    while below:
        one = below.pop()
        words = Path(f"/proc/{one}/cmdline").read_bytes()
        there = there or words.startswith(program)
        found += [] if words.startswith(program) else [one]
        for task in Path(f"/proc/{one}/task").iterdir():
            below += map(int, (task / "children").read_text().split())
    return found if there else []


def _pss_kb(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
