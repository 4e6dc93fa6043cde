"""A real program with a vendor's login behind the wall: it reaches that vendor's host, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from node_agent.gatewayfile import FILE
from node_agent.wire.failure import Outcome
from node_agent.wire.order import Order
from node_agent.wire.policy import Enforcement, Isolation, Safety, compile_policy
from node_agent.wire.receipt import Enforced
from tests.clis.conftest import path_of
from tests.clis.launched import CLAUDE
from tests.clis.test_gateway import order_of
from tests.fakemodel import FakeModel, preset
from tests.integration.gateway.tls import authority, proxy_to
from tests.integration.node.gateway_world import GatewayWorld
from tests.integration.node.node_world import until

pytestmark = pytest.mark.slow

TOKEN = "sk-ant-oat01-of-a-subscription-that-is-none"
VENDOR = "api.anthropic.com"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[GatewayWorld]:
    """The vendor is a scripted server with its name, which the owner's proxy finds here."""
    ca, context = authority(tmp_path, VENDOR)
    model = FakeModel({**preset("text"), "api_key": TOKEN})
    model.httpd.socket = context.wrap_socket(model.httpd.socket, server_side=True)
    with model, proxy_to(model.port) as proxy:
        one = GatewayWorld(tmp_path, model, "claude", path_of("claude"))
        one.owner_writes(CLAUDE_CODE_OAUTH_TOKEN=TOKEN, NODE_EXTRA_CA_CERTS=str(ca))
        (one.home.root / FILE).write_text(json.dumps({"https_proxy": proxy.url}))
        (one.home.root / "sandbox.json").write_text(json.dumps({"read": [str(ca)]}))
        one.begin()
        yield one
        one.end()


def by_subscription(world: GatewayWorld) -> Order:
    """The private authority is the only thing that the order names."""
    return order_of(world, CLAUDE).model_copy(update={"env": ("NODE_EXTRA_CA_CERTS",)})


def test_claude_by_subscription(world: GatewayWorld) -> None:
    claims = world.run(by_subscription(world), 90)
    assert (claims.outcome, claims.failure) == (Outcome.DONE, None), (
        claims.reason,
        world.log(claims.identity),
    )
    assert claims.isolation is Isolation.SANDBOX
    assert Enforced(rule="network model", how=Enforcement.SANDBOX) in claims.enforced
    assert claims.calls is not None and claims.calls.subscription and claims.claimed is None
    assert claims.calls.requests >= 1 and claims.calls.received_bytes > 1000
    assert claims.usage.output_tokens == 34 and claims.usage.cost_source == "reported"


PROBE = """\
tried() { if python3 -c "$2" >/dev/null 2>&1; then echo "DID $1" >> told; else echo "not $1" >> told; fi; }
tried port 'import socket; socket.create_connection(("127.0.0.1", %(port)d), 3)'
tried elsewhere 'import os, urllib.request as u; u.urlopen("https://elsewhere.example/", timeout=5)'
tried plain 'import os, urllib.request as u; u.urlopen("http://elsewhere.example/", timeout=5)'
tried itself 'pass'"""


def test_nothing_else_is_reached_by_it(world: GatewayWorld) -> None:
    """Its shell has the way to the vendor, as the program must have it; no other name is on it."""
    command = PROBE % {"port": world.model.port}
    world.model.set_script(
        {"turns": [{"tool": "shell", "args": {"command": command}}, {"text": "Done."}], "api_key": TOKEN}
    )
    plain = by_subscription(world)
    policy = compile_policy(Safety.FULL_AUTO, read_only=False)
    order = plain.model_copy(update={"safety": Safety.FULL_AUTO, "policy": policy})
    told: list[str] = []

    def looked() -> bool:
        file = world.home.root / "work" / str(order.identity) / "tree" / "told"
        told[:] = file.read_text().splitlines() if file.is_file() else told
        return "DID itself" in told

    world.coordinator.push(order)
    until(looked, 60, lambda: str(told))
    claims = world.ended(order.identity, 90)
    assert told == ["not port", "not elsewhere", "not plain", "DID itself"]
    assert claims.calls is not None and claims.calls.refused >= 2, "both asked the gateway, and it said no"
