"""Keeps one connection to a node and its tunnels alive: detects a break and reconnects, until stopped."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pancode.fleet.ssh.connection import Session
from pancode.fleet.ssh.errors import SLOW, ConnectError, LinkLost, classify_error
from pancode.fleet.ssh.remote import OUTPUT_LIMIT, Completed, Remote
from pancode.fleet.ssh.tunnel import Folders, Generation, Tunnels, TunnelTargets


class LinkKind(StrEnum):
    """The kind of a link's state: `down` is retried; `stopped` waits for a user (a changed host key)."""

    CONNECTING = "connecting"
    UP = "up"
    DOWN = "down"
    STOPPED = "stopped"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class LinkState:
    """The current state of a link; `error`: the reason why it is down."""

    kind: LinkKind
    generation: Generation | None = None
    error: ConnectError | None = None
    retry_in_s: float | None = None

    @property
    def up(self) -> bool:
        return self.kind is LinkKind.UP

    @property
    def stuck(self) -> bool:
        """Whether the link can only come up after a user changes something."""
        return self.kind is LinkKind.STOPPED or (self.error is not None and self.error.fault in SLOW)

    @property
    def why(self) -> str:
        if self.error is None:
            return ""
        return f"{self.error.message}: {self.error.why}" if self.error.why else self.error.message


@dataclass(frozen=True, slots=True)
class Backoff:
    """Seconds between tries: doubled from `first` to `last`; after `steady` seconds up, `first` again."""

    first_s: float = 0.5
    last_s: float = 10
    steady_s: float = 5
    refused_s: float = 30
    """Seconds between tries if only a user can fix the problem (forbidden forwarding, unusable home)."""


Dial = Callable[[], Awaitable[Session]]
"""Opens a connection; keys and pins are read again for each try."""
Changed = Callable[[LinkState], None]

CLOSE_AGAIN_S = 10.0
"""Seconds until a close that had no effect is repeated; longer than a connection takes to close."""


