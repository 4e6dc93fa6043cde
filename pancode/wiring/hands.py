"""Acts on machines over SSH: all machines at once, on each machine one action after the other."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, assert_never

from pancode.control.faces import NodeResult, Progress, ProgressLine
from pancode.core.records import Node
from pancode.errors import NotFoundError
from pancode.fleet.ports import ActRequest, LinkEvents, MachineAct, unwatched
from pancode.nodes.node import NodeState
from pancode.wiring.bringup import BringUp, problem_of
from pancode.wiring.links import Links
from pancode.wiring.loop import LoopThread

KEEP_S = 30
One = Callable[[Node, Progress, str | None], Coroutine[Any, Any, NodeResult]]


class SshHands:
    """pancode.fleet.ports.Hands: SSH runs in the loop's thread."""

    def __init__(self, bringup: BringUp, links: Links, loop: LoopThread) -> None:
        self._bringup, self._links, self._loop = bringup, links, loop
        self.tend_ms = int(links.settings.tend_s * 1000)
        self._turns: dict[str, asyncio.Lock] = {}

    def begin(self, events: LinkEvents) -> None:
        self._links.events = events
        self._tending = self._loop.begin(self._links.tend())

    def close(self) -> None:
        self._loop.call(self._links.close(), KEEP_S)

    def keep(self, name: str) -> None:
        self._loop.call(self._links.keep(name), KEEP_S)

    def leave(self, name: str) -> None:
        self._loop.call(self._links.leave(name), KEEP_S)

    def admit(self, tag: str) -> str:
        return self._bringup.admit(tag)

    def check_direct(self, names: list[str]) -> None:
        self._bringup.parts.direct.allowed(names)

    def this_machine(self, used: frozenset[str]) -> Node:
        name = re.sub(r"[^a-z0-9-]+", "-", socket.gethostname().lower()).strip("-")[:32] or "desk"
        name = name if name not in used else "desk" if "desk" not in used else "this-machine"
        return self._bringup.parts.this_machine(name)

    def do(self, act: MachineAct, names: Sequence[str], asked: ActRequest) -> list[NodeResult]:
        async def one(name: str) -> NodeResult:
            turn = self._turns.setdefault(name, asyncio.Lock())
            if turn.locked():
                words = "another command is at work on it: waiting"
                asked.progress(ProgressLine(name, "connect", "started", words))
            try:
                async with turn:
                    await asyncio.to_thread(asked.first, name)
                    node = await asyncio.to_thread(self._row, name)
                    return await self._work(act)(node, asked.progress, asked.agent_path)
            except Exception as error:
                return NodeResult(name, False, (problem_of(error, name),))

        async def together() -> list[NodeResult]:
            return list(await asyncio.gather(*(one(name) for name in names)))

        return self._loop.call(together())

    def clean(self, name: str) -> None:
        self._loop.begin(self._clean(name))

    async def _clean(self, name: str) -> None:
        """Unless a command is at work on it, such as the removal itself: each would end the other's."""
        turn = self._turns.setdefault(name, asyncio.Lock())
        if turn.locked():
            return
        async with turn:
            node = await asyncio.to_thread(self._links.settings.node_of, name)
            if node is not None and node.removed == NodeState.NOT_CLEANED.value:
                await self._bringup.remove(node, unwatched, None)

    def _work(self, act: MachineAct) -> One:
        match act:
            case MachineAct.UP:
                return self._bringup.up
            case MachineAct.DOWN:
                return self._bringup.down
            case MachineAct.REMOVE:
                return self._bringup.remove
            case MachineAct.CLEANED:
                return self._bringup.cleaned
            case _:
                assert_never(act)

    def _row(self, name: str) -> Node:
        node = self._links.settings.node_of(name)
        if node is None or node.removed == NodeState.REMOVED.value:
            raise NotFoundError(f"no node {name} in the fleet", fix="pancode node ls")
        return node
