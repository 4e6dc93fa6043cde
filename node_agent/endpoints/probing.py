"""Probes one address: which server answers, what it offers, and whether it makes progress.

A slow prompt looks like a wedged server: its counters move once for each batch, which may take minutes.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from node_agent.endpoints.asking import Mismatch, ServerClient, Silent
from node_agent.endpoints.dialects import Memory, ServerKind, ServerReading, Slot, SlotCount, identify, read

SILENCE_MS = 10_000
"""Silent at two looks so far apart."""
DECODING_MS, PROMPT_MS = 60_000, 300_000


@dataclass(frozen=True, slots=True)
class DecodeProgress:
    """`moved`: each busy slot as last seen, and since when it stands like that."""

    silent_since: int | None = None
    moved: tuple[tuple[Slot, int], ...] = field(default=())
    words: str = ""
    """The reason why the server counts as stuck; empty when it does not."""

    def after(self, seen: SlotCount | None, now_ms: int) -> DecodeProgress:
        """The progress after one more look."""
        if seen is None:
            return DecodeProgress()
        if seen.silent:
            since = now_ms if self.silent_since is None else self.silent_since
            words = f"it has not answered for {(now_ms - since) // 1000} s, or its slots have not"
            return replace(self, silent_since=since, words=words if now_ms - since >= SILENCE_MS else "")
        known = dict(self.moved)
        moved = tuple((slot, known.get(slot, now_ms)) for slot in seen.busy)
        return DecodeProgress(
            None, moved, next(filter(None, (_stands(s, now_ms - at) for s, at in moved)), "")
        )


def _stands(slot: Slot, ms: int) -> str:
    if ms < (DECODING_MS if slot.decoded else PROMPT_MS):
        return ""
    what = f"{slot.decoded} tokens of its answer" if slot.decoded else "its prompt"
    return f"a slot has stood at {what} for {ms // 1000} s"


STRANGER_MS = 600_000
"""The pause before a server without models is asked again, unless it was gone meanwhile: it may log our
requests."""


@dataclass(slots=True)
class KnownServer:
    """The memory of an address between looks. `stranger_until`: no model server is there until then."""

    identity: ServerKind | None = None
    memory: Memory = field(default_factory=Memory)
    progress: DecodeProgress = field(default_factory=DecodeProgress)
    reading: ServerReading | None = None
    seen_ms: int = 0
    trouble: str = ""
    """The reason why there is no reading, in words."""
    fix: str = ""
    """The fix, where it is more than a start."""
    stranger_until: int = 0
    unused: str = ""
    """The reason why a server that is there is not used unasked."""
    key: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class ProbeContext:
    """`listed`: its owner says that a server is there; `in_use`: calls of ours are under way there."""

    now_ms: int
    port: int
    listed: bool = False
    in_use: bool = False


def look(known: KnownServer, ask: ServerClient, moment: ProbeContext) -> KnownServer:
    """The memory after a look. Raises nothing."""
    now_ms = moment.now_ms
    if known.identity is None and now_ms < known.stranger_until:
        return known
    try:
        return _asked(known, ask, moment)
    except Silent as exc:
        # one that listens and is silent is still there, for a while: its slots may all be at a long prompt
        if exc.refused or known.reading is None or now_ms - known.seen_ms >= STRANGER_MS:
            return KnownServer(trouble=str(exc), fix=exc.fix)
        progress = known.progress.after(SlotCount(0, silent=True), now_ms)
        return replace(known, progress=progress, trouble=str(exc))


def _asked(known: KnownServer, ask: ServerClient, moment: ProbeContext) -> KnownServer:
    now_ms = moment.now_ms
    for _ in range(2):
        if known.identity is None:
            known = KnownServer(identity=identify(ask, moment.port, moment.listed), key=known.key)
        identity = known.identity
        if identity is None:
            words = "answers, and is no model server that we know"
            return KnownServer(trouble=words, stranger_until=now_ms + STRANGER_MS)
        known.memory.asks_slots = moment.in_use or now_ms >= known.memory.slots_due_ms
        try:
            reading = read(identity.dialect, ask, known.memory)
        except Mismatch:
            known = KnownServer(key=known.key)
            continue
        if identity.locked and not reading.locked:  # it lets us in now: what it is, only it can tell
            known = KnownServer(key=known.key)
            continue
        progress = known.progress.after(reading.seen, now_ms)
        known.memory.asked(reading.seen, moment.in_use, now_ms)
        return KnownServer(identity, known.memory, progress, reading, now_ms, key=known.key)
    return KnownServer(
        trouble="answers in shapes that do not go together", stranger_until=now_ms + STRANGER_MS
    )
