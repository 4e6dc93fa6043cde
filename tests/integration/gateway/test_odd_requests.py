"""What no program sends and an attacker does: a live gateway refuses it, and answers the run's next call."""

from __future__ import annotations

import contextlib
import json
import socket

import pytest

from tests.fakemodel import FakeModel, preset
from tests.integration.gateway.gateways import KEY, Agent, Lab, job_of, until
from tests.integration.test_fakemodel import request

PATH, ASKED = request("anthropic", False)
BODY = json.dumps(ASKED).encode()
N = len(BODY)
CHUNK = b"%x\r\n%b\r\n" % (N, BODY)


def head(*lines: str, start: str = f"POST {PATH} HTTP/1.1", key: str = "TOKEN") -> bytes:
    shown = [f"x-api-key: {key}"] if key else []
    return "\r\n".join([start, *shown, *lines, "", ""]).encode()


CHUNKED = head("transfer-encoding: chunked")
REFUSED = {
    "both lengths": (head(f"content-length: {N}", "transfer-encoding: chunked") + CHUNK + b"0\r\n\r\n", 400),
    "two lengths": (head(f"content-length: {N}", "content-length: 0") + BODY, 400),
    "a length with a sign": (head(f"content-length: +{N}") + BODY, 400),
    "a coding in another word": (head("transfer-encoding: xchunked") + CHUNK + b"0\r\n\r\n", 400),
    "a coding twice": (head(*["transfer-encoding: chunked"] * 2) + CHUNK + b"0\r\n\r\n", 400),
    "a coding behind a tab": (head("transfer-encoding:\x0bchunked") + CHUNK + b"0\r\n\r\n", 400),
    "a blank before the colon": (head(f"content-length : {N}") + BODY, 400),
    "a folded header": (head("a: b", f" content-length: {N}") + BODY, 400),
    "a lone line feed": (head(f"a: b\ncontent-length: {N}") + BODY, 400),
    "a zero byte": (head("a: \x00", f"content-length: {N}") + BODY, 400),
    "a huge head": (head("a: " + "x" * 100_000), 400),
    "a head of many lines": (head(*["a: b"] * 20_000), 400),
    "a chunk of a negative size": (CHUNKED + b"-1\r\n", 400),
    "a chunk of a size in our notation": (CHUNKED + b"0x5\r\nabcde\r\n", 400),
    "a chunk of a huge size": (CHUNKED + b"fffffffff\r\n", 400),
    "a chunk that is longer than it says": (CHUNKED + b"1\r\nabc\r\n0\r\n\r\n", 400),
    "trailers without end": (CHUNKED + CHUNK + b"0\r\n" + b"a: b\r\n" * 20_000, 400),
    "no words of HTTP": (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", 400),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 403),
    "another protocol": (
        head("connection: upgrade", "upgrade: websocket", start="GET /v1/responses HTTP/1.1"),
        403,
    ),
    "a whole address": (head(f"content-length: {N}", start=f"POST http://h{PATH} HTTP/1.1") + BODY, 403),
    "a tunnel": (head(start="CONNECT api.anthropic.com:443 HTTP/1.1"), 403),
    "a way up": (head(f"content-length: {N}", start=f"POST /v1/../__fake{PATH} HTTP/1.1") + BODY, 403),
    "a way up in signs": (head(f"content-length: {N}", start="POST /v1/%2e%2e/x HTTP/1.1") + BODY, 403),
    "the key of a second header": (head(f"content-length: {N}", "x-api-key: y") + BODY, 403),
}


def told(agent: Agent, sent: bytes) -> bytes:
    """All that it says until it hangs up, which it may do while we speak; at most for two seconds."""
    said = b""
    with socket.create_connection(("127.0.0.1", agent.entry.port), 2) as line:
        with contextlib.suppress(OSError):
            line.sendall(sent.replace(b"TOKEN", agent.entry.token.encode()))
        with contextlib.suppress(OSError):
            while piece := line.recv(1 << 16):
                said += piece
    return said


@pytest.fixture
def model() -> FakeModel:
    return FakeModel(preset("text"))


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_it_is_refused_and_the_run_goes_on(lab: Lab, model: FakeModel, name: str) -> None:
    sent, status = REFUSED[name]
    with model:
        lab.point("claude", model.url)
        agent = lab.open(job_of("claude"))
        pid = agent.pid
        said = told(agent, sent)
        assert said.startswith(b"HTTP/1.1 %d " % status) and said.count(b"HTTP/1.1 ") == 1, said[:300]
        assert KEY.encode() not in said and model.requests == []
        assert agent.post(PATH, ASKED)[0] == 200 and agent.pid == pid
        until(lambda: len(model.requests) == 1)


def test_what_follows_in_the_same_breath_is_judged_as_any_other(lab: Lab, model: FakeModel) -> None:
    """A second request behind the first is no part of its body, and gets nothing from its being let in."""
    good = head(f"content-length: {N}") + BODY
    with model:
        lab.point("claude", model.url)
        agent = lab.open(job_of("claude"))
        behind = head("connection: close", start="GET /v1/files HTTP/1.1")
        said = told(agent, good + good + behind)
        statuses = [part[:3] for part in said.split(b"HTTP/1.1 ")[1:]]
        assert statuses == [b"200", b"200", b"403"]
        until(lambda: len(model.requests) == 2)
        stranger = head("connection: close", key="another", start="GET /v1/models HTTP/1.1")
        assert b"HTTP/1.1 403 " in told(agent, good + stranger)
        assert agent.counted().calls.requests == 3


def test_trailers_that_end_are_read_past(lab: Lab, model: FakeModel) -> None:
    close = head("transfer-encoding: chunked", "connection: close")
    with model:
        lab.point("claude", model.url)
        agent = lab.open(job_of("claude"))
        said = told(agent, close + CHUNK + b"0\r\nx-api-key: y\r\nchecksum: 1\r\n\r\n")
        assert said.startswith(b"HTTP/1.1 200 ")
        until(lambda: len(model.requests) == 1)


@pytest.mark.parametrize("more", [(), ("connection: keep-alive",)])
def test_who_knows_no_chunks_gets_none(lab: Lab, model: FakeModel, more: tuple[str, ...]) -> None:
    """An answer whose length nobody knows ends with its connection."""
    streamed = json.dumps({**ASKED, "stream": True}).encode()
    asked = head(f"content-length: {len(streamed)}", *more, start=f"POST {PATH} HTTP/1.0") + streamed
    with model:
        lab.point("claude", model.url)
        agent = lab.open(job_of("claude"))
        top, _, rest = told(agent, asked).partition(b"\r\n\r\n")
        assert top.startswith(b"HTTP/1.1 200 ") and b"chunked" not in top and b"connection: close" in top
        assert rest.startswith(b"event: message_start") and b"message_stop" in rest
        assert agent.counted().usage.output_tokens == 34
