"""Row h: what reading an agent program's stream costs beside reading its JSON and doing nothing with it."""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Callable
from pathlib import Path

from node_agent.runtimes.base import ExitInfo
from node_agent.runtimes.registry import RUNTIMES
from tests.bench.figures import Goal, Row, median, paired
from tests.unit.node_agent.runtimes.asked import ask

GOLDEN = Path(__file__).resolve().parents[1] / "contract" / "golden"
CASE = "ok-edit.stdout"
CHUNK = 1 << 20
WANTED = 50.0
"""Megabytes in a second of one core."""


def parsing(tell: Callable[[str], None], rounds: int, size: int) -> list[Row]:
    """Each parser over its program's own transcript of an edit, said over and over."""
    return [_row(tell, name, rounds, size) for name in sorted(RUNTIMES) if (GOLDEN / name / CASE).exists()]


def _row(tell: Callable[[str], None], name: str, rounds: int, size: int) -> Row:
    told = (GOLDEN / name / CASE).read_bytes()
    stream = told * (size // len(told))
    ours, peer = [], []
    for _ in range(rounds):
        ours.append(_speed(len(stream), lambda: _parse(name, stream)))
        peer.append(_speed(len(stream), lambda: _load(stream)))
    tell(f"h {name}: {median(ours):.0f} MB/s, json.loads alone {median(peer):.0f} MB/s")
    line = len(told) // told.count(b"\n")
    share = paired(ours, peer)
    return Row(
        f"h {name}",
        f"parse the stream of `{name}`, per second of CPU",
        "MB",
        median(ours),
        WANTED,
        "what was asked",
        Goal(least=1.0),
        f"Lines of {line} bytes; what is said of each event is Python. `json.loads` alone reads "
        f"{median(peer):.0f} MB in that time, of which ours is {share:.2f}.",
    )


def _speed(size: int, work: Callable[[], None]) -> float:
    gc.collect()  # what the rows before have left is not looked at on our time
    began = time.process_time()
    work()
    return size / 1e6 / (time.process_time() - began)


def _parse(name: str, stream: bytes) -> None:
    parser = RUNTIMES[name].parser(ask(model="m"))
    for start in range(0, len(stream), CHUNK):
        parser.feed(stream[start : start + CHUNK])
    parser.finish(ExitInfo(status=0))


def _load(stream: bytes) -> None:
    for line in stream.split(b"\n"):
        if line:
            json.loads(line)
