"""A link carries both tunnels, comes back after every fault that heals, stops at those that do not."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import stat
from dataclasses import replace
from pathlib import Path

import asyncssh
import pytest

from pancode.fleet.ssh.connection import Session
from pancode.fleet.ssh.errors import ConnectError, LinkFault, LinkLost
from pancode.fleet.ssh.home import LoopbackKeys, make_key
from pancode.fleet.ssh.link import LinkKind
from pancode.fleet.ssh.tunnel import Generation
from tests.crowd import crowded
from tests.integration.ssh.world import KEYS, SshLab, talk, world

SERVER = "pancode.fleet.ssh.loopback.server._Server"
UP = [LinkKind.UP]


def generation(it: SshLab) -> Generation:
    found = it.states[-1].generation
    assert found is not None
    return found


async def refused(address: str) -> bool:
    """Whether the other end shuts the listener: nothing comes back, or a reset does."""
    try:
        return await talk(address, b"x") == b""
    except OSError:
        return True


def test_bytes_pass_both_ways_through_both_tunnels(tmp_path: Path) -> None:
    async def go() -> None:
        async with world(tmp_path) as it:
            link = it.link()
            link.start()
            assert (await link.wait(UP, 5 * crowded())).up
            now = generation(it)
            for address in (now.redis, now.depot):
                assert await talk(address, b"x" * 300_000) == b"X" * 300_000
            back = await asyncio.gather(*(talk(now.redis, str(n).encode()) for n in range(20)))
            assert back == [str(n).encode() for n in range(20)]
            await link.close()
            assert [s.kind for s in it.states] == [LinkKind.UP, LinkKind.CLOSED]

    asyncio.run(go())


def test_folder_sockets_and_pointer_are_ours_alone(tmp_path: Path) -> None:
    async def go() -> None:
        async with world(tmp_path) as it:
            link = it.link()
            link.start()
            await link.wait(UP, 5 * crowded())
            now, s = generation(it), Path(it.where.pointer)
            modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in Path(now.folder).iterdir()}
            assert modes == {"redis.sock": 0o600, "depot.sock": 0o600, "session": 0o600}
            assert {stat.S_IMODE(p.stat().st_mode) for p in (s, Path(now.folder))} == {0o700}
            said = json.loads((s / "current").read_text())
            assert said == {"generation": now.name, "redis": now.redis, "depot": now.depot}
            await link.close()

    asyncio.run(go())


def test_a_cut_link_comes_back_as_a_new_generation(tmp_path: Path) -> None:
    async def go() -> None:
        async with world(tmp_path) as it:
            link = it.link()
            link.start()
            first = (await link.wait(UP, 5 * crowded())).generation
            for _ in range(3):
                await it.server.drop()
                assert (await link.wait([LinkKind.DOWN], 5 * crowded())).error is not None
                assert (await link.wait(UP, 5 * crowded())).up
            now = generation(it)
            assert first is not None and now.name != first.name
            assert await talk(now.redis, b"again") == b"AGAIN"
            assert [p.name for p in Path(it.where.sockets).iterdir() if p.is_dir()] == [now.name]
            await link.close()

    asyncio.run(go())


def test_a_dead_server_is_waited_for(tmp_path: Path) -> None:
    async def go() -> None:
        async with world(tmp_path) as it:
            port = it.server.port
            link = it.link()
            link.start()
            await link.wait(UP, 5 * crowded())
            await it.server.stop()
            await asyncio.sleep(0.3)
            with pytest.raises(LinkLost):
                await link.run(["true"], 1)
            faults = {s.error.fault for s in it.states if s.error}
            assert LinkFault.REFUSED in faults and LinkKind.STOPPED not in {s.kind for s in it.states}
            await it.server.start(port)
            assert (await link.wait(UP, 5 * crowded())).up
            assert (await link.run(["echo", "hi"], 5)).stdout == b"hi\n"
            await link.close()

    asyncio.run(go())


def test_a_frozen_server_is_noticed_by_keepalive(tmp_path: Path) -> None:
    async def go() -> None:
        async with world(tmp_path) as it:
            sockets: list[asyncio.Transport] = []

            async def dial() -> Session:
                session = await it.dial()
                sockets.append(session.conn._transport)  # type: ignore[arg-type]
                return session

            link = it.link(dial)
            link.start()
            await link.wait(UP, 5 * crowded())
            sockets[0].pause_reading()  # from here on nothing of the node arrives, as after a silent cut
            assert (await link.wait([LinkKind.DOWN], 5 * crowded())).error.fault is LinkFault.LOST  # type: ignore[union-attr]
            assert (await link.wait(UP, 5 * crowded())).up
            await link.close()

    asyncio.run(go())


def test_a_changed_key_stops_it_for_good(tmp_path: Path) -> None:
    async def go() -> None:
        async with world(tmp_path) as it:
            link = it.link()
            link.start()
            await link.wait(UP, 5 * crowded())
            await it.restart(LoopbackKeys(make_key(), KEYS.client))
            state = await link.wait([LinkKind.STOPPED], 5 * crowded())
            assert state.error is not None and state.error.fault is LinkFault.HOST_KEY_CHANGED
            dials = it.dials
            await asyncio.sleep(0.3)
            assert it.dials == dials
            await it.restart()
            link.start()  # after `node trust`
            assert (await link.wait(UP, 5 * crowded())).up
            await link.close()

    asyncio.run(go())


def test_a_refused_login_is_tried_once(tmp_path: Path) -> None:
    async def go() -> None:
        async with world(tmp_path) as it:
            link = it.link()
            await it.restart(LoopbackKeys(KEYS.host, make_key()))
            dialled = it.server
            it.server = type(dialled)(type(dialled.node)("desk", "me", dialled.node.home, KEYS))
            it.server.port = dialled.port
            link.start()
            state = await link.wait([LinkKind.STOPPED], 5 * crowded())
            assert state.error is not None and state.error.fault is LinkFault.LOGIN_REFUSED
            await asyncio.sleep(0.2)
            assert it.dials == 1
            await link.close()
            await dialled.stop()

    asyncio.run(go())


def test_without_unix_forwarding_loopback_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def go() -> None:
        async with world(tmp_path) as it:
            monkeypatch.setattr(f"{SERVER}.unix_server_requested", lambda s, p: False)
            link = it.link()
            link.start()
            await link.wait(UP, 5 * crowded())
            now = generation(it)
            assert now.redis.startswith("tcp:127.0.0.1:")
            assert await talk(now.redis, b"a") == b"A" and await talk(now.depot, b"b") == b"B"
            await link.close()

    asyncio.run(go())


def test_without_any_forwarding_it_says_so_and_heals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def go() -> None:
        async with world(tmp_path) as it:
            with monkeypatch.context() as patch:
                patch.setattr(f"{SERVER}.unix_server_requested", lambda s, p: False)
                patch.setattr(f"{SERVER}.server_requested", lambda s, h, p: False)
                link = it.link()
                link.start()
                state = await link.wait([LinkKind.DOWN], 5 * crowded())
                assert state.error is not None and state.error.fault is LinkFault.FORWARDING_REFUSED
                assert "AllowTcpForwarding" in state.error.fix
            assert (await link.wait(UP, 5 * crowded())).up
            await link.close()

    asyncio.run(go())


def test_a_home_that_is_not_ours_is_named(tmp_path: Path) -> None:
    async def go() -> None:
        async with world(tmp_path) as it:
            link = it.link()
            it.home.joinpath("n/s").write_text("a file where our folder should be")
            link.start()
            state = await link.wait([LinkKind.DOWN], 5 * crowded())
            assert state.error is not None and state.error.fault is LinkFault.HOME_UNUSABLE
            assert "n/s" in state.error.why
            it.home.joinpath("n/s").unlink()
            link.poke()
            assert (await link.wait(UP, 5 * crowded())).up
            await link.close()

    asyncio.run(go())


def test_a_try_that_began_before_a_change_says_nothing_to_who_made_it(tmp_path: Path) -> None:
    async def go() -> None:
        async with world(tmp_path) as it:
            began, changed = asyncio.Event(), asyncio.Event()

            async def dial() -> Session:
                if began.is_set():
                    return await it.dial()
                began.set()
                await changed.wait()
                raise ConnectError(LinkFault.HOME_UNUSABLE, "the home cannot be used")

            link = it.link(dial)
            link.start()
            await began.wait()
            link.poke()
            changed.set()
            assert (await link.settled(5 * crowded())).up
            assert [one.kind for one in it.states] == [LinkKind.UP]
            await link.close()

    asyncio.run(go())


def test_a_folder_planted_as_a_link_is_not_used(tmp_path: Path) -> None:
    async def go() -> None:
        async with world(tmp_path) as it:
            (tmp_path / "elsewhere").mkdir()
            link = it.link()
            (it.home / "n/s").symlink_to(tmp_path / "elsewhere")
            link.start()
            assert "not ours" in (await link.wait([LinkKind.DOWN], 5 * crowded())).why
            assert os.listdir(tmp_path / "elsewhere") == []
            await link.close()

    asyncio.run(go())


def test_the_ends_own_end_is_passed_on(tmp_path: Path) -> None:
    async def go() -> None:
        async with world(tmp_path) as it:
            assert isinstance(it.ends.redis, Path)
            it.ends.redis.unlink()
            link = it.link()
            link.start()
            await link.wait(UP, 5 * crowded())
            assert await refused(generation(it).redis)
            assert await talk(generation(it).depot, b"x") == b"X"
            await link.close()

    asyncio.run(go())


def test_this_machine_is_led_to_the_sockets_themselves(tmp_path: Path) -> None:
    async def go() -> None:
        async with world(tmp_path) as it:
            it.ends = replace(it.ends, near=True)
            link = it.link()
            link.start()
            await link.wait(UP, 5 * crowded())
            shown = [Path(path).readlink() for path in generation(it).sockets]
            assert shown == [it.ends.redis, it.ends.depot]
            assert await talk(generation(it).redis, b"x") == b"X" and await link.repair() == ()
            await link.close()

    asyncio.run(go())


def test_anything_unforeseen_is_retried_and_never_silent(tmp_path: Path) -> None:
    async def go() -> None:
        async with world(tmp_path) as it:
            errors = [asyncssh.ProtocolError("odd"), RuntimeError("bug"), OSError(113, "no route")]

            async def dial() -> Session:
                if errors:
                    raise errors.pop()
                return await it.dial()

            link = it.link(dial)
            link.start()
            assert (await link.wait(UP, 5 * crowded())).up
            assert [s.error.fault for s in it.states if s.error] == [
                LinkFault.UNREACHABLE,
                LinkFault.PROTOCOL,
                LinkFault.PROTOCOL,
            ]
            await link.close()
            await link.close()

    asyncio.run(go())


@pytest.mark.parametrize("gone", ["s", "s/current", "s/*/depot.sock", "s/*"])
def test_what_the_node_has_lost_of_the_tunnels_is_opened_anew(tmp_path: Path, gone: str) -> None:
    async def go() -> None:
        async with world(tmp_path) as it:
            link = it.link()
            link.start()
            first = (await link.wait(UP, 5 * crowded())).generation
            assert first is not None and await link.repair() == ()
            kept, writer = await asyncio.open_unix_connection(first.redis.removeprefix("unix:"))
            for path in list((it.home / "n").glob(gone)):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            missing = await link.repair()
            assert missing and all(path.startswith(str(it.home / "n/s/")) for path in missing)
            now = generation(it)
            assert now.name != first.name and it.dials == 1
            assert await talk(now.redis, b"again") == b"AGAIN" and await talk(now.depot, b"x") == b"X"
            writer.write(b"still")
            assert await kept.readexactly(5) == b"STILL", "who was connected stays connected"
            writer.close()
            said = json.loads((Path(it.where.pointer) / "current").read_text())
            assert said == {"generation": now.name, "redis": now.redis, "depot": now.depot}
            assert await link.repair() == ()
            await link.close()

    asyncio.run(go())


def test_without_unix_forwarding_a_lost_pointer_is_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def go() -> None:
        async with world(tmp_path) as it:
            monkeypatch.setattr(f"{SERVER}.unix_server_requested", lambda s, p: False)
            link = it.link()
            link.start()
            first = (await link.wait(UP, 5 * crowded())).generation
            shutil.rmtree(it.where.pointer)
            assert await link.repair() != ()
            now = generation(it)
            assert now.redis.startswith("tcp:") and await talk(now.redis, b"a") == b"A"
            assert first is not None and await refused(first.redis), "the old port is given back"
            await link.close()

    asyncio.run(go())


def test_tunnels_that_cannot_be_opened_anew_are_dialled_until_they_can(tmp_path: Path) -> None:
    async def go() -> None:
        async with world(tmp_path) as it:
            link = it.link()
            link.start()
            await link.wait(UP, 5 * crowded())
            shutil.rmtree(it.home / "n")
            with pytest.raises(ConnectError) as caught:
                await link.repair()
            assert caught.value.fault is LinkFault.HOME_UNUSABLE
            await link.wait([LinkKind.DOWN], 5 * crowded())
            assert not (it.home / "n").exists(), "a link makes no home: it would be nobody's"
            (it.home / "n").mkdir(mode=0o700)
            assert (await link.wait(UP, 5 * crowded())).up and await talk(generation(it).depot, b"b") == b"B"
            with pytest.raises(LinkLost):
                await link.close()
                await link.repair()

    asyncio.run(go())


def test_closing_while_it_dials_leaves_nothing(tmp_path: Path) -> None:
    async def go() -> None:
        async with world(tmp_path) as it:
            for pause in (0, 0.005, 0.02, 0.05):
                link = it.link()
                link.start()
                await asyncio.sleep(pause)
                await link.close()
            await asyncio.sleep(0.1)
            assert it.server._live == set()

    asyncio.run(go())


def test_closing_is_heeded_though_the_library_swallows_it(tmp_path: Path) -> None:
    """As asyncssh does at one point of connecting."""

    async def go() -> None:
        async with world(tmp_path) as it:
            inside = asyncio.Event()

            async def dial() -> Session:
                session = await it.dial()
                with contextlib.suppress(asyncio.CancelledError):
                    inside.set()
                    await asyncio.sleep(30)
                return session

            link = it.link(dial)
            link.start()
            await inside.wait()
            await asyncio.wait_for(link.close(), 5)
            assert [s.kind for s in it.states] == [LinkKind.CLOSED]

    asyncio.run(go())
