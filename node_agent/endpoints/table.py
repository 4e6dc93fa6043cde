"""The table of known model servers: checked slowly in the background, reported without waiting."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from node_agent.endpoints.asking import Http, Mismatch, ServerClient, Silent
from node_agent.endpoints.dialects import (
    Memory,
    ServerKind,
    ServerReading,
    Slot,
    SlotCount,
    identify_server,
    read_server,
)
from node_agent.endpoints.listeners import find_listeners, find_stranger
from node_agent.endpoints.places import FILE, USERS, EndpointAddress, EndpointAddresses, Owners, read_owners
from node_agent.machine.home import SettingsError
from node_agent.wire.clock import Clock
from node_agent.wire.endpoint import Dialect, EndpointFact, Health, Residence, format_trouble
from node_agent.wire.node import NodeProblem

SILENCE_MS = 10_000
"""A server that does not answer at two checks this far apart counts as stuck."""
DECODING_MS, PROMPT_MS = 60_000, 300_000


@dataclass(frozen=True, slots=True)
class DecodeProgress:
    """Whether a server makes progress. `moved`: each busy slot, and the time since which it is unchanged."""

    silent_since: int | None = None
    moved: tuple[tuple[Slot, int], ...] = field(default=())
    words: str = ""
    """The reason why the server counts as stuck; empty if it does not."""

    def after(self, seen: SlotCount | None, now_ms: int) -> DecodeProgress:
        """Return the progress after another check."""
        if seen is None:
            return DecodeProgress()
        if seen.silent:
            since = now_ms if self.silent_since is None else self.silent_since
            words = f"the server or its slots have not answered for {(now_ms - since) // 1000} s"
            return replace(self, silent_since=since, words=words if now_ms - since >= SILENCE_MS else "")
        known = dict(self.moved)
        moved = tuple((slot, known.get(slot, now_ms)) for slot in seen.busy)
        return DecodeProgress(
            None, moved, next(filter(None, (_describe_stuck(s, now_ms - at) for s, at in moved)), "")
        )


def _describe_stuck(slot: Slot, ms: int) -> str:
    if ms < (DECODING_MS if slot.decoded else PROMPT_MS):
        return ""
    what = f"{slot.decoded} tokens of its answer" if slot.decoded else "its prompt"
    return f"a slot has been stuck at {what} for {ms // 1000} s"


STRANGER_MS = 600_000
"""Pause before a server without models is queried again, as it may log queries; a restart ends the pause."""


@dataclass(slots=True)
class KnownServer:
    """What is known of an address between checks. `stranger_until`: not checked again before this time."""

    identity: ServerKind | None = None
    memory: Memory = field(default_factory=Memory)
    progress: DecodeProgress = field(default_factory=DecodeProgress)
    reading: ServerReading | None = None
    seen_ms: int = 0
    trouble: str = ""
    """The reason why there is no reading, as text."""
    fix: str = ""
    """How to repair it, if starting the server is not enough."""
    stranger_until: int = 0
    unused: str = ""
    """The reason why an existing server is not used without being configured."""
    key: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class ProbeContext:
    """The circumstances of a check. `listed`: by the owner; `in_use`: our calls are running on the server."""

    now_ms: int
    port: int
    listed: bool = False
    in_use: bool = False


def update_server(known: KnownServer, client: ServerClient, moment: ProbeContext) -> KnownServer:
    """Check the server and return the updated knowledge. Raises nothing."""
    now_ms = moment.now_ms
    if known.identity is None and now_ms < known.stranger_until:
        return known
    try:
        return _ask_server(known, client, moment)
    except Silent as exc:
        # a server that listens but does not answer is kept for a while: all its slots may be processing long
        # prompts
        if exc.refused or known.reading is None or now_ms - known.seen_ms >= STRANGER_MS:
            return KnownServer(trouble=str(exc), fix=exc.fix)
        progress = known.progress.after(SlotCount(0, silent=True), now_ms)
        reading = replace(known.reading, waiting=known.memory.unheard())
        return replace(known, progress=progress, reading=reading, trouble=str(exc))


def _ask_server(known: KnownServer, client: ServerClient, moment: ProbeContext) -> KnownServer:
    now_ms = moment.now_ms
    for _ in range(2):
        if known.identity is None:
            known = KnownServer(identity=identify_server(client, moment.port, moment.listed), key=known.key)
        identity = known.identity
        if identity is None:
            words = "answers, but is not a known kind of model server"
            return KnownServer(trouble=words, stranger_until=now_ms + STRANGER_MS)
        known.memory.asks_slots = moment.in_use or now_ms >= known.memory.slots_due_ms
        try:
            reading = read_server(identity.dialect, client, known.memory)
        except Mismatch:
            known = KnownServer(key=known.key)
            continue
        if identity.locked and not reading.locked:  # the server accepts us now, so it can be identified
            known = KnownServer(key=known.key)
            continue
        progress = known.progress.after(reading.seen, now_ms)
        # queries of metrics keep a llama.cpp awake even if it hides its slots
        hidden = None if reading.waiting is None else SlotCount(0, silent=reading.waiting > 0)
        known.memory.asked(reading.seen or hidden, moment.in_use, now_ms)
        return KnownServer(identity, known.memory, progress, reading, now_ms, key=known.key)
    return KnownServer(
        trouble="gives answers that do not match any one kind of server", stranger_until=now_ms + STRANGER_MS
    )


MOST_MODELS = 40
"""The maximum number of models of all endpoints together."""
MOST_ENDPOINTS = 16
TRUST = (
    'if you trust the server, add its url to "endpoints", or its user to "users", in endpoints.json of the '
    "node"
)
_FIRST = (Residence.LOADED, Residence.ASLEEP, Residence.NOT_LOADED, None)


def make_endpoint_fact(
    name: str, place: EndpointAddress, known: KnownServer, now_ms: int
) -> EndpointFact | None:
    """Return the facts of an endpoint; None if no server is there."""
    identity, reading = known.identity, known.reading
    if identity is None or reading is None or known.unused:
        return None
    health, words, fix = _judge_health(name, place, known)
    models = sorted(reading.models, key=lambda one: (one.embedding, _FIRST.index(one.residence)))
    return EndpointFact(
        name=name,
        dialect=identity.dialect,
        at=place.at,
        version=reading.version,
        health=health,
        words=words,
        fix=fix,
        slots=place.slots or reading.slots,
        slots_free=reading.slots_free,
        waiting=reading.waiting,
        wires=place.wires or reading.wires,
        free=place.costs_nothing,
        age_ms=max(now_ms - known.seen_ms, 0),
        models=tuple(models),
    )


def _judge_health(name: str, place: EndpointAddress, known: KnownServer) -> tuple[Health, str, str]:
    if known.reading is not None and known.reading.locked:
        words = f"it rejects the key {place.key}" if known.key else "it requires a key"
        secret = place.key or "GPU_KEY"
        entry = f'{{"name": "{name}", "url": "{place.url}", "key": "{secret}"}}'
        fix = f"add the key to secrets.json of the node as {secret}, and {entry} to its endpoints.json"
        return Health.NEEDS_KEY, words, fix
    if known.progress.words:
        return Health.WEDGED, known.progress.words, f"restart the server at {place.at}"
    return Health.OK, "", ""


def name_places(
    places: Sequence[tuple[EndpointAddress, Dialect | None]], given: dict[EndpointAddress, str]
) -> dict[EndpointAddress, str]:
    """Return a name for each address with a server; names in `given` do not change."""
    used = {*given.values(), *(place.name for place, _ in places if place.name)}
    names = dict(given)
    for place, dialect in places:
        if place in names or dialect is None:
            continue
        names[place] = place.name or _new_name(place, dialect, used)
        used.add(names[place])
    return names


def _new_name(place: EndpointAddress, dialect: Dialect, used: set[str]) -> str:
    stem = f"{place.prefix}-{dialect}" if place.prefix else str(dialect)
    stem = stem if place.prefix or place.is_here else f"{dialect}-{place.host}"
    return stem if stem not in used else f"{stem}-{place.port}"


def limit_models(facts: Sequence[EndpointFact]) -> tuple[EndpointFact, ...]:
    """Return the facts with as many models as fit a heartbeat: a fair share for each endpoint, loaded models
    first."""
    kept, left = [], MOST_MODELS
    ordered = sorted(facts[:MOST_ENDPOINTS], key=lambda one: len(one.models))
    for number, one in enumerate(ordered):
        share = min(len(one.models), left // (len(ordered) - number))
        left -= share
        kept.append(one.model_copy(update={"models": one.models[:share], "more": len(one.models) - share}))
    return tuple(sorted(kept, key=lambda one: one.name))


def list_problems(
    servers: Sequence[tuple[str, EndpointAddress, KnownServer, EndpointFact | None]],
) -> tuple[NodeProblem, ...]:
    """Return the problems for `fleet status`: listed servers that are missing, and running ones that do not
    work well or may not be used."""
    reported = []
    for name, place, known, found in servers:
        if found is None and place.listed:
            file = "endpoints.json of the node" if place.name else "models.machines (PANCODE_LOCAL_MACHINES)"
            what = format_trouble(name, place.at, known.trouble or "has not been checked yet")
            fix = known.fix or f"start it, or remove it from {file}"
            reported.append(NodeProblem(what=what[:500], fix=fix))
        elif known.unused and known.identity is not None:
            what = f"a model server at {place.at} is running but not used: {known.unused}"
            reported.append(NodeProblem(what=what[:500], fix=TRUST))
        elif found is not None and found.health is not Health.OK:
            reported.append(
                NodeProblem(what=f"endpoint {name} ({place.at}): {found.words}"[:500], fix=found.fix)
            )
    return tuple(reported)


FIRST_S, BRIEF_S = 2.5, 0.25
"""Seconds to wait for the first check, and for later checks, which continue in the background."""
ROUND_S = 10.0
_log = logging.getLogger("pancode.node")


@dataclass(frozen=True, slots=True)
class EndpointServer:
    """An endpoint as a model gateway needs to know it. Its key never leaves the node."""

    fact: EndpointFact
    url: str
    key: str
    ca: str | None

    def __repr__(self) -> str:
        return f"Server({self.url})"


class EndpointTable:
    """The known endpoints. Thread-safe. `values`: current secrets by name; `machines`: addresses besides the
    owner's file. `in_use`: whether our calls are running at the endpoint of that name."""

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
        """An event that is set while no check is running."""
        self._over.set()
        self._looked: int | None = None

    def facts(self) -> tuple[EndpointFact, ...]:
        """Return the facts for a heartbeat, as fresh as possible without waiting."""
        self._begin_round()
        return limit_models([found for _, _, _, found in self._list_rows() if found is not None])

    def problems(self) -> tuple[NodeProblem, ...]:
        """Return the problems for `fleet status`."""
        own: tuple[NodeProblem, ...] = ()
        if self._trouble:
            own = (NodeProblem(what=self._trouble[:500], fix=f"correct or remove {self._home / FILE}"),)
        return (*own, *list_problems(self._list_rows()))

    def server(self, name: str) -> EndpointServer | None:
        """Return the endpoint of that name; None if it is not available now."""
        self._begin_round()
        for given, place, known, found in self._list_rows():
            if given == name and found is not None and not self._find_objection(place):
                return EndpointServer(found, place.url, known.key, place.ca)
        return None

    def look(self) -> None:
        """Check all addresses in parallel."""
        places, values = self._read_places(), self._values()
        with self._lock:
            before = {place: self._known.get(place, KnownServer()) for place in places}
        found: dict[EndpointAddress, KnownServer] = {}

        def one(place: EndpointAddress) -> None:
            key = values.get(place.key, "") if place.key else ""
            known = before[place] if before[place].key == key else KnownServer(key=key)
            name = self._names.get(place)
            in_use = name is not None and self._in_use(name)
            moment = ProbeContext(self._clock.mono_ms(), place.port, place.listed, in_use)
            if not place.listed and place.is_here and not find_listeners(place.port):
                found[place] = KnownServer(trouble="nothing listens there", key=key)
                return
            seen = update_server(known, Http(place, key, self._clock), moment)
            # checked afterwards: the listener now is the one that answered, or its replacement
            seen.unused = self._find_objection(place) if seen.identity is not None else ""
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
            self._names = name_places(there, {p: n for p, n in self._names.items() if p in self._known})

    # -- inside

    def _begin_round(self) -> None:
        """Start a check if one is due, and wait a moment for it."""
        with self._lock:
            first, now = self._looked is None, self._clock.mono_ms()
            due = self._looked is None or now - self._looked >= self._every_ms
            if due and self._over.is_set():
                self._looked = now
                self._over.clear()
                threading.Thread(target=self._check_servers, name="endpoints", daemon=True).start()
        self._over.wait(FIRST_S if first else BRIEF_S)

    def _check_servers(self) -> None:
        try:
            self.look()
        except Exception:  # no server may crash the node agent
            _log.exception("internal error while checking endpoints")
        finally:
            self._over.set()

    def _read_places(self) -> tuple[EndpointAddress, ...]:
        """Return the addresses to query; only `machines` if the owner's file, which may forbid the others, is
        unreadable."""
        try:
            owners, self._trouble = read_owners(self._home), ""
        except SettingsError as exc:
            owners, self._trouble = Owners(ports=()), str(exc)
        self._users = owners.users
        return EndpointAddresses.of((*owners.places(), *self._machines), owners.ports_left()).every

    def _find_objection(self, place: EndpointAddress) -> str:
        """Return the reason why the owner must first allow the server; empty if it may be used."""
        return "" if place.listed or not place.is_here else find_stranger(place.port, self._users)

    def _list_rows(self) -> list[tuple[str, EndpointAddress, KnownServer, EndpointFact | None]]:
        now = self._clock.mono_ms()
        with self._lock:
            known, names = dict(self._known), dict(self._names)
        rows = []
        for place, one in known.items():
            name = names.get(place) or place.name or place.at
            rows.append((name, place, one, make_endpoint_fact(name, place, one, now)))
        return rows
