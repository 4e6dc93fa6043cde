"""Takes requests for tests and runs them in the background, one at a time per endpoint."""

from __future__ import annotations

import logging
import threading
from collections import deque

from node_agent.passport.cache import PassportCache, StoredPassport, stamped
from node_agent.passport.exam import Exam, ExamTools, NotNow
from node_agent.wire.control import Examine
from node_agent.wire.endpoint import AskFact, AskState, EndpointFact

MOST_ASKS = 32
TOLD_MS = 300_000
"""How long an ended test is still reported."""
_OVER = (AskState.DONE, AskState.GIVEN_UP)
_log = logging.getLogger("pancode.node")


class ExamQueue:
    """Thread-safe."""

    def __init__(self, tools: ExamTools, cache: PassportCache) -> None:
        self._tools, self._cache = tools, cache
        self._lock = threading.Lock()
        self._asks: dict[str, AskFact] = {}
        self._over: dict[str, int] = {}
        self._waiting: dict[str, deque[Examine]] = {}
        """By endpoint; one that is named here has a thread."""
        self._news = False

    def examine(self, ask: Examine) -> None:
        """Begin it, or put it behind those that wait for the same endpoint."""
        with self._lock:
            self._forget()
            if ask.ask in self._asks:
                return
            if len(self._asks) - len(self._over) >= MOST_ASKS:
                self._note(ask, AskState.GIVEN_UP, f"{MOST_ASKS} tests wait here already", "try again later")
                return
            if ask.endpoint in self._waiting:
                self._note(ask, AskState.WAITING, f"another test of {ask.endpoint} goes first")
                self._waiting[ask.endpoint].append(ask)
                return
            self._note(ask, AskState.WAITING, "it begins")
            self._waiting[ask.endpoint] = deque((ask,))
        threading.Thread(target=self._work, args=(ask.endpoint,), name="exam", daemon=True).start()

    def asks(self) -> tuple[AskFact, ...]:
        with self._lock:
            self._forget()
            return tuple(self._asks.values())

    def stamped(self, endpoints: tuple[EndpointFact, ...]) -> tuple[EndpointFact, ...]:
        with self._lock:
            return stamped(self._cache, endpoints, self._tools.clock.wall_ms())

    def news(self) -> bool:
        with self._lock:
            had, self._news = self._news, False
            return had

    # -- inside

    def _work(self, endpoint: str) -> None:
        while True:
            with self._lock:
                if not self._waiting[endpoint]:
                    del self._waiting[endpoint]
                    return
                ask = self._waiting[endpoint].popleft()
            try:
                self._take(ask)
            except NotNow as no:
                self._tell(ask, AskState.GIVEN_UP, str(no), no.fix)
            except Exception as exc:  # a fault here must cost this test, never the node
                _log.exception("a fault of ours in a test of %s", ask.model)
                self._tell(ask, AskState.GIVEN_UP, f"a fault of ours: {exc}", "pancode doctor")

    def _take(self, ask: Examine) -> None:
        if not ask.again and self._known(ask):
            self._tell(ask, AskState.DONE, "it has a passport")
            return
        exam = Exam(self._tools, ask.endpoint, ask.model, lambda state, words: self._tell(ask, state, words))
        endpoint, model, fact = exam.take()
        with self._lock:
            self._cache.put(StoredPassport.of(endpoint, model, fact))
        self._tell(ask, AskState.DONE, f"took {fact.took_ms / 1000:.1f} s")

    def _known(self, ask: Examine) -> bool:
        server = self._tools.servers.server(ask.endpoint)
        model = server.fact.model(ask.model) if server is not None else None
        with self._lock:
            now = self._tools.clock.wall_ms()
            return (
                server is not None
                and model is not None
                and self._cache.find(server.fact, model, now) is not None
            )

    def _tell(self, ask: Examine, state: AskState, words: str, fix: str = "") -> None:
        with self._lock:
            self._note(ask, state, words, fix)

    def _note(self, ask: Examine, state: AskState, words: str, fix: str = "") -> None:
        fact = AskFact(
            ask=ask.ask,
            endpoint=ask.endpoint,
            model=ask.model,
            state=state,
            words=words[:300],
            fix=fix[:300],
        )
        self._news = self._news or self._asks.get(ask.ask) != fact
        self._asks[ask.ask] = fact
        if state in _OVER:
            self._over[ask.ask] = self._tools.clock.mono_ms()

    def _forget(self) -> None:
        now = self._tools.clock.mono_ms()
        old = [ask for ask, at in self._over.items() if now - at >= TOLD_MS]
        for ask in old or list(self._over)[:-MOST_ASKS]:
            del self._over[ask], self._asks[ask]
