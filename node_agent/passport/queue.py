"""Runs the requested tests, one at a time per endpoint, and stores the passports. All passports are in one
small file; each is valid while its model and server are unchanged."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field, ValidationError

from node_agent.files.durable import write_atomic
from node_agent.passport.exam import Exam, ExamTools, NotNow
from node_agent.wire.control import Examine
from node_agent.wire.endpoint import (
    AskFact,
    AskState,
    EndpointFact,
    ExamCheck,
    Grade,
    ModelFact,
    PassportFact,
    Residence,
)
from node_agent.wire.model import WireModel

FILE = "passports.json"
MOST = 200
SICK_MS = 600_000
"""How long "the model did not answer" is valid, because a server's restart does not show in its facts."""
DAY_MS = 86_400_000
NUMBERED_MS, NAMED_MS = 7 * DAY_MS, DAY_MS
"""How long a passport is valid if no digest identifies the model: with known numbers, and by name only."""
TELLING = ("digest", "size", "quantisation", "family", "parameters", "ctx_max", "tools")
"""The facts that distinguish models of the same name."""
_log = logging.getLogger("pancode.node")


class StoredPassport(WireModel):
    """A passport, with the model and the server's version at the time of the test."""

    endpoint: str
    version: str | None
    model: ModelFact
    fact: PassportFact

    @classmethod
    def of(cls, endpoint: EndpointFact, model: ModelFact, fact: PassportFact) -> StoredPassport:
        bare = model.model_copy(update={"passport": None})
        return cls(endpoint=endpoint.name, version=endpoint.version, model=bare, fact=fact)

    def fits(self, endpoint: EndpointFact, model: ModelFact, now_ms: int) -> bool:
        """Whether the passport's model is the present one. Servers report less of an unloaded model. The time
        in lists of models (`created`) cannot be used, because servers put the time of the request there."""
        was, is_here = self.model, model.residence in (Residence.LOADED, None)
        if (self.endpoint, was.id, self.version) != (endpoint.name, model.id, endpoint.version):
            return False
        if was.ctx_usable != model.ctx_usable and is_here:
            return False
        pairs = ((getattr(was, name), getattr(model, name)) for name in TELLING)
        lasts = self._find_end_ms()
        is_fresh = lasts is None or 0 <= now_ms - self.fact.taken_ms < lasts
        return is_fresh and all(one == now or (now is None and not is_here) for one, now in pairs)

    def _find_end_ms(self) -> int | None:
        first = self.fact.of(ExamCheck.ANSWERS)
        if first is not None and first.grade is not Grade.PASSED:
            return SICK_MS
        if self.model.digest is not None:
            return None
        return NAMED_MS if self.model.size is None and self.model.parameters is None else NUMBERED_MS


class _File(WireModel):
    passports: tuple[StoredPassport, ...] = Field(default=(), max_length=MOST)


class PassportCache:
    """Passports in memory and in a file. An unreadable file is replaced: a new test takes only a minute."""

    def __init__(self, home: Path) -> None:
        self._path = home / FILE
        self._kept = _read(self._path)

    def find(self, endpoint: EndpointFact, model: ModelFact, now_ms: int) -> PassportFact | None:
        """Return the newest valid passport of the model in its current state, or None."""
        fitting = (one.fact for one in self._kept if one.fits(endpoint, model, now_ms))
        return max(fitting, key=lambda one: one.taken_ms, default=None)

    def put(self, kept: StoredPassport) -> None:
        """Store the passport instead of older ones for the same model and server; beyond the limit the oldest
        ones are removed."""
        others = [one for one in self._kept if (one.endpoint, one.model.id) != (kept.endpoint, kept.model.id)]
        self._kept = tuple(sorted((*others, kept), key=lambda one: one.fact.taken_ms)[-MOST:])
        try:
            write_atomic(self._path, _File(passports=self._kept).model_dump_json().encode())
        except OSError as exc:  # the disk is full: the passport stays valid until the node agent ends
            _log.warning("a model's passport could not be stored: %s", exc)

    def stamped(self, endpoints: Sequence[EndpointFact], now_ms: int) -> tuple[EndpointFact, ...]:
        """Return the endpoints, with passports for the models that have one for their present state."""
        return tuple(self._stamp_endpoint(one, now_ms) for one in endpoints)

    def _stamp_endpoint(self, endpoint: EndpointFact, now_ms: int) -> EndpointFact:
        found = {model.id: self.find(endpoint, model, now_ms) for model in endpoint.models}
        if not any(found.values()):
            return endpoint
        models = tuple(one.model_copy(update={"passport": found[one.id]}) for one in endpoint.models)
        return endpoint.model_copy(update={"models": models})


