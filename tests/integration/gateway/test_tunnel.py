"""Runs by subscription: the gateway leads them to their vendor's hosts, and says no word of what passes."""

from __future__ import annotations

import base64
import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from node_agent.attempt.gateways import GatewayAccess
from node_agent.gateway.opening import GatewaySettings
from node_agent.gateway.tunnel import MOST_OPEN
from node_agent.link.trusting import make_tls_context
from tests.crowd import crowded
from tests.fakemodel import FakeModel, preset
from tests.integration.gateway.gateways import Agent, Lab, job_of, until
from tests.integration.gateway.tls import ConnectProxy, authority, proxy_to

VENDOR = "api.anthropic.com"
TOKEN = "a-token-of-the-subscription"


@pytest.fixture
def vendor(tmp_path: Path, lab: Lab) -> Iterator[tuple[FakeModel, ConnectProxy, Path]]:
    """A server with the vendor's name; the owner's proxy is how the gateway finds it here."""
    ca, context = authority(tmp_path, VENDOR)
    model = FakeModel(preset("text"))
    model.httpd.socket = context.wrap_socket(model.httpd.socket, server_side=True)
    with model, proxy_to(model.port) as proxy:
        lab.values["CLAUDE_CODE_OAUTH_TOKEN"] = TOKEN
        lab.wish = GatewaySettings(https_proxy=proxy.url)
        yield model, proxy, ca


def knock(
    entry: GatewayAccess, name: str, token: str | None = None, first: str = "CONNECT"
) -> tuple[socket.socket, str]:
    """(the connection, what the gateway said first)."""
    line = socket.create_connection(("127.0.0.1", entry.port), timeout=20 * crowded())
    shown = base64.b64encode(f"pancode:{entry.token if token is None else token}".encode()).decode()
    line.sendall(
        f"{first} {name} HTTP/1.1\r\nhost: {name}\r\nproxy-authorization: Basic {shown}\r\n\r\n".encode()
    )
    said = b""
    while b"\r\n\r\n" not in said and (piece := line.recv(4096)):
        said += piece
    return line, said.decode()


def opened(lab: Lab) -> Agent:
    agent = lab.open(job_of("claude", model="claude-sonnet-4-5"))
    assert agent.entry.is_tunnel
    return agent


