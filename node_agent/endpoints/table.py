"""The table of known model servers: probed slowly in the background, read without a wait."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from node_agent.endpoints.asking import Http
from node_agent.endpoints.file import FILE, USERS, Owners, read_owners
from node_agent.endpoints.listeners import listening, stranger
from node_agent.endpoints.places import EndpointAddress, EndpointAddresses
from node_agent.endpoints.probing import KnownServer, ProbeContext, look
from node_agent.endpoints.report import capped, fact, named, problems
from node_agent.machine.home import SettingsError
from node_agent.wire.clock import Clock
from node_agent.wire.endpoint import EndpointFact
from node_agent.wire.node import NodeProblem

FIRST_S, BRIEF_S = 2.5, 0.25
"""The wait for the first looks, and for later ones, which go on without it."""
ROUND_S = 10.0
_log = logging.getLogger("pancode.node")


@dataclass(frozen=True, slots=True)
class EndpointServer:
    """The facts that a model gateway needs of an endpoint. Its key never leaves the node."""

    fact: EndpointFact
    url: str
    key: str
    ca: str | None

    def __repr__(self) -> str:
        return f"Server({self.url})"


class EndpointTable:
    """Thread-safe. `values`: secrets by name, as now; `machines`: places beside the owner's file.

    `in_use`: whether calls of ours are under way at the endpoint of that name.
    """

    def __init__(
        self,
        home: Path,
        clock: Clock,
        values: Callable[[], Mapping[str, str]],
        machines: Sequence[EndpointAddress] = (),
        every_ms: int = 30_000,
        in_use: Callable[[str], bool] = lambda name: False,
    ) -> None:
        self._home, self._clock, self._values = home, clock, values
        self._machines, self._every_ms, self._in_use = tuple(machines), every_ms, in_use
        self._lock = threading.Lock()
        self._known: dict[EndpointAddress, KnownServer] = {}
        self._names: dict[EndpointAddress, str] = {}
        self._trouble = ""
        self._users: tuple[str | int, ...] = USERS
        self._over = threading.Event()
        """Set while no round is under way."""
        self._over.set()
        self._looked: int | None = None

    def facts(self) -> tuple[EndpointFact, ...]:
        """The facts for a heartbeat, as fresh as possible without a wait."""
        self._freshen()
        return capped([found for _, _, _, found in self._rows() if found is not None])

    def problems(self) -> tuple[NodeProblem, ...]:
        """The problems for `fleet status`."""
        own: tuple[NodeProblem, ...] = ()
        if self._trouble:
            own = (NodeProblem(what=self._trouble[:500], fix=f"mend or remove {self._home / FILE}"),)
        return (*own, *problems(self._rows()))

    def server(self, name: str) -> EndpointServer | None:
        """The endpoint of that name; None when there is none now."""
        self._freshen()
        for given, place, known, found in self._rows():
            if given == name and found is not None and not self._stranger(place):
                return EndpointServer(found, place.url, known.key, place.ca)
        return None

    def look(self) -> None:
        """One round over all places, at once."""
        places, values = self._places(), self._values()
        with self._lock:
            before = {place: self._known.get(place, KnownServer()) for place in places}
        found: dict[EndpointAddress, KnownServer] = {}

        def one(place: EndpointAddress) -> None:
            key = values.get(place.key, "") if place.key else ""
            known = before[place] if before[place].key == key else KnownServer(key=key)
            name = self._names.get(place)
            in_use = name is not None and self._in_use(name)
            moment = ProbeContext(self._clock.mono_ms(), place.port, place.listed, in_use)
            if not place.listed and place.is_here and not listening(place.port):
                found[place] = KnownServer(trouble="nothing listens there", key=key)
                return
            seen = look(known, Http(place, key, self._clock), moment)
            # Asked afterwards: whoever listens then is the one who answered, or has come in its place.
            seen.unused = self._stranger(place) if seen.identity is not None else ""
            found[place] = seen

        threads = [threading.Thread(target=one, args=(place,), daemon=True) for place in places]
        for thread in threads:
            thread.start()
        until = self._clock.mono_ms() + int(ROUND_S * 1000)
        for thread in threads:
            thread.join(max(until - self._clock.mono_ms(), 0) / 1000)
        with self._lock:
            self._known = {place: found.get(place, before[place]) for place in places}
            there = [(p, k.identity.dialect if k.identity else None) for p, k in self._known.items()]
            self._names = named(there, {p: n for p, n in self._names.items() if p in self._known})

    # -- inside

    def _freshen(self) -> None:
        """Begin a round when one is due, and wait a moment for it."""
        with self._lock:
            first, now = self._looked is None, self._clock.mono_ms()
            due = self._looked is None or now - self._looked >= self._every_ms
            if due and self._over.is_set():
                self._looked = now
                self._over.clear()
                threading.Thread(target=self._round, name="endpoints", daemon=True).start()
        self._over.wait(FIRST_S if first else BRIEF_S)

    def _round(self) -> None:
        try:
            self.look()
        except Exception:  # the node must stay, whatever a server says
            _log.exception("a fault while looking at endpoints")
        finally:
            self._over.set()

    def _places(self) -> tuple[EndpointAddress, ...]:
        """The addresses to ask. When the file cannot be read, only `machines`: the file meant something."""
        try:
            owners, self._trouble = read_owners(self._home), ""
        except SettingsError as exc:
            owners, self._trouble = Owners(ports=()), str(exc)
        self._users = owners.users
        return EndpointAddresses.of((*owners.places(), *self._machines), owners.ports_left()).every

    def _stranger(self, place: EndpointAddress) -> str:
        """The reason why its owner has to allow it first. Empty: it may be used."""
        return "" if place.listed or not place.is_here else stranger(place.port, self._users)

    def _rows(self) -> list[tuple[str, EndpointAddress, KnownServer, EndpointFact | None]]:
        now = self._clock.mono_ms()
        with self._lock:
            known, names = dict(self._known), dict(self._names)
        rows = []
        for place, one in known.items():
            name = names.get(place) or place.name or place.at
            rows.append((name, place, one, fact(name, place, one, now)))
        return rows
