"""Routes of the hold after a restore: list what is held, and start or drop it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from pancode.interfaces.http.access.rights import OPERATES
from pancode.interfaces.http.bodies import ActBody
from pancode.interfaces.http.context import ApiContext
from pancode.interfaces.http.routing import ApiCall, Verb
from pancode.runs.restored.answers import HELD, RELEASE, HeldAnswer, ReleasedAnswer
from pancode.runs.restored.release import describe_held, release

HeldNames = Annotated[tuple[Annotated[str, Field(max_length=200)], ...], Field(max_length=1_000)]


class ReleaseBody(ActBody):
    """The names of held things to start and to drop; `rest`: start everything else that is held."""

    start: HeldNames = ()
    drop: HeldNames = ()
    rest: bool = False


@Verb(HELD, command="fleet resume")
def _held(context: ApiContext, call: ApiCall) -> HeldAnswer:
    """List what is held since the ledger was restored, and what the nodes say about it."""
    return describe_held(context.core)


@Verb(RELEASE, ReleaseBody, "fleet resume", pokes=True, right=OPERATES)
def _release(context: ApiContext, call: ApiCall[ReleaseBody]) -> ReleasedAnswer:
    """Start or drop held things."""
    return release(context.core, call.body.start, call.body.drop, call.body.by, call.body.rest)
