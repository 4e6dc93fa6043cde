"""Rows k: what it takes to know model servers, to test a model, and to start our own worker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from node_agent.wire.endpoint import Dialect
from tests.bench.figures import Goal, Row, median
from tests.bench.processes import cpu_ms, peak_kib
from tests.clis.launched import NATIVE, Bench
from tests.endpointfakes import LmStudio, Ollama, serving
from tests.fakemodel import FakeModel, preset
from tests.integration.passport.ground import InteractiveRun, there, tiny_model
from tests.tinyllama import Tiny, tiny_server

PROBE_MS, STEADY_SHARE, START_MS, MEMORY_MB, PASSPORT_S = 1500.0, 0.1, 400.0, 100.0, 3.0
CTX = 32_768
PATIENCE_S = 60


def models(tell: Callable[[str], None], rounds: int) -> list[Row]:
    """Against what is allowed."""
    with tiny_server(slots=1, ctx=CTX) as tiny:
        first, share = _looks(tiny, rounds)
        tests = [_test(tiny) for _ in range(rounds)]
    started, cpu, memory = _worker(rounds)
    tell(f"k: looked in {first:.0f} ms; a worker in {started:.0f} ms, {cpu:.0f} of them CPU, {memory:.0f} MB")
    return [
        _row("k 1", "a node's first look at three model servers", "ms", first, PROBE_MS, _LOOK),
        _row("k 2", "looking at three model servers", "%", share, STEADY_SHARE, _STEADY),
        _row("k 3", "native worker: until its first event", "ms", started, START_MS, _START.format(cpu)),
        _row("k 4", "native worker: most memory it had", "MB", memory, MEMORY_MB, _MEMORY),
        _row("k 5", "test of the tiny model on llama.cpp", "s", median(tests), PASSPORT_S, _TEST),
    ]


_LOOK = (
    "llama.cpp's own server, Ollama and LM Studio as their documents say, asked at once; the slowest counts."
)
_STEADY = "CPU of a round of questions, each over a connection of its own, by the time until the next one."
_START = "{:.0f} ms of it are CPU: an interpreter, pydantic, our own; httpx comes with the first question."
_MEMORY = "One turn without a tool; the interpreter, pydantic and httpx are most of it."
_TEST = "Five questions, of which the long prompt is the longest; decoding is the server's."


def _row(key: str, what: str, unit: str, ours: float, allowed: float, limit: str) -> Row:
    return Row(key, what, unit, ours, allowed, "what is allowed", Goal(most=1.0), limit)


def _looks(tiny: Tiny, rounds: int) -> tuple[float, float]:
    """(ms until the first look is told, percent of a core afterwards), by a process of its own."""
    firsts, shares = [], []
    with serving(Ollama()) as ollama, serving(LmStudio()) as studio:
        ports = [int(tiny.url.rpartition(":")[2]), ollama.port, studio.port]
        for _ in range(rounds):
            with tempfile.TemporaryDirectory(prefix="pancode-bench-") as home:
                Path(home, "endpoints.json").write_text(json.dumps({"ports": ports}))
                argv = [sys.executable, "-m", "tests.bench.looker", home, "20"]
                done = subprocess.run(argv, capture_output=True, check=True, timeout=PATIENCE_S)
            told = json.loads(done.stdout)
            if told["found"] != len(ports):
                raise ValueError(f"{told['found']} of {len(ports)} servers were found")
            firsts.append(told["first_ms"])
            shares.append(told["look_ms"] / told["every_ms"] * 100)
    return median(firsts), median(shares)


def _test(tiny: Tiny) -> float:
    """Seconds."""
    interactive_run = InteractiveRun(there(Dialect.LLAMACPP, tiny.url, tiny_model(tiny.url)))
    began = time.perf_counter()
    interactive_run.take()
    return time.perf_counter() - began


def _worker(rounds: int) -> tuple[float, float, float]:
    """(ms until its first event, CPU of them, MB at its most)."""
    samples = []
    with FakeModel(preset("text")) as model:
        for _ in range(rounds):
            with tempfile.TemporaryDirectory(prefix="pancode-bench-") as folder:
                samples.append(_started(Bench(NATIVE, Path(folder) / "b", os.defpath, model.url)))
    first, cpu, memory = zip(*samples, strict=True)
    return median(first), median(cpu), median(memory)


def _started(bench: Bench) -> tuple[float, float, float]:
    out, request = bench.home / "out", bench.request()
    began = time.perf_counter()
    process = bench.start(request)
    try:
        first, cpu, memory = 0.0, 0.0, 0.0
        while (memory := max(memory, _peak_mb(process.pid))) and process.poll() is None:
            if not first and out.exists() and out.stat().st_size:
                first, cpu = (time.perf_counter() - began) * 1000, cpu_ms([process.pid])
            if time.perf_counter() - began > PATIENCE_S:
                raise TimeoutError("the worker does not end")
            time.sleep(0.005)
    finally:
        process.kill()
        process.wait()
    if not first:
        raise ValueError(f"the worker said nothing: {(bench.home / 'err').read_text()[-300:]}")
    return first, cpu, memory


def _peak_mb(pid: int) -> float:
    """As far as it has come; 0 when it has ended."""
    try:
        return peak_kib(pid) / 1024
    except (OSError, ValueError):
        return 0.0
