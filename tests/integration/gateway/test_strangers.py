"""Who does not show the run's key costs it no memory, and leaves nothing in its record."""

from __future__ import annotations

import socket
from pathlib import Path

from tests.fakemodel import FakeModel, preset
from tests.integration.gateway.gateways import Agent, Lab, order_of, until
from tests.integration.test_fakemodel import request

MB = 1 << 20
HEAD = "POST {} HTTP/1.1\r\nx-api-key: {}\r\ncontent-length: {}\r\n\r\n"


def peak(agent: Agent) -> int:
    """The most memory that the gateway has had, in KB."""
    lines = Path(f"/proc/{agent.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def push(agent: Agent, path: str, token: str) -> bytes:
    """20 MB, or as much as it takes; what it says to that."""
    said = b""
    with socket.create_connection(("127.0.0.1", agent.door.port), 20) as line:
        try:
            line.sendall(HEAD.format(path, token, 20 * MB).encode())
            for _ in range(20):
                line.sendall(b"x" * MB)
        except OSError:
            pass
        try:
            while piece := line.recv(MB):
                said += piece
        except OSError:
            pass
    return said


def test_a_body_is_not_kept_that_is_refused_by_its_head(lab: Lab) -> None:
    with FakeModel(preset("text")) as model:
        lab.point("claude", model.url)
        agent = lab.open(order_of("claude"))
        path, body = request("anthropic", False)
        assert agent.post(path, body)[0] == 200
        before = peak(agent)
        for _ in range(3):
            push(agent, path, "somebody-elses")
            push(agent, "/v1/files", agent.door.token)
        assert peak(agent) - before < 5_000
        assert agent.post(path, body)[0] == 200 and len(model.requests) == 2


def test_a_stranger_is_told_so_and_leaves_nothing_in_the_run_s_record(lab: Lab) -> None:
    with FakeModel(preset("text")) as model:
        lab.point("claude", model.url)
        agent = lab.open(order_of("claude"))
        until(lambda: (agent.folder / "gateway" / "count").exists())
        path, body = request("anthropic", False)
        for target in (path, "/v1/files", "http://elsewhere/"):
            status, said = agent.post(target, body, token="somebody-elses")
            assert status == 403 and b"not the key" in said
        assert agent.post("/v1/files", body)[0] == 403
        count = agent.counted()
        assert count.calls.refused == 1 and "/v1/files" in agent.so_far.words and model.requests == []
