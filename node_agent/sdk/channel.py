"""The driver's end of the channel to PanCode's program: one line of JSON for each message. Standard library
only, since it runs on the Python of an environment that PanCode does not control."""

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

from node_agent.native.secrecy import hide_memory


class Channel:
    """The channel to the program that started the driver. Takes over standard output, so an SDK's output goes
    to standard error. Hides this process from other processes first, since the model's key arrives here."""

    def __init__(self) -> None:
        hide_memory()
        self._out = os.dup(1)
        os.dup2(2, 1)
        self._numbers = count(1)
        self._waiting: dict[int, asyncio.Future[str]] = {}
        self._words: asyncio.Queue[str | None] = asyncio.Queue()
        self.cancel: Callable[[], object] | None = None
        """Cancels the current turn; None between turns."""

    def first(self) -> dict[str, Any]:
        """Return the first line: the whole spec of the run, without users' messages."""
        spec: dict[str, Any] = json.loads(sys.stdin.buffer.readline())
        return spec

    def tell(self, kind: str, **fields: object) -> None:
        """Send a message without waiting for an answer."""
        data = json.dumps({"kind": kind, **fields}).encode() + b"\n"
        while data:
            data = data[os.write(self._out, data) :]

    async def ask(self, kind: str, **fields: object) -> str:
        """Send a message and return the answer to it."""
        loop = asyncio.get_running_loop()
        number, answer = next(self._numbers), loop.create_future()
        self._waiting[number] = answer
        self.tell(kind, number=number, **fields)
        return str(await answer)

    async def turns(self) -> AsyncIterator[str]:
        """Yield the message of each turn, until the other end ends the run."""
        while (words := await self._words.get()) is not None:
            yield words

    def listen(self) -> None:
        """Receive answers and messages from now on. If the other end closes the channel, the process ends."""
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._hear, args=(loop,), name="line", daemon=True).start()

    def _hear(self, loop: asyncio.AbstractEventLoop) -> None:
        for line in sys.stdin.buffer:
            loop.call_soon_threadsafe(self._take, json.loads(line))
        if os.getpgrp() == os.getpid():  # processes that the SDK started may be waiting for its model
            os.killpg(0, signal.SIGKILL)
        os._exit(1)

    def _take(self, message: dict[str, Any]) -> None:
        if "words" in message:
            self._words.put_nowait(message["words"])
        elif "cancel" not in message:
            self._take_answer(message["number"], message["text"])
        elif self.cancel is not None:
            self.cancel()
            # only after the cancel, since the SDK would otherwise call the model again
            for number in list(self._waiting):
                self._take_answer(number, message["cancel"])

    def _take_answer(self, number: int, text: str) -> None:
        waiting = self._waiting.pop(number, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(text)
