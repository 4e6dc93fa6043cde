"""Real hosts are brought up together, again, and cleaned: one that cannot does not stop the others.

The node agent's entry is a stand-in that holds the lock and one attempt; everything else is the real bundle.
"""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from pancode.fleet.acts import NodeResult, ProgressLine
from pancode.fleet.bundle.contents import node_agent_folder
from pancode.fleet.bundle.store import BundleStore
from pancode.fleet.ssh import bringup
from pancode.fleet.ssh.bringup import BringUpPlan, bring_up
from pancode.fleet.ssh.probe import NodeProbe
from pancode.fleet.ssh.steps import HomeFile, StepName
from tests.e2e.link_lab import NODE_HOME, LinkLab, coordinator, passes
from tests.lab import Lab

pytestmark = pytest.mark.bare_hosts

STAND_IN = Path(__file__).parents[1] / "integration/ssh/stand_in.py"
LISTING = "cd /home/ops && find . | LC_ALL=C sort"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> BundleStore:
    folder = tmp_path_factory.mktemp("agent") / "node_agent"
    shutil.copytree(node_agent_folder(), folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(STAND_IN, folder / "cli/main.py")
    return BundleStore(tmp_path_factory.mktemp("bundles"), agent=folder, level=1)


class Half:
    """The coordinator's half of one node's bring-up, with its real link."""

    def __init__(self, it: LinkLab, k: int, store: BundleStore) -> None:
        self.it, self.k = it, k
        self.reports: list[ProgressLine] = []
        self.plan = BringUpPlan("n", "e2e", store, self.files, self.link, self.heartbeat, lambda: 0)

    async def files(self, key: str, found: NodeProbe) -> list[HomeFile]:
        return [HomeFile("node.json", b"{}"), HomeFile("key/coordinator.pub", b"pub", 0o644)]

    async def link(self, found: NodeProbe) -> bool:
        if self.k not in self.it.states:
            await self.it.up(self.k)
        return False

    async def heartbeat(self, fresh: bool) -> None:
        return None

    async def up(self) -> NodeResult:
        async with self.it.remote(self.k) as node:
            return await bring_up(node, self.plan, self.reports.append)

    async def remove(self) -> NodeResult:
        async with self.it.remote(self.k) as node:
            return await bringup.take_out(node, self.plan, self.reports.append)


@pytest.mark.slow
def test_all_at_once_again_and_without_a_trace(healed: Lab, tmp_path: Path, store: BundleStore) -> None:
    """Takes more than 30 s on a loaded machine: three bundles are unpacked and compiled on three hosts."""
    healed.fault([3], "no-python")

    async def go() -> None:
        async with coordinator(healed, tmp_path) as it:
            before = {k: await it.back_door(k, LISTING) for k in (1, 2, 3)}
            halves = [Half(it, k, store) for k in (1, 2, 3)]
            one, two, three = await asyncio.gather(*(half.up() for half in halves))
            assert one.ok and two.ok, (one.problems, two.problems)
            assert halves[2].reports[-1].step == StepName.PROBE
            assert "CPython 3.11" in three.problems[0]["what"]
            assert await it.back_door(3, LISTING) == before[3]

            pids = [await it.back_door(k, f"cat {NODE_HOME}/run/agent.pid") for k in (1, 2)]
            for link in it.links:
                assert await passes(link, size=1000)
                await link.close()
            again = await asyncio.gather(*(half.up() for half in halves[:2]))
            assert [a.changed for a in again] == [(), ()]
            assert [await it.back_door(k, f"cat {NODE_HOME}/run/agent.pid") for k in (1, 2)] == pids
            alive = await it.back_door(1, "ps -eww -o user:10,args | grep -c '^ops .*[s]tart.py run'")
            assert alive.strip() == "1", "it outlives every SSH session"

            removed = await asyncio.gather(*(half.remove() for half in halves))
            assert all(r.ok for r in removed)
            assert {k: await it.back_door(k, LISTING) for k in (1, 2, 3)} == before

            async def alone() -> bool:
                left = await it.back_door(1, "ps -eww -o user:10,args | grep '^ops' | grep -v sshd")
                return left.strip() == ""

            await it.becomes(alone, "a process of the login user is left")

    asyncio.run(go())


@pytest.mark.slow
def test_a_reboot_needs_one_more_up(healed: Lab, tmp_path: Path, store: BundleStore) -> None:
    async def go() -> None:
        async with coordinator(healed, tmp_path) as it:
            half = Half(it, 1, store)
            assert (await half.up()).ok
            await it.links[0].close()
            await asyncio.to_thread(healed.poweroff, [1])
            await asyncio.to_thread(healed.boot, [1])
            half.reports.clear()
            out = await half.up()
            assert out.ok and out.changed == (StepName.START,), out
            assert [r.state for r in half.reports if r.step == StepName.BUNDLE][-1] == "skipped"
            assert (await half.remove()).ok

    asyncio.run(go())
