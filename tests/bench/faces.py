"""Rows q, for information: how soon the faces of a fleet are there, and an event at those who watch."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from datetime import datetime

from tests.bench.figures import Row, median, percentile
from tests.bench.ours import NO_OP, Api, OurFleet
from tests.terminal import Terminal

WATCHERS, EVENTS_S, CHUNK = 5, 50, 65_536
_HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": {"name": "bench"}},
}


def faces(tell: Callable[[str], None], rounds: int, seconds: float) -> list[Row]:
    """`top`, `mcp` and the stream of events of one warm fleet."""
    with OurFleet() as ours:
        ours.burst(8, NO_OP)
        node = next(iter(ours.owner.nodes()))
        top = [_top(ours, node) for _ in range(rounds)]
        mcp = [_mcp(ours) for _ in range(rounds)]
        late, rate = _watched(ours, seconds)
    tell(f"q: top {median(top):.0f} ms, mcp {median(mcp):.0f} ms, {rate:.0f} events/s: {len(late)} seen")
    watched = f"event to stream, p95, {WATCHERS} watchers, {rate:.0f} events/s"
    return [
        _row("q top", "`pancode top`: from the command to its first picture", median(top), _START),
        _row("q mcp", "`pancode mcp`: from the command to the answer to `initialize`", median(mcp), _START),
        _row("q watch", watched, percentile(late, 0.95), _WATCH),
    ]


_START = "An interpreter with its imports, and the first request to the coordinator."
_WATCH = "From the event's own time, whole milliseconds, which is before its commit, to the line at a reader."


def _row(key: str, what: str, ms: float, limit: str) -> Row:
    return Row(key, what, "ms", ms, None, "nothing", None, limit)


def _top(ours: OurFleet, node: str) -> float:
    """Until the fleet's node stands on the screen."""
    owner, began = ours.owner, time.perf_counter()
    terminal = Terminal(owner.argv("top"), owner.env, owner.home, (30, 120))
    try:
        terminal.shows(node)
        return (time.perf_counter() - began) * 1000
    finally:
        terminal.close()


def _mcp(ours: OurFleet) -> float:
    owner, began = ours.owner, time.perf_counter()
    pipe = subprocess.PIPE
    with subprocess.Popen(
        owner.argv("mcp"), env=owner.env, cwd=owner.home, stdin=pipe, stdout=pipe
    ) as server:
        assert server.stdin is not None and server.stdout is not None
        server.stdin.write(json.dumps(_HELLO).encode() + b"\n")
        server.stdin.flush()
        answer = json.loads(server.stdout.readline())
        took = (time.perf_counter() - began) * 1000
        server.stdin.close()
        if "result" not in answer:
            raise RuntimeError(f"mcp says {answer}")
    return took


def _watched(ours: OurFleet, seconds: float) -> tuple[list[float], float]:
    """(milliseconds of each event at each watcher, events in a second)."""
    over, late = threading.Event(), list[float]()
    watchers = [threading.Thread(target=_watch, args=(ours, over, late)) for _ in range(WATCHERS)]
    for watcher in watchers:
        watcher.start()
    time.sleep(0.5)
    api, began = ours.api(), time.monotonic()
    while (passed := time.monotonic() - began) < seconds:
        if len(late) / WATCHERS < passed * EVENTS_S:  # each run makes several events
            api.dispatch(NO_OP)
        else:
            time.sleep(0.005)
    counted, passed = len(late) / WATCHERS, time.monotonic() - began
    over.set()
    _last_event(api)
    for watcher in watchers:
        watcher.join(30)
    return late, counted / passed


def _last_event(api: Api) -> None:
    """Watchers look up when they read something."""
    api.dispatch(NO_OP)
    time.sleep(0.5)
    api.dispatch(NO_OP)


def _watch(ours: OurFleet, over: threading.Event, late: list[float]) -> None:
    connection = http.client.HTTPConnection("pancode", timeout=30)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(ours.owner.fleet_home / "api.sock"))
    connection.request("GET", "/v1/events")
    stream = connection.getresponse()
    while not over.is_set():
        line = stream.readline(CHUNK)
        if line.startswith(b"data: "):
            at = json.loads(line[6:])["at"]
            late.append((time.time() - datetime.fromisoformat(at).timestamp()) * 1000)
    connection.close()
