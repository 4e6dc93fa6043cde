"""API routes for watched pull requests: list them, and take a user's word about one."""

from __future__ import annotations

from pancode.interfaces.http.access.rights import LANDS
from pancode.interfaces.http.bodies import ActBody
from pancode.interfaces.http.context import ApiContext
from pancode.interfaces.http.routing import ApiCall, Verb
from pancode.kernel.declared import make_answer
from pancode.kernel.errors import UsageError
from pancode.kernel.visitors import AccessScope, must_have
from pancode.pull_requests.answers import PULL, PULLS, WatchedPullsAnswer, WatchedPullShape
from pancode.pull_requests.hooks import WatchedPulls
from pancode.pull_requests.model import WatchedPull, items_of
from pancode.pull_requests.rules import command_for
from pancode.pull_requests.store import take_word
from pancode.runs.views import format_optional_iso


class PullBody(ActBody):
    """A user's word. `follow`: whether checks and remarks go to the agent; null: no change. `done`: the
    items are settled; `forget`: stop watching the pull request."""

    follow: bool | None = None
    done: bool = False
    forget: bool = False


@Verb(PULLS, command="inbox pulls")
def _pulls(context: ApiContext, call: ApiCall) -> WatchedPullsAnswer:
    """List the pull requests that are watched, with their checks, reviews and comments that count."""
    return {"pulls": [_shape(one) for one in context.coordinator.part(WatchedPulls).pulls()]}


@Verb(PULL, PullBody, "inbox pulls", right=LANDS)
def _pull(context: ApiContext, call: ApiCall[PullBody]) -> WatchedPullShape:
    """Follow a pull request, settle its items, or stop watching it."""
    body = call.body
    if body.follow is None and not body.done and not body.forget:
        raise UsageError("the request changes nothing", fix="set follow, done or forget", code="bad_value")
    if body.follow:
        must_have(AccessScope.DISPATCH, "work on a pull request's checks and remarks")
    pull = take_word(context.core, call.path["pull"], body.follow, body.done, body.forget, body.by)
    context.coordinator.part(WatchedPulls).watch.look(pull)
    return _shape(pull)


def _shape(pull: WatchedPull) -> WatchedPullShape:
    return make_answer(
        WatchedPullShape,
        pull,
        state="not watched" if pull.ended and pull.state.startswith("open") else pull.state,
        working=(pull.worker or None) if pull.mark else None,
        looked_at=format_optional_iso(pull.looked_ms or None),
        trouble=pull.trouble or None,
        items=[
            {
                "kind": one.kind.value,
                "title": one.title,
                "text": one.text,
                "sent": one.is_sent,
                "command": command_for(pull, one.kind),
            }
            for one in items_of(pull)
        ],
    )
