"""Watches the feed of a fleet with many readers, and gives them something to see."""

from __future__ import annotations

import json
import selectors
import socket
import threading
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Self

from tests.bench.ours import NO_OP, Api, OurFleet

CHUNK, LOOK_S, PATIENCE_S = 65_536, 0.2, 10.0


@dataclass(frozen=True, slots=True)
class SeenEvent:
    """One event at one reader; milliseconds since the epoch."""

    run: str | None
    at_ms: float
    seen_ms: float


class Watchers:
    """A context: so many streams of `GET /v1/events`, all read by one thread."""

    def __init__(self, home: Path, count: int) -> None:
        self.seen: list[SeenEvent] = []
        self._path, self._count = str(home / "api.sock"), count
        self._lines, self._over = selectors.DefaultSelector(), threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Self:
        for _ in range(self._count):
            line = socket.socket(socket.AF_UNIX)
            self._lines.register(line, selectors.EVENT_READ, bytearray())
            line.settimeout(PATIENCE_S)
            line.connect(self._path)
            line.sendall(b"GET /v1/events HTTP/1.1\r\nHost: pancode\r\n\r\n")
            if b" 200 " not in (head := line.recv(CHUNK))[:15]:
                raise RuntimeError(f"no stream of events: {head[:200]!r}")
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        """RuntimeError when the coordinator had cut somebody off."""
        self._over.set()
        self._thread.join(PATIENCE_S)
        left = [key.fileobj for key in self._lines.get_map().values()]
        for line in left:
            line.close()  # type: ignore[union-attr]
        self._lines.close()
        if exc[0] is None and len(left) < self._count:
            raise RuntimeError(f"{self._count - len(left)} of {self._count} watchers were cut off")

    def _read(self) -> None:
        while not self._over.is_set():
            for key, _ in self._lines.select(LOOK_S):
                data, now_ms = key.fileobj.recv(CHUNK), time.time() * 1000  # type: ignore[union-attr]
                if not data:
                    self._lines.unregister(key.fileobj)
                    key.fileobj.close()  # type: ignore[union-attr]
                *whole, rest = bytes(key.data + data).split(b"\n")
                key.data[:] = rest
                self.seen += [_seen(line, now_ms) for line in whole if line.startswith(b"data: ")]


def _seen(line: bytes, now_ms: float) -> SeenEvent:
    told = json.loads(line[6:])
    return SeenEvent(told["run"], datetime.fromisoformat(told["at"]).timestamp() * 1000, now_ms)


def events_of_a_run(ours: OurFleet, api: Api) -> int:
    """So many events the feed has of a no-op run."""
    run = api.dispatch(NO_OP)
    ours.output(api, run)
    time.sleep(1)  # the last of them may come after its outcome
    return api.call("GET", f"/v1/events?run={run}&tail=100&end=1").count(b"\ndata: ")


def happens(api: Api, runs_s: float, seconds: float) -> None:
    """Dispatch no-op runs evenly for so long; a machine that cannot keep up does fewer."""
    began, done = time.monotonic(), 0
    while (passed := time.monotonic() - began) < seconds:
        if done <= passed * runs_s:
            api.dispatch(NO_OP)
            done += 1
        else:
            time.sleep(0.005)
