"""The newest epoch in memory: what a disk keeps beside the ledger, and what is lost with that disk."""

from __future__ import annotations


class MemoryEpochs:
    """A pancode.kernel.ports.Epochs."""

    def __init__(self) -> None:
        self._kept: int | None = None

    def last(self) -> int | None:
        return self._kept

    def keep(self, epoch: int) -> None:
        self._kept = epoch

    def lose(self) -> None:
        """The disk was replaced, or a backup has brought a copy along, which is not believed."""
        self._kept = None
