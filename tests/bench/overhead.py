"""Rows p: the whole overhead of a run, from `dispatch` to the start of the agent program."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from node_agent.machine.home import NodeHome
from tests.bench.figures import Goal, Row, median
from tests.bench.ours import Api, OurFleet
from tests.clis.install import PACKAGES, CannotInstall, ensure
from tests.clis.launched import CLAUDE, Bench
from tests.e2e.owner import until
from tests.fakemodel import FakeModel, preset

FILES, ALLOWED_MS, SHARE = 5_000, 500.0, 0.1
PATIENCE_S = 60
_SAYS_WHEN = """#!/bin/sh
case "$*" in *--version*) echo "{version} (Claude Code)"; exit 0;; esac
date +%s.%N >&2
echo '{{"type": "result", "subtype": "success", "is_error": false, "result": "done", "num_turns": 1}}'
"""
"""Stands where Claude Code stands on the node's PATH: the clock is its first act in the sandbox."""
_WHAT = f"`dispatch` to the start of the agent program: sandbox, gateway, a checkout of {FILES} files"
_LIMIT = (
    "The command line's own start is in it ({cli:.0f} ms for its `-h`). The fleet is warm, and one file has "
    "changed since the run before: a snapshot, ten gates, the job, the warm checkout brought to the "
    "snapshot, gateway and namespaces. The program is a stand-in that tells the time as its first act."
)


def overhead(tell: Callable[[str], None], rounds: int) -> list[Row]:
    """The second row needs the real Claude Code, and says so where that cannot be had."""
    bare, lacks = _own_start(rounds)
    with FakeModel(preset("text")) as model, OurFleet() as ours:
        _put_stand_in(ours, model.url)
        top = _project(ours)
        _start(ours, top, 0)  # the first checkout is not warm
        took = [_start(ours, top, number) for number in range(1, rounds + 1)]
        cli = [_wall(lambda: ours.owner.run("dispatch", "-h").ok()) for _ in range(rounds)]
    own = f"{median(bare):.0f} ms" if bare else lacks
    tell(f"p: {median(took):.0f} ms ({min(took):.0f} to {max(took):.0f}), Claude Code's own start: {own}")
    limit = _LIMIT.format(cli=median(cli))
    allowed, peer = "the time that is allowed", "Claude Code's own start up to its first model request"
    rows = [Row("p", _WHAT, "ms", median(took), ALLOWED_MS, allowed, Goal(most=1.0), limit)]
    if bare:
        goal = Goal(most=SHARE)
        return [*rows, Row("p share", _WHAT, "ms", median(took), median(bare), peer, goal, limit)]
    return [*rows, Row("p share", _WHAT, "ms", median(took), None, f"{peer}: {lacks}", None, limit)]


def _own_start(rounds: int) -> tuple[list[float], str]:
    """Milliseconds from the start of the real program to its first question; or what is missing."""
    try:
        path = f"{ensure('claude')}{os.pathsep}{os.defpath}"
    except CannotInstall as error:
        return [], f"not measured, the program cannot be had here ({error})"
    took = []
    for _ in range(rounds + 1):
        with tempfile.TemporaryDirectory(prefix="pcb-") as folder:
            script = {**preset("text"), "cwd": f"{folder}/b/work"}
            with FakeModel(script) as model:
                bench = Bench(CLAUDE, Path(folder, "b"), path, model.url)
                began = time.perf_counter()
                with bench.started(bench.request()):
                    while not any("wire" in asked for asked in list(model.state.requests)):
                        if time.perf_counter() - began > PATIENCE_S:
                            raise TimeoutError("Claude Code has asked no model")
                        time.sleep(0.002)
                    took.append((time.perf_counter() - began) * 1000)
    return took[1:], ""  # the first one reads the program from the disk


def _put_stand_in(ours: OurFleet, url: str) -> None:
    """On the PATH of the node agent, logged in to the scripted model server, as an owner would do it."""
    program = ours.programs / "claude"
    program.write_text(_SAYS_WHEN.format(version=PACKAGES["claude"].version))
    program.chmod(0o755)
    for path in (ours.owner.home / ".pancode-node").glob("*/run/agent.pid"):
        secrets = NodeHome(path.parent.parent).secrets
        secrets.write_text(json.dumps({"ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": "bench"}))
        secrets.chmod(0o600)

    def found() -> list[str]:
        nodes = ours.owner.nodes().values()
        return [r["state"] for node in nodes for r in node["runtimes"] if r["name"] == "claude"]

    until(lambda: found() == ["ok"], "the node has found the stand-in", PATIENCE_S, found)


def _project(ours: OurFleet) -> Path:
    files = {f"part{number % 50}/file{number}.txt": f"{number}\n" * 20 for number in range(FILES)}
    return ours.owner.repository("large", files)


def _start(ours: OurFleet, top: Path, number: int) -> float:
    """Milliseconds from the command to the program's first act."""
    (top / "part0/file0.txt").write_text(f"round {number}\n")
    words = ("--runtime", "claude", "--model", CLAUDE.model, "--budget", "0.50", "say done")
    began = time.time()
    run = ours.owner.dispatch(*words, cwd=top)
    return (float(_said(ours.api(), run)) - began) * 1000


def _said(api: Api, run: str) -> str:
    """What the program wrote to its standard error; how it ended does not matter."""
    deadline = time.monotonic() + PATIENCE_S
    while not json.loads(api.call("GET", f"/v1/runs/{run}/brief"))["outcome"]:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{run} does not end")
        time.sleep(0.02)
    said = api.call("GET", f"/v1/runs/{run}/log?stream=err").decode().split()
    if not said:
        raise RuntimeError(f"{run} has not started its program: {api.call('GET', f'/v1/runs/{run}')!r}"[:800])
    return said[0]


def _wall(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000
