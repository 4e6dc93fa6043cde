"""Rows q: how soon the faces of a fleet are there, what they cost, how soon an event is with a watcher."""

from __future__ import annotations

import json
import math
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.bench.figures import Goal, Row, median, percentile
from tests.bench.ours import NO_OP, OurFleet
from tests.bench.processes import cpu_ms
from tests.bench.watching import SeenEvent, Watchers, events_of_a_run, happens
from tests.crowd import crowded
from tests.e2e.console import Console, chromium
from tests.ports import find_free_port
from tests.terminal import Terminal

PROGRAM = str(Path(sys.executable).parent / "pancode")
PATIENCE_S = 20.0
SETTLE_S = 3.0
LAST_S = 1.0
"""For the events of the last run."""
FEW, EVENTS_S = 5, 50
MANY, QUIET_EVENTS_S = 100, 4
TOP_MS, TOP_SHARE, MCP_MS, PAGE_MS, MANY_SHARE = 1000, 2, 150, 300, 10
SIZE = (30, 120)
FIRST_PICTURE = "nothing runs and nothing waits"
"""What `top` shows of an idle fleet once it has all answers of its first page."""
_HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "bench", "version": "1"},
    },
}
_OBSERVE = """() => {
  const shown = window.shown = {};
  const look = () => {
    const now = Date.now();
    for (const found of document.querySelectorAll("main a[href^='#/runs/r-']")) {
      shown[found.getAttribute("href").slice(7)] ??= now;
    }
  };
  new MutationObserver(look).observe(document.body, {childList: true, subtree: true, attributes: true});
}"""
"""Keeps the time at which each run first had a link on the page."""


def faces(tell: Callable[[str], None], rounds: int, seconds: float) -> Iterator[Row]:
    """On one warm fleet; what cannot be measured hides no other row: RuntimeError at the end names it."""
    port, failed = find_free_port(), list[str]()
    with OurFleet(environ={"PANCODE_API_LISTEN": f"127.0.0.1:{port}"}) as ours:
        ours.burst(8, NO_OP)
        measures: list[Callable[[], list[Row]]] = [
            lambda: _top(ours, rounds, seconds),
            lambda: _mcp(ours, rounds),
            lambda: _few(ours, port, seconds),
            lambda: _many(ours, seconds),
        ]
        for measure in measures:
            try:
                rows = measure()
            except Exception as error:
                failed.append(f"{type(error).__name__}: {error}"[:200])
                continue
            tell("; ".join(f"{row.key}: {row.ours:.1f} {row.unit}" for row in rows))
            yield from rows
    if failed:
        raise RuntimeError("; ".join(failed))


def _row(key: str, what: str, unit: str, ours: float, allowed: float, limit: str) -> Row:
    return Row(key, what, unit, ours, allowed, f"the goal of {allowed} {unit}", Goal(most=1.0), limit)


# -- the start of a face ---------------------------------------------------------------------------


def _top(ours: OurFleet, rounds: int, seconds: float) -> list[Row]:
    time.sleep(SETTLE_S)
    took = [_picture(ours, 0)[0] for _ in range(rounds)]
    idle = _picture(ours, seconds)[1]
    return [
        _row("q top", "`pancode top` to its first picture", "ms", median(took), TOP_MS, _TOP),
        _row("q top idle", "`pancode top` before an idle fleet, % of a core", "%", idle, TOP_SHARE, _IDLE),
    ]


_TOP = "An interpreter, Textual and its styles, then seven requests, one after the other."
_IDLE = "The line with the time is looked at twice a second; the API is read each 10 s, or after an event."


def _picture(ours: OurFleet, seconds: float) -> tuple[float, float]:
    """(milliseconds until it stands, percent of a core over so long afterwards)."""
    owner, began = ours.owner, time.perf_counter()
    terminal = Terminal([PROGRAM, "top"], owner.env, owner.home, SIZE)
    try:
        terminal.shows(FIRST_PICTURE, PATIENCE_S * crowded())
        took = (time.perf_counter() - began) * 1000
        if not seconds:
            return took, 0.0
        terminal.goes_on(SETTLE_S)
        return took, _share(terminal.process.pid, lambda: terminal.goes_on(seconds))
    finally:
        terminal.close()


