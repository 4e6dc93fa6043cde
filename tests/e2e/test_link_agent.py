"""The real node agent from the real bundle on a real host: it starts, stays, is restarted and taken out."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from node_agent.wire.signing import PublicKey, SigningKey
from pancode import __version__
from pancode.fleet.bundle.store import BundleStore
from pancode.fleet.ssh.probe import NodeProbe
from pancode.fleet.ssh.steps import HomeFile, StepName
from tests.e2e.kept import keep_bundles, lay_out_bundles
from tests.e2e.link_lab import NODE_HOME, coordinator
from tests.e2e.test_link_bringup import LISTING, Half
from tests.lab import Lab

pytestmark = pytest.mark.bare_hosts

COORDINATOR = SigningKey(b"c" * 32).public


class Real(Half):
    """Enrols with settings that the node agent reads; its Redis does not answer yet."""

    slots = 2
    key = ""

    async def files(self, key: str, found: NodeProbe) -> list[HomeFile]:
        self.key = key
        settings = {
            "fleet": "f-e2e0",
            "name": found.hostname,
            "tag": PublicKey.parse(key).tag,
            "slots": self.slots,
            "redis": {"user": "node", "password_file": "key/redis"},
            "disk_reserve": 0,
        }
        return [
            HomeFile("node.json", json.dumps(settings).encode()),
            HomeFile("key/coordinator.pub", COORDINATOR.text().encode(), 0o644),
            HomeFile("key/redis", b"secret"),
        ]


@pytest.mark.slow
def test_the_real_agent_comes_stays_changes_and_goes(
    healed: Lab, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Up to 30 s on a loaded machine: the libraries may have to be fetched for the host's own Python."""
    folder = tmp_path_factory.mktemp("real")
    lay_out_bundles(folder)
    store = BundleStore(folder, level=1)

    async def go() -> None:
        async with coordinator(healed, tmp_path) as it:
            before = await it.back_door(1, LISTING)
            half = Real(it, 1, store)
            first = await half.up()
            assert first.ok, first.problems
            pid = await it.back_door(1, f"cat {NODE_HOME}/run/agent.pid")
            assert (await half.up()).changed == ()
            half.slots = 3
            assert (await half.up()).changed == (StepName.ENROL, StepName.START)
            assert await it.back_door(1, f"cat {NODE_HOME}/run/agent.pid") != pid
            await asyncio.sleep(1)
            said = await it.back_door(1, f"cat {NODE_HOME}/log/agent.out")
            assert "Traceback" not in said, said
            async with it.remote(1) as node:
                start = f"{NODE_HOME}/current/start.py"
                python = ["/usr/bin/python3.11", "-I", "-S", "-B", start]
                shown = await node.run([*python, "status", "--json", "--home", NODE_HOME], 20)
                assert json.loads(shown.text)["running"] is True, shown
                version = await node.run([*python, "version"], 20)
                assert version.text.strip() == __version__
            keep_bundles(folder)
            await it.links[0].close()
            assert (await half.remove()).ok
            assert await it.back_door(1, LISTING) == before

    asyncio.run(go())
