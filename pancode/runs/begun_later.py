"""Work that begins later: what a feature does with it, and whether its token may still begin it."""

from __future__ import annotations

from typing import Protocol

from pancode.kernel.errors import RefusedError
from pancode.kernel.ports import Transaction
from pancode.kernel.records import ApiToken
from pancode.kernel.visitors import speaks_for, token_behind
from pancode.runs.admission.plan import Plan
from pancode.runs.core import Core
from pancode.runs.request import DispatchRequest
from pancode.runs.user_environment import Surroundings


class LaterWork(Protocol):
    """Larger work that a feature plans now, and that begins later, possibly often."""

    @property
    def kind(self) -> str:
        """The word by which `planned` of the features finds who reads the stored work."""

    @property
    def requests(self) -> tuple[DispatchRequest, ...]:
        """Return the requests for all its runs."""

    def row(self) -> dict[str, object]:
        """Return the work as plain JSON."""

    def words(self) -> str:
        """Return the work as a table shows it."""

    def about(self, place: str, text: str) -> LaterWork:
        """Return the work with this text for a placeholder in its input."""

    def restrict(self, core: Core) -> LaterWork:
        """Return the work as it may start, and record a user's approval in it. RefusedError without one."""

    def judge(self, core: Core, around: Surroundings) -> list[Plan]:
        """Check each run's dispatch as of now; change nothing. PancodeError if one cannot be resolved."""

    def new_id(self, core: Core, tx: Transaction) -> str:
        """Return an unused id for the work; it is not reserved until the work begins."""

    def begin(self, core: Core, around: Surroundings, name: str | None) -> None:
        """Begin the work with this id. PancodeError if it is refused; then nothing has begun."""


def must_still_speak(
    tx: Transaction, by: str, made_ms: int, what: str, fix: str, now_ms: int | None = None
) -> None:
    """Raise RefusedError if `by` is a token that was revoked after it requested `what`, at `made_ms`.

    `now_ms`: for what begins again and again, which also ends when the token expires; None: for a whole that
    was requested while the token was valid.
    """
    name = token_behind(by)
    if name is None or speaks_for(tx.get(ApiToken, name), made_ms, now_ms):
        return
    raise RefusedError(
        f"the token {name} that requested {what} is no longer valid",
        why="it was revoked" if now_ms is None else "it was revoked or expired",
        fix=fix,
        code="token_over",
    )