def _share(pid: int, work: Callable[[], object]) -> float:
    """Percent of a core that a process needs while that continues."""
    before, began = cpu_ms([pid]), time.monotonic()
    work()
    return (cpu_ms([pid]) - before) / (time.monotonic() - began) / 10


def _mcp(ours: OurFleet, rounds: int) -> list[Row]:
    took = [_ready(ours) for _ in range(rounds)]
    what = "`pancode mcp` to its answer to `initialize`"
    return [_row("q mcp", what, "ms", median(took), MCP_MS, "An interpreter with its imports.")]


def _ready(ours: OurFleet) -> float:
    owner, pipe, began = ours.owner, subprocess.PIPE, time.perf_counter()
    with subprocess.Popen([PROGRAM, "mcp"], env=owner.env, cwd=owner.home, stdin=pipe, stdout=pipe) as server:
        try:
            assert server.stdin is not None and server.stdout is not None
            server.stdin.write(json.dumps(_HELLO).encode() + b"\n")
            server.stdin.flush()
            if not select.select([server.stdout], [], [], PATIENCE_S * crowded())[0]:
                raise TimeoutError("mcp does not answer")
            answer = json.loads(server.stdout.readline())
            took = (time.perf_counter() - began) * 1000
        finally:
            server.kill()
    if "result" not in answer:
        raise RuntimeError(f"mcp says {answer}")
    return took


# -- those who watch -------------------------------------------------------------------------------


def _few(ours: OurFleet, port: int, seconds: float) -> list[Row]:
    """One of them is a page in a browser, the others are streams."""
    api = ours.api()
    runs_s = EVENTS_S / events_of_a_run(ours, api)
    with chromium() as browser:
        console = Console(ours.owner, browser, port)
        page = console.enter()
        console.go(page, "#/runs", "Runs")
        page.evaluate(_OBSERVE)
        with Watchers(ours.owner.fleet_home, FEW - 1) as watchers:
            happens(api, runs_s, seconds)
            time.sleep(LAST_S)
        shown = page.evaluate("() => window.shown")
    streams = [one.seen_ms - one.at_ms for one in watchers.seen]
    pages = [shown.get(run, math.inf) - at for run, at in _begun(watchers.seen).items()]
    rate = len(streams) / (FEW - 1) / seconds
    words = f"p95, {FEW} watchers, {rate:.0f} events/s"
    return [
        _row("q page", f"event to page, {words}", "ms", percentile(pages, 0.95), PAGE_MS, _PAGE),
        Row(
            "q stream",
            f"event to stream, {words}",
            "ms",
            percentile(streams, 0.95),
            None,
            "nothing",
            None,
            _STREAM,
        ),
    ]


_PAGE = (
    "From the time of a run's first event until its row is in Chromium's list of runs, on the same machine: "
    "the stream, a pause of 60 ms in which more may come, a request, the row."
)
_STREAM = (
    "The coordinator's part: from the event's own time, which is before its commit, to its line at a reader."
)


def _begun(seen: list[SeenEvent]) -> dict[str, float]:
    """When the first event of each run happened."""
    first: dict[str, float] = {}
    for one in seen:
        if one.run is not None:
            first[one.run] = min(one.at_ms, first.get(one.run, math.inf))
    return first


def _many(ours: OurFleet, seconds: float) -> list[Row]:
    """The same runs without a watcher are measured beside it."""
    api, pid = ours.api(), ours.coordinator_pid
    runs_s = QUIET_EVENTS_S / events_of_a_run(ours, api)
    alone = _share(pid, lambda: happens(api, runs_s, seconds))
    with Watchers(ours.owner.fleet_home, MANY) as watchers:
        share = _share(pid, lambda: happens(api, runs_s, seconds))
    rate = len(watchers.seen) / MANY / seconds
    what = f"coordinator with {MANY} watchers and {rate:.0f} events/s, % of a core"
    limit = f"The runs themselves are in it: without a watcher it was {alone:.1f} %."
    return [_row("q watchers", what, "%", share, MANY_SHARE, limit)]
