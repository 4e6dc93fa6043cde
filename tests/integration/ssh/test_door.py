"""What passes through a tunnel: so many connections of one node at once, and no more."""

from __future__ import annotations

import asyncio
from pathlib import Path

from pancode.adapters.ssh.door import MOST
from pancode.adapters.ssh.link import LinkKind
from tests.integration.ssh.test_link import generation, refused
from tests.integration.ssh.world import talk, world

UP = [LinkKind.UP]


def test_a_node_has_so_many_connections_and_no_more(tmp_path: Path) -> None:
    async def go() -> None:
        async with world(tmp_path) as it:
            link = it.link()
            link.start()
            assert (await link.wait(UP, 5)).up
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