class Link:
    """The link to one node. Call `start`; `run` and `put` work while the link is up; `close` ends it. All
    methods belong to one event loop. `changed` is called there for each new state and must not block."""

    def __init__(
        self,
        name: str,
        dial: Dial,
        where: Folders,
        ends: TunnelTargets,
        changed: Changed,
        backoff: Backoff | None = None,
    ) -> None:
        self.name, self.where, self.ends = name, where, ends
        self.state = LinkState(LinkKind.CONNECTING)
        self._dial, self._changed, self._backoff = dial, changed, backoff or Backoff()
        self._remote: Remote | None = None
        self._tunnels: Tunnels | None = None
        self._mending = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._edge = asyncio.Condition()
        self._poke = asyncio.Event()
        self._tries = 0

    def start(self) -> None:
        """Start the link; restart it if it had stopped. Idempotent while the link runs."""
        if self._task is None or self._task.done():
            self._tries = 0
            self._begin_anew()
            self._task = asyncio.get_running_loop().create_task(self._keep(), name=f"link {self.name}")

    def _begin_anew(self) -> None:
        """Clear the reason why the link had stopped, so that a caller waiting for the restart does not see
        it."""
        if self.state.kind is not LinkKind.CONNECTING:
            self.state = LinkState(LinkKind.CONNECTING)
            self._changed(self.state)

    def poke(self) -> None:
        """Try now instead of after the pause. Waiting callers do not get errors of earlier tries, nor of a
        current try that began with old settings."""
        if self.state.kind is LinkKind.DOWN:
            self._begin_anew()
        if not self.state.up:
            self._poke.set()

    async def close(self) -> None:
        """End the link and its connection; the node agent and its runs continue. Idempotent."""
        task = self._task
        while task is not None and not task.done():
            task.cancel()
            await asyncio.wait([task], timeout=CLOSE_AGAIN_S)
        if self.state.kind is not LinkKind.CLOSED:
            await self._set_state(LinkState(LinkKind.CLOSED))

    async def wait(self, kinds: Sequence[LinkKind], timeout_s: float) -> LinkState:
        """Return the state as soon as it is one of `kinds`, or when the time is over."""
        return await self._wait_until(lambda state: state.kind in kinds, timeout_s)

    async def settled(self, timeout_s: float) -> LinkState:
        """Return the state as soon as the link is up or cannot come up by itself, or when the time is
        over."""
        return await self._wait_until(lambda state: state.up or state.stuck, timeout_s)

    async def _wait_until(self, holds: Callable[[LinkState], bool], timeout_s: float) -> LinkState:
        try:
            async with asyncio.timeout(timeout_s), self._edge:
                await self._edge.wait_for(lambda: holds(self.state))
        except TimeoutError:
            pass
        return self.state

    async def repair(self) -> tuple[str, ...]:
        """Check that the node still has its end of the tunnels, and reopen tunnels that it lost; return the
        names of those. On failure it raises ConnectError and reconnects."""
        async with self._mending:
            remote, tunnels, generation = self.remote(), self._tunnels, self.state.generation
            if tunnels is None or generation is None:
                raise LinkLost(f"the link to {self.name} is {self.state.kind}")
            try:
                missing = await tunnels.missing(generation)
                fresh = await tunnels.open() if missing else generation
            except ConnectError:
                await asyncio.shield(remote.session.close())
                raise
            if missing:
                if self._remote is not remote:
                    raise LinkLost("the connection ended while the tunnels were being reopened")
                await self._set_state(LinkState(LinkKind.UP, fresh))
            return missing

    async def run(
        self, argv: Sequence[str], timeout_s: float, stdin: bytes = b"", limit: int = OUTPUT_LIMIT
    ) -> Completed:
        """Run a command on the node. LinkLost if the link is not up, or is lost meanwhile."""
        return await self.remote().run(argv, timeout_s, stdin, limit)

    async def put(self, path: str, source: bytes | Path, mode: int = 0o600) -> None:
        """Write a file to the node atomically."""
        await self.remote().put(path, source, mode)

    def remote(self) -> Remote:
        """Return the live connection; LinkLost if the link is not up."""
        if self._remote is None:
            raise LinkLost(self.state.why or f"the link to {self.name} is {self.state.kind}")
        return self._remote

    async def _set_state(self, state: LinkState) -> None:
        async with self._edge:
            self.state = state
            self._edge.notify_all()
        self._changed(state)

    async def _keep(self) -> None:
        while True:
            self._poke.clear()
            error = await self._run_session()
            if self._poke.is_set():
                continue
            if error.permanent:
                await self._set_state(LinkState(LinkKind.STOPPED, error=error))
                return
            b = self._backoff
            base = (
                b.refused_s if error.fault in SLOW else min(b.first_s * 2 ** min(self._tries, 20), b.last_s)
            )
            # The pause varies by name and try, so that nodes behind one switch do not reconnect all at once.
            pause = base * (0.8 + 0.4 * (zlib.crc32(f"{self.name}/{self._tries}".encode()) / 2**32))
            self._tries += 1
            await self._set_state(LinkState(LinkKind.DOWN, error=error, retry_in_s=pause))
            await self._await_poke(pause)

    async def _run_session(self) -> ConnectError:
        """Run one connection, from connecting to its end; return why it ended."""
        session: Session | None = None
        try:
            session = await self._dial()
            remote = Remote(session)
            self._tunnels = Tunnels(remote, self.where, self.ends)
            return await self._live(session, remote, await self._tunnels.open())
        except Exception as error:  # any error is caught: a link must never end unnoticed
            return classify_error(error)
        finally:
            self._remote = self._tunnels = None
            if session is not None:
                await asyncio.shield(session.close())

    async def _live(self, session: Session, remote: Remote, generation: Generation) -> ConnectError:
        task = asyncio.current_task()
        # asyncssh may swallow the cancellation while it connects (measured)
        if task is not None and task.cancelling():
            raise asyncio.CancelledError
        loop = asyncio.get_running_loop()
        began, self._remote = loop.time(), remote
        self._poke.clear()
        await self._set_state(LinkState(LinkKind.UP, generation))
        reason = await asyncio.shield(session.lost)
        if loop.time() - began >= self._backoff.steady_s:
            self._tries = 0
        return (
            classify_error(reason)
            if reason is not None
            else LinkLost("the node's SSH server closed the connection")
        )

    async def _await_poke(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._poke.wait()
        except TimeoutError:
            return
