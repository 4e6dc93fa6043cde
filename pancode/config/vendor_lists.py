"""The kept lists of vendors' models, by vendor; each is read into memory when it is first needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pancode.agents.models import CLOUD
from pancode.agents.request import VendorList


class KeptLists(Mapping[str, VendorList]):
    """Safe from any thread: at worst two read the same list at once."""

    def __init__(self) -> None:
        self._read: dict[str, VendorList] = {}

    def __getitem__(self, provider: str) -> VendorList:
        if provider not in CLOUD:
            raise KeyError(provider)
        if provider not in self._read:
            # Takes megabytes, and most fleets' dispatches name no vendor's model.
            from pancode.config.price_list import KeptList

            self._read[provider] = KeptList(provider)
        return self._read[provider]

    def __iter__(self) -> Iterator[str]:
        return iter(CLOUD)

    def __len__(self) -> int:
        return len(CLOUD)
