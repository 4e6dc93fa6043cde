"""A link whose server forbids forwarding: a real program on the node, one SSH session for all connections."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from node_agent.wire.frames import WINDOW
from pancode.fleet.ssh.connection_limit import MOST
from pancode.fleet.ssh.errors import LinkFault
from pancode.fleet.ssh.link import Link, LinkKind
from pancode.fleet.ssh.remote import Remote
from pancode.fleet.ssh.steps import NodeLocation
from tests.architecture.sources import ROOT
from tests.crowd import crowded
from tests.integration.ssh.test_link import SERVER, UP, generation, refused
from tests.integration.ssh.world import SshLab, talk, world


@pytest.fixture(autouse=True)
def _no_forwarding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{SERVER}.unix_server_requested", lambda s, p: False)
    monkeypatch.setattr(f"{SERVER}.server_requested", lambda s, h, p: False)


def command(it: SshLab) -> tuple[str, ...]:
    """The node's end as a link starts it, from a bundle whose `lib` is this tree."""
    home = it.home / "n"
    (home / "current").mkdir(parents=True, exist_ok=True)
    if not (home / "current/lib").exists():
        (home / "current/lib").symlink_to(ROOT)
    return NodeLocation("f", str(it.home), str(home), 0).tunnel_command(sys.executable)


def carried(it: SshLab) -> None:
    async def program(_: Remote) -> Sequence[str]:
        return command(it)

    it.ends = replace(it.ends, program=program)


@asynccontextmanager
async def session_link(folder: Path) -> AsyncIterator[tuple[SshLab, Link]]:
    async with world(folder) as it:
        carried(it)
        link = it.link()
        link.start()
        state = await link.wait([LinkKind.UP, LinkKind.DOWN], 20 * crowded())
        assert state.up, state.why
        yield it, link
        await link.close()


def programs(it: SshLab) -> list[int]:
    """The node's ends that run."""
    found = subprocess.run(
        ["pgrep", "-f", f"^{sys.executable} .*{it.home}/n/current/lib"], capture_output=True, text=True
    )
    return [int(pid) for pid in found.stdout.split()]


async def none_runs(it: SshLab) -> None:
    for _ in range(int(100 * crowded())):
        if not programs(it):
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"still there: {programs(it)}")


async def few_threads(pid: int) -> None:
    """The main one, one for each of two sockets, and two for the only connection."""
    for _ in range(int(100 * crowded())):
        if len(os.listdir(f"/proc/{pid}/task")) == 5:
            return
        await asyncio.sleep(0.05)
    raise AssertionError("a socket of before is still listened at")


def test_bytes_pass_both_ways_as_through_forwards(tmp_path: Path) -> None:
    async def go() -> None:
        async with session_link(tmp_path) as (it, link):
            now = generation(it)
            assert now.redis.startswith("unix:")
            said = json.loads((Path(it.where.pointer) / "current").read_text())
            assert said == {"generation": now.name, "redis": now.redis, "depot": now.depot}
            for address in (now.redis, now.depot):  # each ends its half before it reads, as git does
                assert await talk(address, b"x" * 3_000_000) == b"X" * 3_000_000
            back = await asyncio.gather(*(talk(now.redis, str(n).encode()) for n in range(20)))
            assert back == [str(n).encode() for n in range(20)]
            assert len(programs(it)) == 1 and await link.repair() == ()
            await link.close()
            await none_runs(it)

    asyncio.run(go())


def test_who_does_not_read_holds_up_nobody_else_and_gets_all_in_the_end(tmp_path: Path) -> None:
    async def go() -> None:
        async with session_link(tmp_path) as (it, _):
            now, size = generation(it), 6 * WINDOW
            reader, writer = await asyncio.open_unix_connection(now.depot.removeprefix("unix:"))
            sending = asyncio.create_task(_send_all(writer, size))
            await asyncio.sleep(0.3)
            assert not sending.done(), "what nobody reads is not taken"
            assert await talk(now.redis, b"y" * 300_000) == b"Y" * 300_000
            got = 0
            while data := await asyncio.wait_for(reader.read(1 << 16), 20 * crowded()):
                got += len(data)
            await sending
            assert got == size
            writer.close()

    asyncio.run(go())


