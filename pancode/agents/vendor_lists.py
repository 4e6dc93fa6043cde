"""Provides the vendors' lists of models; each is read on first use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pancode.agents.models import CLOUD, VendorList


class KeptLists(Mapping[str, VendorList]):
    """The vendors' lists, read on first use. Thread-safe: at worst two threads read the same list."""

    def __init__(self) -> None:
        self._read: dict[str, VendorList] = {}

    def __getitem__(self, provider: str) -> VendorList:
        if provider not in CLOUD:
            raise KeyError(provider)
        if provider not in self._read:
            # The import takes megabytes of memory, and most fleets never use a vendor's model.
            from pancode.agents.price_list import KeptList

            self._read[provider] = KeptList(provider)
        return self._read[provider]

    def __iter__(self) -> Iterator[str]:
        return iter(CLOUD)

    def __len__(self) -> int:
        return len(CLOUD)
