"""Asks a model and times its answer; a late answer is abandoned, which frees the server's slot."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import aclosing
from typing import Any
from urllib.parse import urlsplit

from node_agent.chat.client import Server as Address
from node_agent.chat.client import events
from node_agent.chat.dialect import Trouble
from node_agent.link.trusting import believing
from node_agent.passport.replies import Reply, Timed
from node_agent.passport.servers import ExamServer, ServerUnreachable
from node_agent.wire.clock import Clock

CONNECT_S = 2.0
MOST_BYTES = 8 << 20


class HttpChat:
    """A connection for each question."""

    def __init__(self, server: ExamServer, clock: Clock) -> None:
        self._server, self._clock = server, clock

    def ask(self, body: Mapping[str, Any], ms: int) -> Reply:
        timed = Timed()
        try:
            asyncio.run(self._asked(body, ms, timed))
            return timed.reply()
        except TimeoutError:
            return timed.reply(late=True)
        except Trouble as trouble:
            if not trouble.reached:
                raise ServerUnreachable(f"{urlsplit(self._server.url).netloc} {trouble}") from trouble
            return timed.reply(trouble=trouble)
        except OSError as exc:
            raise ServerUnreachable(f"{self._server.ca} is no file of an authority: {exc}") from exc

    async def _asked(self, body: Mapping[str, Any], ms: int, timed: Timed) -> None:
        began, server = self._clock.mono_ms(), self._server
        tls = believing(server.ca) if server.url.startswith("https:") else None
        address = Address(f"{server.url.rstrip('/')}/v1", server.key, tls, CONNECT_S)
        async with asyncio.timeout(ms / 1000), aclosing(events(address, body, MOST_BYTES)) as coming:
            async for event in coming:
                timed.take(event, self._clock.mono_ms() - began)
