"""A link whose node comes in directly: no forward, a pointer with certificates, renewed by `repair`."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest

from pancode.fleet.ssh.errors import ConnectError, LinkFault
from pancode.fleet.ssh.link import LinkKind
from pancode.fleet.ssh.remote import Remote
from pancode.fleet.ssh.tunnel import Pass
from tests.integration.ssh.world import SshLab, talk, world

DAY_MS = 24 * 3600 * 1000
FIRST = Pass("10.0.0.5:7843", "CA\n", "ONE\n", 0, 20 * DAY_MS, 30 * DAY_MS)


class Way:
    """What the coordinator would give the node now; `trouble`: what the node finds when it tries."""

    def __init__(self, it: SshLab, now: Pass | None) -> None:
        self.now, self.trouble, self.tried = now, "", 0
        it.ends = replace(it.ends, direct=self.given, prove=self.prove)

    async def given(self) -> Pass | None:
        return self.now

    async def prove(self, _remote: Remote, _pointer: str, _by: Pass) -> None:
        self.tried += 1
        if self.trouble:
            raise ConnectError(LinkFault.NOT_DIRECT, self.trouble, fix="repair it")


def pointer(it: SshLab) -> dict[str, str]:
    shape: dict[str, str] = json.loads((it.home / "n/s/current").read_text())
    return shape


def test_it_changes_over_and_back_and_is_renewed(tmp_path: Path) -> None:
    async def go() -> None:
        async with world(tmp_path) as it:
            way, link = Way(it, None), it.link()
            link.start()
            assert (await link.wait([LinkKind.UP], 5)).up and pointer(it)["redis"].startswith("unix:")
            assert await link.repair() == ()
            way.now = FIRST
            assert await link.repair() == ("the direct link",)
            assert pointer(it) | {"generation": ""} == {
                "generation": "",
                "redis": "tls:10.0.0.5:7843",
                "depot": "tls:10.0.0.5:7843",
                "ca": "CA\n",
                "cert": "ONE\n",
            }
            folder = it.home / "n/s" / pointer(it)["generation"]
            assert [path.name for path in folder.iterdir()] == ["session"], "nothing is forwarded"
            way.now = replace(FIRST, cert="TWO\n", issued_ms=19 * DAY_MS)
            assert await link.repair() == () and pointer(it)["cert"] == "ONE\n"
            way.now = replace(FIRST, cert="TWO\n", issued_ms=20 * DAY_MS)
            assert await link.repair() == ("a renewed certificate",) and pointer(it)["cert"] == "TWO\n"
            way.now = None
            assert await link.repair() == ("the tunnels",) and pointer(it)["redis"].startswith("unix:")
            assert way.tried == 2
            await link.close()

    asyncio.run(go())


def test_a_tunnel_goes_on_where_the_direct_way_is_shut(tmp_path: Path) -> None:
    async def go() -> None:
        async with world(tmp_path) as it:
            way, link = Way(it, None), it.link()
            link.start()
            assert (await link.wait([LinkKind.UP], 5)).up
            before = pointer(it)
            way.now, way.trouble = FIRST, "it is shut"
            with pytest.raises(ConnectError, match="it is shut"):
                await link.repair()
            assert link.state.up and pointer(it) == before
            assert await talk(before["redis"], b"x") == b"X"
            way.now = None
            assert await link.repair() == () or pointer(it)["redis"].startswith("unix:")
            await link.close()

    asyncio.run(go())


def test_a_direct_way_that_is_shut_is_said_at_once_and_tried_again_when_asked(tmp_path: Path) -> None:
    async def go() -> None:
        async with world(tmp_path) as it:
            way, link = Way(it, FIRST), it.link()
            way.trouble = "it is shut"
            link.start()
            state = await link.settled(20)
            assert state.stuck and state.why == "it is shut" and not (it.home / "n/s/current").exists()
            way.trouble = ""
            link.poke()
            assert (await link.wait([LinkKind.UP], 20)).up and pointer(it)["redis"].startswith("tls:")
            await link.close()

    asyncio.run(go())
