"""The coordinator's part for checkouts on other machines: their copies."""

from __future__ import annotations

from pancode.checkouts.copies import CheckoutCopies
from pancode.fleet.part import CoordinatorPart


class KeptCheckouts(CheckoutCopies, CoordinatorPart):
    """The copies in the coordinator's home."""
