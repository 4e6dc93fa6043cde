"""Checkouts of other nodes as the API shows them."""

from __future__ import annotations

from typing_extensions import TypedDict

from pancode.kernel.route import Route


class CheckoutAnswer(TypedDict):
    """The coordinator's copy of a checkout. `top`: the copy's folder here; `commit`: the files as they are
    now, above the commit `head` of `branch`; `filled`: as they came; null: nothing was ever sent.
    """

    top: str
    commit: str | None
    filled: str | None
    head: str | None
    branch: str | None


class FilledAnswer(TypedDict):
    top: str


CHECKOUT = Route[CheckoutAnswer]("POST /v1/checkouts/{machine}/{name}")
FILL = Route[FilledAnswer]("POST /v1/checkouts/{machine}/{name}/files")
