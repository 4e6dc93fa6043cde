"""Rows i: what the model gateway adds to a model request, to a start, and to memory."""

from __future__ import annotations

import http.client
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from node_agent.attempt.gateways import GatewayAccess
from node_agent.gateway import spec as places
from node_agent.gateway.opening import GatewayProcesses
from node_agent.wire.clock import SystemIds
from tests.bench.figures import Goal, Row, median
from tests.bench.processes import peak_kib
from tests.fakemodel import FakeModel, preset
from tests.integration.gateway.gateways import job_of

BODY_BYTES = 20_000
REQUEST_MS, START_MS, MEMORY_MB = 1.0, 60.0, 40.0


def gateway(tell: Callable[[str], None], rounds: int) -> list[Row]:
    """Against what is allowed: 1 ms to a request, 60 ms to a start, 40 MB, each for gateway and sandbox."""
    with tempfile.TemporaryDirectory(prefix="pancode-bench-") as folder, FakeModel(preset("text")) as model:
        values = {"OPENAI_BASE_URL": f"{model.url}/v1"}
        gateways = GatewayProcesses(sys.executable, SystemIds(), lambda: values)
        attempt = Path(folder) / "a"
        attempt.mkdir()
        job, opened = job_of("opencode"), []
        for number in range(rounds):
            one = Path(folder) / f"s{number}"
            one.mkdir()
            began = time.perf_counter()
            gateways.open(job, one)
            opened.append((time.perf_counter() - began) * 1000)
            gateways.close(one)
        entry = gateways.open(job, attempt)
        assert entry is not None
        try:
            _requests(entry, model.port, 5)
            before, count = _cpu_ms(attempt), rounds * 20
            added, direct = _requests(entry, model.port, count)
            used = (_cpu_ms(attempt) - before) / count
            memory = _peak_mb(attempt)
        finally:
            gateways.close(attempt)
    tell(f"i: {added:.2f} ms more than {direct:.2f} ms, {used:.2f} ms of CPU for a request")
    return [
        _row("i 1", "model gateway: added to a request", "ms", added, REQUEST_MS, _REQUEST),
        _row("i 2", "model gateway: CPU for a request", "ms", used, REQUEST_MS, _CPU),
        _row("i 3", "model gateway: added to a start", "ms", median(opened), START_MS, _START),
        _row("i 4", "model gateway: most memory it had", "MB", memory, MEMORY_MB, _MEMORY),
    ]


_REQUEST = (
    "20 KB asked and answered on a kept connection, straight and through it; on busy cores each request "
    "waits its turn twice more."
)
_CPU = "Heads, the body's JSON for its model, the count's file; a Python event loop does it."
_START = "Until the sockets listen and the process has been told; it gets ready while the agent starts."
_MEMORY = "An interpreter with asyncio and TLS; the bound is for the sandbox's relay as well."


def _row(key: str, what: str, unit: str, ours: float, allowed: float, limit: str) -> Row:
    return Row(key, what, unit, ours, allowed, "what is allowed", Goal(most=1.0), limit)


def _requests(entry: GatewayAccess, port: int, count: int) -> tuple[float, float]:
    """(what is added, what it takes without): the difference of two medians."""
    body = {"model": "m", "stream": False, "messages": [{"role": "user", "content": "x" * BODY_BYTES}]}
    data = json.dumps(body).encode()
    headers = {"content-type": "application/json", "authorization": f"Bearer {entry.token}"}
    lines = [http.client.HTTPConnection("127.0.0.1", number, timeout=30) for number in (entry.port, port)]
    took: tuple[list[float], list[float]] = ([], [])
    for number in range(count + 5):
        for line, samples in zip(lines, took, strict=True):
            began = time.perf_counter()
            line.request("POST", "/v1/chat/completions", data, headers)
            answer = line.getresponse()
            answer.read()
            if answer.status != 200:
                raise RuntimeError(f"status {answer.status}")
            if number >= 5:
                samples.append((time.perf_counter() - began) * 1000)
    for line in lines:
        line.close()
    through, straight = (median(samples) for samples in took)
    return through - straight, straight


def _cpu_ms(attempt: Path) -> float:
    found = places.find_gateway(attempt)
    if found is None:  # it has not said yet who it is
        return 0.0
    fields = Path(f"/proc/{found[0]}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * 1000 / os.sysconf("SC_CLK_TCK")


def _peak_mb(attempt: Path) -> float:
    found = places.find_gateway(attempt)
    assert found is not None
    return peak_kib(found[0]) / 1024
