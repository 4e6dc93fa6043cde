"""Every vendor by name: its key by the secret's name, through the gateway, on the vendor's own path.

The servers are one scripted server with the wire that all of them have; a whole node runs the worker.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from node_agent.runtimes.vendors import PROVIDERS, RuntimeProvider
from node_agent.runtimes.workerspec import TOOLS
from node_agent.wire.failure import Outcome
from node_agent.wire.job import Limits
from node_agent.wire.policy import Safety
from tests.fakemodel import FakeModel, preset
from tests.integration.node.node_world import NodeWorld

pytestmark = pytest.mark.slow

KEY = "the-key-of-the-vendor"
LIMITS = Limits(wall_ms=110_000, idle_ms=110_000, output_bytes=1 << 24)


@pytest.mark.parametrize("vendor", list(PROVIDERS.values()), ids=list(PROVIDERS))
def test_a_vendor_is_asked_with_its_own_key_on_its_own_path(vendor: RuntimeProvider, tmp_path: Path) -> None:
    path = urlsplit(vendor.home).path
    with FakeModel({**preset("text"), "api_key": KEY}) as server:
        world = NodeWorld(tmp_path)
        others = {one.key: "the-key-of-another" for one in PROVIDERS.values()}
        secrets = {**others, vendor.key: KEY, vendor.url: f"{server.url}{path}"}
        (world.home.root / "endpoints.json").write_text(json.dumps({"ports": [], "endpoints": []}))
        world.home.secrets.write_text(json.dumps(secrets))
        world.home.secrets.chmod(0o600)
        try:
            world.begin()
            run, model = f"r-vendor{os.getpid()}", f"{vendor.name}/some/model-1"
            job = world.job("Say something.", run=run, runtime="native", model=model)
            agent = job.agent.model_copy(update={"tools": TOOLS})
            changes = {"agent": agent, "safety": Safety.AUTO_EDIT, "limits": LIMITS, "env": (), "secrets": ()}
            claims = world.run(job.model_copy(update=changes), 120)
            told = world.log(job.identity).decode()
        finally:
            world.end()
        asked = [one for one in server.requests if "wire" in one]
    assert (claims.outcome, claims.failure) == (Outcome.DONE, None), claims.reason
    (one,) = asked
    assert one["path"] == f"{path}{vendor.suffix}/chat/completions"
    assert (one["auth"], one["model"], one["stream"]) == ("authorization", "some/model-1", True)
    assert claims.calls is not None and claims.calls.requests == 1
    assert claims.usage.input_tokens > 0 and claims.usage.output_tokens > 0
    assert KEY not in told and "the-key-of-another" not in told
