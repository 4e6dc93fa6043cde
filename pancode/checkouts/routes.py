"""Routes of checkouts on clients' machines: read and fill their copies."""

from __future__ import annotations

from typing import Annotated, Literal, cast

from pydantic import Field

from pancode.checkouts.answers import CHECKOUT, FILL, CheckoutAnswer, FilledAnswer
from pancode.checkouts.hooks import KeptCheckouts
from pancode.interfaces.http.access.rights import DISPATCHES
from pancode.interfaces.http.bodies import ActBody
from pancode.interfaces.http.context import ApiContext
from pancode.interfaces.http.routing import ApiCall, Verb

Commit = Annotated[str, Field(pattern=r"^([0-9a-f]{40}|[0-9a-f]{64})$")]


class CheckoutBody(ActBody):
    """A request for a copy. `object_format`: the hash format of the checkout's repository."""

    object_format: Literal["sha1", "sha256"] = "sha1"


class FilesBody(ActBody):
    """The files for a copy. `commit`: the checkout's files, already sent by git; `head` and `branch`: the
    checkout's. `before`: the copy's files as the caller knows them; other files are not overwritten."""

    commit: Commit
    before: Commit | None = None
    head: Commit | None = None
    branch: Annotated[str, Field(min_length=1, max_length=250)] | None = None


@Verb(CHECKOUT, CheckoutBody, "dispatch", right=DISPATCHES)
def _get_state(context: ApiContext, call: ApiCall[CheckoutBody]) -> CheckoutAnswer:
    """Return the copy of a checkout on the caller's machine, creating it if missing."""
    state = context.coordinator.part(KeptCheckouts).state(_copy(call), call.body.object_format)
    about = {"commit": state.commit, "filled": state.filled, "head": state.head, "branch": state.branch}
    return cast("CheckoutAnswer", {"top": str(state.top), **about})


@Verb(FILL, FilesBody, "dispatch", right=DISPATCHES)
def _fill(context: ApiContext, call: ApiCall[FilesBody]) -> FilledAnswer:
    """Update the copy to the checkout's present state."""
    body = call.body
    copies = context.coordinator.part(KeptCheckouts)
    return {"top": str(copies.fill(_copy(call), body.commit, body.head, body.branch, body.before))}


def _copy(call: ApiCall) -> str:
    return f"{call.path['machine']}/{call.path['name']}"
