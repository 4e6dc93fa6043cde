"""A whole node agent with gateway and wall, our own worker in it, and a real llama.cpp server beside it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from node_agent.runtimes.workerspec import TOOLS
from node_agent.wire.failure import Outcome
from node_agent.wire.job import Limits
from node_agent.wire.policy import Safety
from tests.integration.node.node_world import NodeWorld
from tests.tinyllama import tiny_server
from tests.tinyllama.model import tool_call

pytestmark = pytest.mark.slow

ROOM = 7_168
KEY = "the-key-of-the-server"
TURNS = [tool_call("write", path="hello.txt", content="hello\n"), "Done: hello.txt is there."]


def test_a_run_on_an_endpoint_is_counted_costs_nothing_and_keeps_to_its_room(tmp_path: Path) -> None:
    file = tmp_path / "scenarios.json"
    file.write_text(json.dumps({"agent": TURNS}))
    with tiny_server(slots=1, ctx=ROOM, scenarios=file, api_key=KEY) as tiny:
        world = NodeWorld(tmp_path)
        listed = {"name": "tiny", "url": tiny.url, "key": "TINY_KEY"}
        (world.home.root / "endpoints.json").write_text(json.dumps({"ports": [], "endpoints": [listed]}))
        world.home.secrets.write_text(json.dumps({"TINY_KEY": KEY, "OPENAI_API_KEY": "another-s-key"}))
        world.home.secrets.chmod(0o600)
        try:
            world.begin()
            job = world.job(
                "Make it. [[agent]]", run=f"r-near{os.getpid()}", runtime="native", model="tiny-random"
            )
            agent = job.agent.model_copy(update={"tools": TOOLS})
            limits = Limits(wall_ms=60_000, idle_ms=60_000, output_bytes=1 << 24)
            changes = {"agent": agent, "endpoint": "tiny", "safety": Safety.AUTO_EDIT, "limits": limits}
            claims = world.run(job.model_copy(update={**changes, "env": (), "secrets": ()}), 90)
            told = world.log(job.identity).decode()
        finally:
            world.end()
    assert (claims.outcome, claims.failure) == (Outcome.DONE, None), claims.reason
    assert claims.usage.cost_source == "local" and claims.usage.cost_usd == 0
    assert claims.calls is not None and claims.calls.requests == claims.usage.turns == 2
    assert claims.usage.input_tokens > 500 and claims.claimed is not None
    assert (claims.claimed.input_tokens, claims.claimed.output_tokens) == (
        claims.usage.input_tokens, claims.usage.output_tokens
    )  # fmt: skip
    session = json.loads(told.splitlines()[0])
    assert (session["context"], session["context_known"]) == (ROOM, True)
    assert KEY not in told and "another-s-key" not in told
