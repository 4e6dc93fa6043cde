"""What passes through a tunnel: so many connections of one node at once, and no more."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from pancode.fleet.ssh.connection_limit import MOST, LimitedForward
from pancode.fleet.ssh.forward_targets import TlsEnd
from pancode.fleet.ssh.link import LinkKind
from pancode.queue.valkey.access import TlsFiles
from tests.contract.certificates import Authority
from tests.crowd import crowded
from tests.integration.ssh.test_link import generation, refused
from tests.integration.ssh.world import talk, world

UP = [LinkKind.UP]


def test_a_node_has_so_many_connections_and_no_more(tmp_path: Path) -> None:
    async def go() -> None:
        async with world(tmp_path) as it:
            link = it.link()
            link.start()
            assert (await link.wait(UP, 5 * crowded())).up
            path = generation(it).redis.removeprefix("unix:")
            lines = [await asyncio.open_unix_connection(path) for _ in range(MOST)]
            for reader, writer in lines:
                writer.write(b"x")
                assert await asyncio.wait_for(reader.read(1), 5) == b"X"
            assert await refused(generation(it).redis)
            assert await talk(generation(it).depot, b"y") == b"Y", "each end has its own"
            for _, writer in lines:
                writer.close()
            for _ in range(100):
                if not await refused(generation(it).redis):
                    break
                await asyncio.sleep(0.05)
            assert await talk(generation(it).redis, b"z") == b"Z"
            await link.close()

    asyncio.run(go())


def test_a_connection_that_nobody_took_is_closed(tmp_path: Path) -> None:
    """The SSH connection may end while its end here is being opened."""

    async def go() -> None:
        ended = asyncio.Event()

        async def until_closed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()
            ended.set()

        server = await asyncio.start_unix_server(until_closed, str(tmp_path / "s"))
        await LimitedForward(tmp_path / "s").enter()
        await asyncio.wait_for(ended.wait(), 5)
        server.close()
        await server.wait_closed()

    asyncio.run(go())


def test_a_node_reaches_a_server_that_wants_tls_without_speaking_it(tmp_path: Path) -> None:
    """Whichever side ends a connection, the link continues; a certificate of another host ends it."""
    authority = Authority(tmp_path / "ca")
    here, other = authority.issue("here", "127.0.0.1"), authority.issue("other", "10.9.9.9")

    async def go() -> None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(here.cert, here.key)
        server = await asyncio.start_server(_shout, "127.0.0.1", 0, ssl=context)
        port = server.sockets[0].getsockname()[1]
        end = TlsEnd("127.0.0.1", port, TlsFiles(authority.ca).context)
        async with world(tmp_path) as it:
            it.ends = replace(it.ends, redis=end)
            link = it.link()
            link.start()
            assert (await link.wait(UP, 5 * crowded())).up
            path = generation(it).redis.removeprefix("unix:")
            for bye in (b"", b"bye\n"):
                reader, writer = await asyncio.open_unix_connection(path)
                writer.write(b"hello\n")
                assert await asyncio.wait_for(reader.readline(), 5) == b"HELLO\n"
                writer.write(bye) if bye else writer.write_eof()
                assert await asyncio.wait_for(reader.read(), 5) == b""
                writer.close()
            context.load_cert_chain(other.cert, other.key)
            assert await refused(generation(it).redis)
            assert await talk(generation(it).depot, b"y") == b"Y"
            assert it.dials == 1, "the link has lasted"
            await link.close()
        server.close()
        await server.wait_closed()

    asyncio.run(go())


async def _shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Lines back in upper case, until one of them is `bye`."""
    with suppress(OSError):
        while (line := await reader.readline()) not in (b"", b"bye\n"):
            writer.write(line.upper())
        writer.close()
        await writer.wait_closed()
