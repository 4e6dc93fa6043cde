"""Reads a list of vendors' models outside of the fleet's lock, when a decision needs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import TypeVar

from pancode.agents.request import VendorList

T = TypeVar("T")


class Unread(Exception):
    """A decision needs the list of this vendor, which was not read yet: the lock is to be let go."""

    def __init__(self, vendor: str) -> None:
        super().__init__(vendor)
        self.vendor = vendor


class Lists(Mapping[str, VendorList]):
    """The lists as decisions see them: what was read before, `Unread` for the others."""

    def __init__(self, kept: Mapping[str, VendorList]) -> None:
        self._kept = kept
        self._names = tuple(kept)  # to ask `kept` whether it has one may read it
        self._read: dict[str, VendorList] = {}

    def __getitem__(self, vendor: str) -> VendorList:
        if vendor not in self._names:
            raise KeyError(vendor)
        if vendor not in self._read:
            raise Unread(vendor)
        return self._read[vendor]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def read(self, vendor: str) -> None:
        """From now on it is there. May take a moment."""
        self._read[vendor] = self._kept[vendor]


def decided(lists: Lists, lock: AbstractContextManager[object], decide: Callable[[], T]) -> T:
    """The decision under the lock; begun anew, with the lock released between, for each list that it needs.

    `decide` asks for lists before it changes anything.
    """
    while True:
        try:
            with lock:
                return decide()
        except Unread as needed:
            lists.read(needed.vendor)
