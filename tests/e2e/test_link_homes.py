"""Hosts with talking shells, bad disks and missing programs: what works there works, the rest is named."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from pancode.fleet.ssh.errors import LinkFault, TransferFailed
from pancode.fleet.ssh.probe import HomeState, probe_node
from pancode.fleet.ssh.readiness import find_unready, list_platforms, select_blocking
from tests.crowd import crowded
from tests.e2e.link_lab import DOWN, NODE_HOME, UP, coordinator, generation, passes
from tests.lab import Lab

pytestmark = pytest.mark.bare_hosts


@pytest.mark.parametrize("fault", ["noisy-shell", "plain-shell"])
def test_any_shell_will_do(healed: Lab, tmp_path: Path, fault: str) -> None:
    healed.fault([1], fault)

    async def go() -> None:
        async with coordinator(healed, tmp_path) as it:
            (link,) = await it.up(1)
            assert await passes(link)
            found = await probe_node(link.remote(), "e2e")
            assert found.hostname == "node1" and found.user == "ops" and found.node_home == NODE_HOME
            done = await link.remote().run(("sh", "-c", "echo out; echo err >&2; exit 3"), 10)
            assert (done.status, done.stdout, done.stderr) == (3, b"out\n", b"err\n")
            await link.put(f"{NODE_HOME}/x", b"data")
            assert await it.back_door(1, f"cat {NODE_HOME}/x") == "data"

    asyncio.run(go())


def test_what_a_whole_host_says(lab: Lab, tmp_path: Path) -> None:
    async def go() -> None:
        async with coordinator(lab, tmp_path) as it, it.remote(2) as node:
            before = await it.back_door(2, "ls -lA /home/ops")
            found = await probe_node(node, "e2e")
            assert (found.uid, found.home) == (lab.hosts[2]["uid"], "/home/ops")
            assert select_blocking(find_unready(found)) == () and list_platforms(found)
            assert not found.services_usable and found.agent == "absent"
            assert await it.back_door(2, "ls -lA /home/ops") == before

    asyncio.run(go())


@pytest.mark.parametrize(
    ("fault", "state", "code"),
    [
        ("readonly-home", HomeState.READ_ONLY, "home"),
        ("noexec-home", HomeState.NOEXEC, "home"),
        ("disk-full", HomeState.FULL, "disk"),
        ("no-python", HomeState.OK, "python"),
    ],
)
def test_what_is_wrong_is_named_with_its_fix(
    healed: Lab, tmp_path: Path, fault: str, state: HomeState, code: str
) -> None:
    healed.fault([3], fault)

    async def go() -> None:
        async with coordinator(healed, tmp_path) as it, it.remote(3) as node:
            found = await probe_node(node, "e2e")
            assert found.home_state is state
            assert [p.code for p in select_blocking(find_unready(found))] == [code]
            assert all(p.fix for p in select_blocking(find_unready(found)))

    asyncio.run(go())


def test_a_home_that_turns_read_only(healed: Lab, tmp_path: Path) -> None:
    async def go() -> None:
        async with coordinator(healed, tmp_path) as it:
            it.make_home(2)
            await asyncio.to_thread(healed.fault, [2], "readonly-home")
            link = it.link(2)
            state = await link.wait(DOWN, 10 * crowded())
            assert state.error is not None and state.error.fault is LinkFault.HOME_UNUSABLE
            assert "Read-only" in state.error.why
            await asyncio.to_thread(healed.fault, [2], "readonly-home", False)
            assert (await link.wait(UP, 10 * crowded())).up and await passes(link)

    asyncio.run(go())


def test_a_full_disk_keeps_the_link_and_refuses_files_cleanly(healed: Lab, tmp_path: Path) -> None:
    async def go() -> None:
        async with coordinator(healed, tmp_path) as it:
            (link,) = await it.up(2)
            await link.put(f"{NODE_HOME}/f", b"old")
            await asyncio.to_thread(healed.fault, [2], "disk-full")
            for size in (10, 3 << 20):
                with pytest.raises(TransferFailed, match="no space"):
                    await link.put(f"{NODE_HOME}/f", b"n" * size)
            assert await it.back_door(2, f"cat {NODE_HOME}/f") == "old"
            assert await it.back_door(2, f"ls {NODE_HOME}") == "f\ns\n"
            assert link.state.up and await passes(link)
            before = generation(link)
            await it.back_door(2, "pkill -u ops sshd")
            await link.wait(DOWN, 5 * crowded())
            await asyncio.sleep(1)
            await asyncio.to_thread(healed.fault, [2], "disk-full", False)
            assert (
                (await link.wait(UP, 10 * crowded())).up and generation(link) != before and await passes(link)
            )

    asyncio.run(go())
