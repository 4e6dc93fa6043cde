"""Bodies that are made to take memory: refused in the vendor's words, and the gateway continues."""

from __future__ import annotations

import json
import resource
from pathlib import Path

import pytest

from tests.bench.processes import peak_kib
from tests.fakemodel import FakeModel, preset
from tests.integration.gateway.gateways import RUNTIMES, Lab, job_of, until
from tests.integration.test_fakemodel import request

MB = 1 << 20


@pytest.mark.parametrize("wire", list(RUNTIMES))
def test_a_body_beyond_its_bound_is_refused_in_the_vendor_s_form(lab: Lab, wire: str) -> None:
    with FakeModel(preset("text")) as model:
        lab.point(RUNTIMES[wire], model.url)
        agent = lab.open(job_of(RUNTIMES[wire]))
        path, body = request(wire, False)
        before = peak_kib(agent.pid)
        status, said = agent.post_raw(path, json.dumps({**body, "more": "x" * 40 * MB}).encode())
        told = json.loads(said)["error"]
        assert status == 413 and "too large" in told["message"]
        if wire == "anthropic":
            assert told["type"] == "request_too_large"
        if wire == "gemini":
            assert (told["code"], told["status"]) == (413, "INVALID_ARGUMENT")
        assert peak_kib(agent.pid) - before < 100_000, "the rest of it is read, and not kept"
        assert agent.post(path, body)[0] == 200
        until(lambda: len(model.requests) == 1)


@pytest.mark.parametrize("unit", [b"{},", b"[],", b"0,", b'{"a":1},', b"["])
def test_a_body_of_many_small_values_takes_no_multiple_of_its_size(lab: Lab, unit: bytes) -> None:
    with FakeModel(preset("text")) as model:
        lab.point("claude", model.url)
        agent = lab.open(job_of("claude"))
        path, body = request("anthropic", False)
        many = unit * (30 * MB // len(unit))
        hostile = b'{"model":"m","messages":[' + many + b"0]}"
        for _ in range(2):
            status, said = agent.post_raw(path, hostile)
            assert status == 413 and b"JSON values" in said
        assert peak_kib(agent.pid) < 250_000
        assert agent.post(path, body)[0] == 200
        until(lambda: len(model.requests) == 1)


def test_what_is_nested_too_deep_is_refused(lab: Lab) -> None:
    """How deep that is differs by the version of Python."""
    with FakeModel(preset("text")) as model:
        lab.point("claude", model.url)
        agent = lab.open(job_of("claude"))
        path, body = request("anthropic", False)
        for depth, answers in ((980, (403, 500)), (5_000, (403, 500)), (100_000, (403,))):
            deep = b'{"model":"m","max_tokens":5,"messages":' + b"[" * depth + b"]" * depth + b"}"
            assert agent.post_raw(path, deep)[0] in answers, "500 are words of the server"
        assert agent.post(path, body)[0] == 200


def test_the_kernel_holds_the_gateway_s_memory(lab: Lab) -> None:
    """Letters that take four bytes each, several at once: as much as a run can make it need."""
    with FakeModel(preset("text")) as model:
        lab.point("opencode", model.url)
        agent = lab.open(job_of("opencode"))
        path, body = request("chat", True)
        limits = Path(f"/proc/{agent.pid}/limits").read_text()
        line = next(line for line in limits.splitlines() if line.startswith("Max data size"))
        assert int(line.split()[3]) == 512 * MB
        wide = json.dumps(
            {**body, "messages": [{"role": "user", "content": "\U0001f600" * (7 * MB)}]}, ensure_ascii=False
        )
        status, said = agent.post_raw(path, wide.encode())
        assert status in (200, 413), said
        assert peak_kib(agent.pid) < 600_000 and agent.post(path, body)[0] == 200
        assert resource.getrlimit(resource.RLIMIT_DATA)[0] != 512 * MB, "its own alone"
