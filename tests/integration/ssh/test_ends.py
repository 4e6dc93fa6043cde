"""The tunnel to Redis may lead to somebody else's server, on a TCP port that the coordinator reaches."""

from __future__ import annotations

import asyncio
from pathlib import Path

from pancode.fleet.ssh.link import LinkKind
from pancode.fleet.ssh.tunnel import TunnelTargets
from tests.integration.ssh.world import echo, talk, world


def test_bytes_pass_to_a_server_on_a_port(tmp_path: Path) -> None:
    async def go() -> None:
        async with world(tmp_path) as it:
            server = await asyncio.start_server(echo, "127.0.0.1", 0)
            host, port = server.sockets[0].getsockname()
            it.ends = TunnelTargets((host, port), it.ends.depot)
            link = it.link()
            link.start()
            assert (await link.wait([LinkKind.UP], 5)).up
            now = it.states[-1].generation
            assert now is not None and now.redis.startswith("unix:")
            for address in (now.redis, now.depot):
                assert await talk(address, b"x" * 300_000) == b"X" * 300_000
            await link.close()
            server.close()
            await server.wait_closed()

    asyncio.run(go())
