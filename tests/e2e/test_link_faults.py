"""Real hosts lose their link, power, processes and keys: the tunnels come back, or stop with the reason."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from pancode.fleet.ssh.errors import LinkFault, LinkLost
from pancode.fleet.ssh.link import LinkKind
from tests.crowd import crowded
from tests.e2e.link_lab import DOWN, NODE_HOME, STOPPED, UP, coordinator, generation, passes
from tests.lab import Lab

pytestmark = pytest.mark.bare_hosts


def test_three_hosts_at_once_and_bytes_both_ways(lab: Lab, tmp_path: Path) -> None:
    async def go() -> None:
        async with coordinator(lab, tmp_path) as it:
            links = await it.up(1, 2, 3)
            assert all(await asyncio.gather(*(passes(link) for link in links)))
            modes = await it.back_door(
                1, f"stat -c '%a %U %F' {NODE_HOME}/s {generation(links[0]).folder}/*.sock"
            )
            assert modes.splitlines() == ["700 ops directory", "600 ops socket", "600 ops socket"]
            assert generation(links[0]).name in await it.back_door(1, f"cat {NODE_HOME}/s/current")

    asyncio.run(go())


def test_tunnels_whose_files_were_removed_are_opened_anew_on_the_same_session(
    healed: Lab, tmp_path: Path
) -> None:
    async def go() -> None:
        async with coordinator(healed, tmp_path) as it:
            (link,) = await it.up(1)
            for gone in ("s", "s/current", "s/*/redis.sock"):
                before = generation(link).name
                await it.back_door(1, f"rm -rf {NODE_HOME}/{gone}")
                assert await link.repair() != () and await link.repair() == ()
                assert generation(link).name != before and await passes(link)
            assert (it.dials, [s.kind for s in it.states[1]]) == (1, [LinkKind.UP] * 4)

    asyncio.run(go())


@pytest.mark.slow
@pytest.mark.parametrize("how", ["silent", "unplug"])
def test_a_cut_link_comes_back_and_its_stale_session_is_ended(healed: Lab, tmp_path: Path, how: str) -> None:
    async def go() -> None:
        async with coordinator(healed, tmp_path) as it:
            (link,) = await it.up(1)
            first = generation(link)
            running = asyncio.ensure_future(link.run(["sleep", "20"], 30))
            await asyncio.sleep(0.3)
            await asyncio.to_thread(healed.drop, [1], how)
            assert (await link.wait(DOWN, 10 * crowded())).kind is LinkKind.DOWN
            with pytest.raises(LinkLost):
                await running
            with pytest.raises(LinkLost):
                await link.run(["true"], 5)
            await asyncio.to_thread(healed.heal, [1])
            assert (await link.wait(UP, 15 * crowded())).up
            assert generation(link).name != first.name and await passes(link)
            await it.becomes(lambda: it.one_session(1), "the stale session lives on")
            folders = await it.back_door(1, f"ls {NODE_HOME}/s")
            assert (
                folders.split() == sorted([generation(link).name, "current"], key=str.lower)
                or len(folders.split()) == 2
            )

    asyncio.run(go())


def test_a_stopped_listener_does_not_end_a_live_link(healed: Lab, tmp_path: Path) -> None:
    async def go() -> None:
        async with coordinator(healed, tmp_path) as it:
            (link,) = await it.up(1)
            await asyncio.to_thread(healed.sshd, [1], "stop")
            await asyncio.sleep(1.5)
            assert link.state.up and await passes(link)
            late = it.link(1)
            state = await late.wait(DOWN, 5 * crowded())
            assert state.error is not None and state.error.fault is LinkFault.REFUSED
            await asyncio.to_thread(healed.sshd, [1], "start")
            assert (await late.wait(UP, 10 * crowded())).up

    asyncio.run(go())


def test_a_coordinator_that_comes_back_ends_what_its_last_life_left(healed: Lab, tmp_path: Path) -> None:
    """The last life's connection is still open on the node: nothing told it that it is over."""

    async def go() -> None:
        async with coordinator(healed, tmp_path) as it:
            (link,) = await it.up(1)
            remote = link.remote()
            assert link._task is not None
            again = it.link(1)
            assert (await again.wait(UP, 10 * crowded())).up
            assert (await link.wait(DOWN, 5 * crowded())).kind is LinkKind.DOWN and remote.conn.is_closed()
            await link.close()
            assert await passes(again)

    asyncio.run(go())


def test_a_changed_host_key_stops_the_link_with_both_fingerprints(healed: Lab, tmp_path: Path) -> None:
    async def go() -> None:
        async with coordinator(healed, tmp_path) as it:
            old = it.pins(2)[it.target(2).endpoint]
            (link,) = await it.up(2)
            await asyncio.to_thread(healed.rekey, [2], True)
            await it.back_door(2, "pkill -u ops sshd")
            state = await link.wait(STOPPED, 10 * crowded())
            assert state.error is not None and state.error.fault is LinkFault.HOST_KEY_CHANGED
            new = it.pins(2)[it.target(2).endpoint]
            assert old.fingerprint in state.error.why and new.fingerprint in state.error.why
            assert "pancode node trust node2" in state.error.fix
            assert (await it.up(2))[0].state.up

    asyncio.run(go())


@pytest.mark.slow
def test_a_slow_and_lossy_link_stays_up(healed: Lab, tmp_path: Path) -> None:
    async def go() -> None:
        async with coordinator(healed, tmp_path) as it:
            (link,) = await it.up(1)
            await asyncio.to_thread(lambda: healed.slow([1], delay=60, loss=1))
            assert await passes(link, size=100_000) and link.state.up
            assert [s.kind for s in it.states[1]] == [LinkKind.UP]

    asyncio.run(go())
