"""Keeps the vendors' lists of models; each is read at its first use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pancode.agents.models import CLOUD, VendorList


class KeptLists(Mapping[str, VendorList]):
    """The vendors' lists, read at first use. Safe from any thread: at worst two read the same list at
    once."""

    def __init__(self) -> None:
        self._read: dict[str, VendorList] = {}

    def __getitem__(self, provider: str) -> VendorList:
        if provider not in CLOUD:
            raise KeyError(provider)
        if provider not in self._read:
            # Takes megabytes, and most fleets' dispatches name no vendor's model.
            from pancode.agents.price_list import KeptList

            self._read[provider] = KeptList(provider)
        return self._read[provider]

    def __iter__(self) -> Iterator[str]:
        return iter(CLOUD)

    def __len__(self) -> int:
        return len(CLOUD)
