"""Decides whether a server that calls itself healthy makes progress: by its slots, over time. Pure.

A slow prompt looks like a wedged server: its counters move once for each batch, which may take minutes.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from node_agent.endpoints.reading import Slot, SlotCount

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
