"""The driver's end of the channel to our program: one line of JSON for each message.

Standard library only: it is run by the Python of an environment that is not ours.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable
from itertools import count
from typing import Any

from node_agent.native.secrecy import hide


class Channel:
    """Takes standard output for itself: what an SDK prints goes where errors go.

    The model's key comes by this line: before it does, this process is closed to those who look into it.
    """

    def __init__(self) -> None:
        hide()
        self._out = os.dup(1)
        os.dup2(2, 1)
        self._numbers = count(1)
        self._waiting: dict[int, asyncio.Future[str]] = {}
        self._words: asyncio.Queue[str | None] = asyncio.Queue()
        self.cancel: Callable[[], object] | None = None
        """What ends the turn at work; None: there is none."""

    def first(self) -> dict[str, Any]:
        """All but the words of people: the first line that comes."""
        spec: dict[str, Any] = json.loads(sys.stdin.buffer.readline())
        return spec

    def tell(self, kind: str, **fields: object) -> None:
        """Say it, and wait for nothing."""
        data = json.dumps({"kind": kind, **fields}).encode() + b"\n"
        while data:
            data = data[os.write(self._out, data) :]

    async def ask(self, kind: str, **fields: object) -> str:
        """Say it, and wait for the answer."""
        loop = asyncio.get_running_loop()
        number, answer = next(self._numbers), loop.create_future()
        self._waiting[number] = answer
        self.tell(kind, number=number, **fields)
        return str(await answer)

    async def turns(self) -> AsyncIterator[str]:
        """The words of each turn, until no more of them will come."""
        while (words := await self._words.get()) is not None:
            yield words

    def listen(self) -> None:
        """Answers and words come from now on. When nobody is there any more this process ends."""
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._hear, args=(loop,), name="line", daemon=True).start()

    def _hear(self, loop: asyncio.AbstractEventLoop) -> None:
        for line in sys.stdin.buffer:
            loop.call_soon_threadsafe(self._take, json.loads(line))
        if os.getpgrp() == os.getpid():  # what the SDK has started may be waiting for its model
            os.killpg(0, signal.SIGKILL)
        os._exit(1)

    def _take(self, message: dict[str, Any]) -> None:
        if "words" in message:
            self._words.put_nowait(message["words"])
        elif "cancel" not in message:
            self._answered(message["number"], message["text"])
        elif self.cancel is not None:
            self.cancel()
            for number in list(self._waiting):  # behind the cancel, or the model would be asked once more
                self._answered(number, message["cancel"])

    def _answered(self, number: int, text: str) -> None:
        waiting = self._waiting.pop(number, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(text)