def _read(path: Path) -> tuple[StoredPassport, ...]:
    try:
        return _File.model_validate_json(path.read_bytes()).passports
    except FileNotFoundError:
        return ()
    except (OSError, ValidationError) as exc:
        _log.warning("the models' passports cannot be read; the models are tested again: %s", exc)
        return ()


MOST_ASKS = 32
TOLD_MS = 300_000
"""The time for which an ended test is still reported."""
_OVER = (AskState.DONE, AskState.GIVEN_UP)


class ExamQueue:
    """The queue of model tests. Thread-safe."""

    def __init__(self, tools: ExamTools, cache: PassportCache) -> None:
        self._tools, self._cache = tools, cache
        self._lock = threading.Lock()
        self._asks: dict[str, AskFact] = {}
        self._over: dict[str, int] = {}
        self._waiting: dict[str, deque[Examine]] = {}
        """The waiting tests by endpoint; each endpoint with tests has a thread."""
        self._news = False

    def examine(self, request: Examine) -> None:
        """Start the test, or queue it after the tests for the same endpoint."""
        with self._lock:
            self._forget()
            if request.ask in self._asks:
                return
            if len(self._asks) - len(self._over) >= MOST_ASKS:
                self._note(
                    request,
                    AskState.GIVEN_UP,
                    f"the limit of {MOST_ASKS} waiting tests is reached",
                    "try again later",
                )
                return
            if request.endpoint in self._waiting:
                self._note(request, AskState.WAITING, f"another test of {request.endpoint} goes first")
                self._waiting[request.endpoint].append(request)
                return
            self._note(request, AskState.WAITING, "it begins")
            self._waiting[request.endpoint] = deque((request,))
        threading.Thread(target=self._work, args=(request.endpoint,), name="exam", daemon=True).start()

    def asks(self) -> tuple[AskFact, ...]:
        with self._lock:
            self._forget()
            return tuple(self._asks.values())

    def stamped(self, endpoints: tuple[EndpointFact, ...]) -> tuple[EndpointFact, ...]:
        with self._lock:
            return self._cache.stamped(endpoints, self._tools.clock.wall_ms())

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
                request = self._waiting[endpoint].popleft()
            try:
                self._take(request)
            except NotNow as no:
                self._tell(request, AskState.GIVEN_UP, str(no), no.fix)
            except Exception as exc:  # a bug here may fail only this test, never the node agent
                _log.exception("internal error in a test of %s", request.model)
                self._tell(request, AskState.GIVEN_UP, f"internal error: {exc}", "pancode doctor")

    def _take(self, request: Examine) -> None:
        if not request.again and self._is_known(request):
            self._tell(request, AskState.DONE, "already tested; its passport is valid")
            return
        exam = Exam(
            self._tools,
            request.endpoint,
            request.model,
            lambda state, words: self._tell(request, state, words),
        )
        endpoint, model, fact = exam.take()
        with self._lock:
            self._cache.put(StoredPassport.of(endpoint, model, fact))
        self._tell(request, AskState.DONE, f"took {fact.took_ms / 1000:.1f} s")

    def _is_known(self, request: Examine) -> bool:
        server = self._tools.servers.server(request.endpoint)
        model = server.fact.model(request.model) if server is not None else None
        if server is None or model is None:
            return False
        with self._lock:
            return self._cache.find(server.fact, model, self._tools.clock.wall_ms()) is not None

    def _tell(self, request: Examine, state: AskState, words: str, fix: str = "") -> None:
        with self._lock:
            self._note(request, state, words, fix)

    def _note(self, request: Examine, state: AskState, words: str, fix: str = "") -> None:
        fact = AskFact(
            ask=request.ask,
            endpoint=request.endpoint,
            model=request.model,
            state=state,
            words=words[:300],
            fix=fix[:300],
        )
        self._news = self._news or self._asks.get(request.ask) != fact
        self._asks[request.ask] = fact
        if state in _OVER:
            self._over[request.ask] = self._tools.clock.mono_ms()

    def _forget(self) -> None:
        now = self._tools.clock.mono_ms()
        old = [one for one, at in self._over.items() if now - at >= TOLD_MS]
        for one in old or list(self._over)[:-MOST_ASKS]:
            del self._over[one], self._asks[one]