def test_what_passes_is_between_the_program_and_its_vendor(
    lab: Lab, vendor: tuple[FakeModel, ConnectProxy, Path]
) -> None:
    model, proxy, ca = vendor
    agent = opened(lab)
    line, said = knock(agent.entry, f"{VENDOR}:443")
    assert said.startswith("HTTP/1.1 200 ")
    inside = make_tls_context(str(ca))
    with inside.wrap_socket(line, server_hostname=VENDOR) as tls:
        body = b'{"model": "m", "messages": [{"role": "user", "content": "hi"}]}'
        tls.sendall(b"POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        assert tls.recv(4096).startswith(b"HTTP/1.1 200")
    assert proxy.asked == [f"{VENDOR}:443"] and len(model.requests) == 1
    count = agent.counted()
    assert (count.calls.subscription, count.calls.requests, count.calls.refused) == (True, 1, 0)
    assert count.calls.sent_bytes > len(body) and count.calls.received_bytes > 1000, "with the handshake"
    assert (count.usage.cost_usd, count.usage.cost_source) == (None, "unknown") and count.ended


@pytest.mark.parametrize(
    "name",
    [
        "elsewhere.example:443",
        f"{VENDOR}:80",
        f"x.{VENDOR}:443",
        f"{VENDOR}.evil.example:443",
        "127.0.0.1:443",
        VENDOR,
    ],
)
def test_no_other_name_and_no_other_port(
    lab: Lab, vendor: tuple[FakeModel, ConnectProxy, Path], name: str
) -> None:
    agent = opened(lab)
    line, said = knock(agent.entry, name)
    with line:
        assert said.startswith("HTTP/1.1 403 ")
    assert vendor[1].asked == [] and agent.counted().calls.refused == 1


@pytest.mark.parametrize("said", ["elsewhere.example", "", "no TLS"])
def test_behind_the_right_name_no_other_server_and_no_other_language(
    lab: Lab, vendor: tuple[FakeModel, ConnectProxy, Path], said: str
) -> None:
    """Vendors share their addresses with whoever pays the same company."""
    agent = opened(lab)
    line, first = knock(agent.entry, f"{VENDOR}:443")
    assert first.startswith("HTTP/1.1 200 ")
    inside = make_tls_context(str(vendor[2]))
    inside.check_hostname = False
    with line, contextlib.suppress(OSError):
        if said == "no TLS":
            line.sendall(b"GET / HTTP/1.1\r\nhost: elsewhere.example\r\n\r\n")
            assert line.recv(100) == b""
        else:
            with pytest.raises(OSError):
                inside.wrap_socket(line, server_hostname=said or None)
    count = agent.counted()
    assert count.calls.refused == 1 and count.calls.sent_bytes == 0 and vendor[0].requests == []


def test_who_does_not_show_the_run_s_word_is_led_nowhere(
    lab: Lab, vendor: tuple[FakeModel, ConnectProxy, Path]
) -> None:
    agent = opened(lab)
    line, said = knock(agent.entry, f"{VENDOR}:443", token="guessed")
    with line:
        assert said.startswith("HTTP/1.1 407 ")
    for first in ("GET", "POST"):
        line, said = knock(agent.entry, "http://elsewhere.example/", first=first)
        with line:
            assert said.startswith("HTTP/1.1 403 "), "no plain proxy either"
    assert vendor[1].asked == [] and agent.counted().calls.refused == 2


def test_a_vendor_that_cannot_be_reached_is_said(lab: Lab) -> None:
    lab.values["CLAUDE_CODE_OAUTH_TOKEN"] = TOKEN
    lab.wish = GatewaySettings(https_proxy="http://127.0.0.1:1")
    agent = opened(lab)
    line, said = knock(agent.entry, f"{VENDOR}:443")
    with line:
        assert said.startswith("HTTP/1.1 502 ")
    assert agent.counted().calls.failed == 1


def test_its_end_ends_what_is_open_and_counts_it(
    lab: Lab, vendor: tuple[FakeModel, ConnectProxy, Path]
) -> None:
    agent = opened(lab)
    line, said = knock(agent.entry, f"{VENDOR}:443")
    with line:
        assert said.startswith("HTTP/1.1 200 ")
        until(lambda: agent.so_far.requests == 1)
        count = agent.counted()
        assert count.calls.requests == 1 and count.ended
        with contextlib.suppress(OSError):
            while line.recv(4096):
                pass


def test_a_key_goes_before_a_subscription_and_what_the_job_names_past_both(lab: Lab) -> None:
    lab.values |= {"CLAUDE_CODE_OAUTH_TOKEN": TOKEN, "ANTHROPIC_API_KEY": "k"}
    assert not lab.open(job_of("claude")).entry.is_tunnel
    del lab.values["ANTHROPIC_API_KEY"]
    named = job_of("claude").model_copy(update={"secrets": ("CLAUDE_CODE_OAUTH_TOKEN",)})
    assert lab.gateways.open(named, lab.root / "a") is None


def test_who_holds_connections_without_the_key_does_not_shut_the_run_out(
    lab: Lab, vendor: tuple[FakeModel, ConnectProxy, Path]
) -> None:
    agent = opened(lab)
    with contextlib.ExitStack() as held:
        for _ in range(MOST_OPEN * 2):
            held.enter_context(
                socket.create_connection(("127.0.0.1", agent.entry.port), timeout=20 * crowded())
            )
        line, said = knock(agent.entry, f"{VENDOR}:443")
        line.close()
    assert said.startswith("HTTP/1.1 200 ") and agent.counted().calls.requests == 1