async def _send_all(writer: asyncio.StreamWriter, size: int) -> None:
    for _ in range(size // (1 << 14)):
        writer.write(b"x" * (1 << 14))
        await writer.drain()
    writer.write_eof()


def test_either_side_s_end_is_passed_on(tmp_path: Path) -> None:
    async def go() -> None:
        ended, shut = asyncio.Event(), asyncio.Event()

        async def send_for_ever(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                while True:
                    writer.write(bytes(1 << 16))
                    await writer.drain()
            except OSError:
                ended.set()

        async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readexactly(1)
            writer.write(b"bye")
            writer.close()
            shut.set()

        async with world(tmp_path) as it:
            carried(it)
            ends = [
                await asyncio.start_unix_server(serve, str(tmp_path / name))
                for serve, name in ((send_for_ever, "r2"), (hang_up, "d2"))
            ]
            it.ends = replace(it.ends, redis=tmp_path / "r2", depot=tmp_path / "d2")
            link = it.link()
            link.start()
            assert (await link.wait(UP, 20 * crowded())).up
            reader, writer = await asyncio.open_unix_connection(generation(it).redis.removeprefix("unix:"))
            await reader.readexactly(1 << 16)
            writer.close()  # while the service still sends
            await asyncio.wait_for(ended.wait(), 10 * crowded())
            reader, writer = await asyncio.open_unix_connection(generation(it).depot.removeprefix("unix:"))
            writer.write(b"x")
            assert await asyncio.wait_for(reader.read(), 10 * crowded()) == b"bye"
            with pytest.raises(OSError):  # a writer whose reader has gone is told
                for _ in range(1000):
                    writer.write(bytes(1 << 16))
                    await asyncio.wait_for(writer.drain(), 10 * crowded())
            for one in ends:
                one.close()
            (tmp_path / "d2").unlink(missing_ok=True)
            assert await refused(generation(it).depot)
            await link.close()

    asyncio.run(go())


def test_a_node_has_so_many_connections_and_no_more(tmp_path: Path) -> None:
    async def go() -> None:
        async with session_link(tmp_path) as (it, _):
            path = generation(it).redis.removeprefix("unix:")
            lines = [await asyncio.open_unix_connection(path) for _ in range(MOST)]
            for reader, writer in lines:
                writer.write(b"x")
                assert await asyncio.wait_for(reader.read(1), 10 * crowded()) == b"X"
            assert await refused(generation(it).redis)
            assert await talk(generation(it).depot, b"y") == b"Y"
            for _, writer in lines:
                writer.close()
            for _ in range(100):
                if not await refused(generation(it).redis):
                    break
                await asyncio.sleep(0.05)
            assert await talk(generation(it).redis, b"z") == b"Z"

    asyncio.run(go())


def test_a_cut_and_a_killed_program_are_noticed_and_the_link_comes_back(tmp_path: Path) -> None:
    async def go() -> None:
        async with session_link(tmp_path) as (it, link):
            first = generation(it)
            await it.server.drop()
            assert (await link.wait([LinkKind.DOWN], 5 * crowded())).error is not None
            assert (await link.wait(UP, 20 * crowded())).up
            for pid in programs(it):
                os.kill(pid, signal.SIGKILL)
            state = await link.wait([LinkKind.DOWN], 5 * crowded())
            assert state.error is not None and "the tunnel in the SSH session has ended" in state.why
            assert (await link.wait(UP, 20 * crowded())).up
            now = generation(it)
            assert now.name != first.name and await talk(now.redis, b"again") == b"AGAIN"
            assert [p.name for p in Path(it.where.sockets).iterdir() if p.is_dir()] == [now.name]
            assert len(programs(it)) == 1

    asyncio.run(go())


@pytest.mark.parametrize("gone", ["s/current", "s/*/depot.sock", "s/*"])
def test_what_the_node_has_lost_is_opened_anew_for_those_who_come(tmp_path: Path, gone: str) -> None:
    async def go() -> None:
        async with session_link(tmp_path) as (it, link):
            first = generation(it)
            kept, writer = await asyncio.open_unix_connection(first.redis.removeprefix("unix:"))
            writer.write(b"x")
            assert await kept.readexactly(1) == b"X"
            for path in list((it.home / "n").glob(gone)):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            assert await link.repair()
            now = generation(it)
            assert now.name != first.name and it.dials == 1 and len(programs(it)) == 1
            assert await talk(now.redis, b"again") == b"AGAIN" and await talk(now.depot, b"x") == b"X"
            writer.write(b"still")
            assert await kept.readexactly(5) == b"STILL", "who was connected stays connected"
            await few_threads(programs(it)[0])
            writer.close()

    asyncio.run(go())


def test_a_node_agent_without_the_program_is_told_and_forwarding_is_used_as_soon_as_it_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def go() -> None:
        async with world(tmp_path) as it:
            carried(it)
            link = it.link()
            command(it)
            lib = it.home / "n/current/lib"
            lib.unlink()
            lib.mkdir()  # as a bundle of 0.1.0, which has no such module
            link.start()
            state = await link.wait([LinkKind.DOWN], 20 * crowded())
            assert state.error is not None and state.error.fault is LinkFault.FORWARDING_REFUSED
            assert state.stuck and "No module named" in state.why, state.why
            assert state.error.fix_at("desk").startswith("pancode fleet up desk")
            lib.rmdir()
            link.poke()
            assert (await link.wait(UP, 20 * crowded())).up and len(programs(it)) == 1
            monkeypatch.undo()
            await it.server.drop()
            await link.wait([LinkKind.DOWN], 5 * crowded())
            assert (await link.wait(UP, 20 * crowded())).up
            await none_runs(it)
            assert await talk(generation(it).depot, b"x") == b"X"
            await link.close()

    asyncio.run(go())
