"""Who does not show the run's key costs it no memory, and leaves nothing in its record."""

from __future__ import annotations

import contextlib
import os
import socket

import pytest

from node_agent.gateway.serving import MOST_OPEN
from tests.bench.processes import peak_kib
from tests.fakemodel import FakeModel, preset
from tests.integration.gateway.gateways import Agent, Lab, job_of, until
from tests.integration.test_fakemodel import request

MB = 1 << 20
HEAD = "POST {} HTTP/1.1\r\nx-api-key: {}\r\ncontent-length: {}\r\n\r\n"


def push(agent: Agent, path: str, token: str) -> bytes:
    """20 MB, or as much as it takes; what it says to that."""
    said = b""
    with socket.create_connection(("127.0.0.1", agent.entry.port), 20) as line:
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
        agent = lab.open(job_of("claude"))
        path, body = request("anthropic", False)
        assert agent.post(path, body)[0] == 200
        before = peak_kib(agent.pid)
        for _ in range(3):
            push(agent, path, "somebody-elses")
            push(agent, "/v1/files", agent.entry.token)
        assert peak_kib(agent.pid) - before < 5_000
        assert agent.post(path, body)[0] == 200 and len(model.requests) == 2


def test_a_stranger_is_told_so_and_leaves_nothing_in_the_run_s_record(lab: Lab) -> None:
    with FakeModel(preset("text")) as model:
        lab.point("claude", model.url)
        agent = lab.open(job_of("claude"))
        until(lambda: (agent.folder / "gateway" / "count").exists())
        path, body = request("anthropic", False)
        for target in (path, "/v1/files", "http://elsewhere/"):
            status, said = agent.post(target, body, token="somebody-elses")
            assert status == 403 and b"not the key" in said
        assert agent.post("/v1/files", body)[0] == 403
        count = agent.counted()
        assert count.calls.refused == 1 and "/v1/files" in agent.so_far.words and model.requests == []


HELD = 400
"""More connections than the gateway keeps open."""


def connect(agent: Agent, by: str) -> socket.socket:
    if by == "tcp":
        return socket.create_connection(("127.0.0.1", agent.entry.port), 20)
    line = socket.socket(socket.AF_UNIX)  # without a timeout it waits while the queue is full
    folder = os.open(agent.folder / "gate", os.O_PATH)
    try:
        line.connect(f"/proc/self/fd/{folder}/model.sock")
        line.settimeout(20)
    finally:
        os.close(folder)
    return line


@pytest.mark.parametrize("by", ["tcp", "unix"])
def test_who_holds_hundreds_of_connections_without_the_key_does_not_shut_the_run_out(
    lab: Lab, by: str
) -> None:
    with FakeModel(preset("text")) as model, contextlib.ExitStack() as held:
        lab.point("claude", model.url)
        agent = lab.open(job_of("claude"))
        path, body = request("anthropic", False)
        for number in range(HELD):
            line = held.enter_context(connect(agent, by))
            if number % 2:  # half of a head, which never comes to its end
                with contextlib.suppress(OSError):
                    line.sendall(b"POST /v1/messages HTTP/1.1\r\n")
        for _ in range(3):
            assert agent.post(path, body)[0] == 200
        count = agent.counted()
        assert (count.calls.requests, count.calls.refused) == (3, 0)


def test_connections_of_the_run_are_bounded_and_it_is_told_so(lab: Lab) -> None:
    with FakeModel(preset("text")) as model, contextlib.ExitStack() as held:
        lab.point("claude", model.url)
        agent = lab.open(job_of("claude"))
        path, body = request("anthropic", False)
        ask = f"GET /v1/models HTTP/1.1\r\nx-api-key: {agent.entry.token}\r\n\r\n".encode()
        for _ in range(MOST_OPEN):
            line = held.enter_context(connect(agent, "tcp"))
            line.sendall(ask)
            assert line.recv(4096).startswith(b"HTTP/1.1 ")
        status, said = agent.post(path, body)
        assert status == 503 and b"connections" in said and b"close some" in said
        held.close()
        until(lambda: agent.post(path, body)[0] == 200)
