"""API shapes of checkouts on other machines."""

from typing_extensions import TypedDict

from pancode.kernel.route import Route


class CheckoutAnswer(TypedDict):
    """The coordinator's copy of a checkout. `top`: the copy's folder; `commit`: the copy's present files, on
    top of the commit `head` of `branch`; `filled`: the files as last sent; null: nothing was sent yet."""

    top: str
    commit: str | None
    filled: str | None
    head: str | None
    branch: str | None


class FilledAnswer(TypedDict):
    top: str


CHECKOUT = Route[CheckoutAnswer]("POST /v1/checkouts/{machine}/{name}")
FILL = Route[FilledAnswer]("POST /v1/checkouts/{machine}/{name}/files")
