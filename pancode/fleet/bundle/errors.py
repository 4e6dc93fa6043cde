"""The errors for a bundle that cannot be made."""

from __future__ import annotations

from pancode.kernel.errors import UnavailableError


class NotHere(Exception):
    """This source of libraries has none for that node, but another may. The text gives the reason."""


class BundleError(UnavailableError):
    """No bundle can be made for this node."""

    code = "bundle"
