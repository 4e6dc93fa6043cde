"""The findings of one probe of a server: version, models, slots, and the progress of its slots."""

from __future__ import annotations

from dataclasses import dataclass, field

from node_agent.wire.endpoint import ModelFact, ModelWire


@dataclass(frozen=True, slots=True)
class Slot:
    """One that works: `task` of the server's counting, tokens of its prompt and of its answer so far."""

    task: int
    processed: int
    decoded: int


@dataclass(frozen=True, slots=True)
class SlotCount:
    """`busy` of them work. `silent`: the thread that decodes did not answer."""

    total: int
    busy: tuple[Slot, ...] = ()
    silent: bool = False


@dataclass(frozen=True, slots=True)
class ServerReading:
    """`locked`: it wants a key. `slots`: calls at once, None where it does not say."""

    version: str | None = None
    models: tuple[ModelFact, ...] = ()
    wires: tuple[ModelWire, ...] = (ModelWire.CHAT,)
    slots: int | None = None
    slots_free: int | None = None
    locked: bool = False
    seen: SlotCount | None = None
    """The slots as seen, to judge its progress; None: they cannot be seen."""


FIRST_GAP_MS, LONGEST_GAP_MS = 600_000, 6 * 3_600_000


@dataclass(slots=True)
class Memory:
    """Facts that need not be asked again: wires, once; Ollama's facts of a model, by its digest.

    A question for slots keeps a llama.cpp that sleeps when it is idle from sleeping. So one that nobody of
    ours uses is asked at ever longer gaps, and sleeps in one of them.
    """

    wires: tuple[ModelWire, ...] | None = None
    shown: dict[str, object] = field(default_factory=dict)
    asks_slots: bool = True
    slots_due_ms: int = 0
    gap_ms: int = FIRST_GAP_MS

    def asked(self, seen: SlotCount | None, in_use: bool, now_ms: int) -> None:
        """The time after a look when slots are asked for again."""
        if seen is None:
            return
        if in_use or seen.silent or seen.busy:
            self.slots_due_ms, self.gap_ms = now_ms, FIRST_GAP_MS
            return
        self.slots_due_ms, self.gap_ms = now_ms + self.gap_ms, min(self.gap_ms * 2, LONGEST_GAP_MS)
