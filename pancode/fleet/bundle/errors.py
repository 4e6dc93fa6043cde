"""The reasons why there is no bundle for a node."""

from __future__ import annotations

from pancode.kernel.errors import UnavailableError


class NotHere(Exception):
    """This source has no libraries for that node, though another may. The text says why."""


class BundleError(UnavailableError):
    """No bundle can be made for this node."""

    code = "bundle"
