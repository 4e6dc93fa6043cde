"""Turns looks at an agent at work into its signs of life, and says when the next look is due."""

from __future__ import annotations

from collections.abc import Iterator

from node_agent.attempt.gateways import ModelCount
from node_agent.attempt.ports import Activity
from node_agent.wire.identity import AttemptId
from node_agent.wire.node import Signs

BUSY = 10
"""So many percent of one core, on average between two looks, are work; less is a program that waits."""


class SignsOfLife:
    """Of one attempt, on the monotonic clock, which stands still while the machine sleeps."""

    def __init__(self) -> None:
        self._looked_ms: int | None = None
        self._last = Activity()
        self._bytes = self._until_ms = 0
        self._seen_ms: dict[str, int] = {}
        """By sign: when it was seen last."""

    def is_due(self, mono_ms: int, every_ms: int) -> bool:
        return self._looked_ms is None or mono_ms - self._looked_ms >= every_ms

    def look(self, seen: Activity, count: ModelCount | None, mono_ms: int, wall_ms: int) -> None:
        """The first look knows only how old the newest output is."""
        last, moved = self._last, 0
        if count is not None:
            moved = count.calls.sent_bytes + count.calls.received_bytes
            if count.waiting > 0 or moved > self._bytes:
                self._seen_ms["model_ms"] = mono_ms
            self._until_ms = mono_ms + count.calls.retry_ms if count.failing else 0
        if self._looked_ms is None:
            age = max(0, wall_ms - seen.wrote_ms) if seen.wrote_ms else 0
            self._seen_ms["output_ms"] = mono_ms - age
        else:
            busy = (seen.cpu_ms - last.cpu_ms) * 100 >= BUSY * max(1, mono_ms - self._looked_ms)
            news = {"cpu_ms": busy, "output_ms": seen.wrote_ms != last.wrote_ms}
            news["files_ms"] = seen.changed_ms > last.changed_ms
            self._seen_ms.update({sign: mono_ms for sign, is_new in news.items() if is_new})
        self._looked_ms, self._last, self._bytes = mono_ms, seen, moved

    def ages(self, identity: AttemptId, mono_ms: int) -> Iterator[Signs]:
        """Nothing before the first look. From any thread."""
        seen = dict(self._seen_ms)
        if "output_ms" in seen:
            pause = max(0, self._until_ms - mono_ms)
            ages = {sign: max(0, mono_ms - at) for sign, at in seen.items()}
            yield Signs(identity=identity, pause_ms=pause, **ages)
