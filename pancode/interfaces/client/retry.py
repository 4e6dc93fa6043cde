"""Sends work to the coordinator and follows streams; handles the model tests, approvals and coordinator
restarts that come in between."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from pancode.interfaces.client.client import Client, FleetDownError, ServerEvent, StreamCutError
from pancode.interfaces.client.connection import NotRunningError
from pancode.kernel.errors import ApiError, UnavailableError
from pancode.kernel.formatting import escape_line
from pancode.kernel.route import A, Route

Json = dict[str, Any]
Note = Callable[[str], object]
"""Shows one line to the user."""
MODEL_UNTESTED, NEEDS_YES, WHICH_AGENT = "model_untested", "needs_yes", "which_agent"
"""Error codes after which to repeat a request with a model's test, a user's approval or an agent's name."""
_ANSWER = {NEEDS_YES: "yes", WHICH_AGENT: "agent"}
"""The request field for the user's answer, by error code."""
AGAIN_S = 1.0
TRIES = 60
"""How many times to retry a lost coordinator before giving up."""


def run_model_tests(note: Note, client: Client, body: Json) -> list[Json]:
    """Have models tested and return the results; show each step. Raises UnavailableError or NotFoundError."""
    try:
        for event in client.events("POST", "/v1/models/test", body):
            if event.kind == "progress":
                note(f"  {escape_line(event.data['text'])}")
            elif event.kind == "result":
                tests: list[Json] = event.data["tests"]
                return tests
    except KeyboardInterrupt:
        note("\nthe test continues in the background; for its result: pancode models")
        raise
    raise UnavailableError(
        "the coordinator stopped before the test finished", fix="run the same command again"
    )


def post_confirmed(
    client: Client, route: Route[A], body: Mapping[str, object], agreed: Callable[[str], bool]
) -> A:
    """Post the request. If it needs approval, ask with `agreed`, and post it again if approved. ApiError."""
    try:
        return client.post(route, dict(body))
    except ApiError as refused:
        if refused.code != NEEDS_YES or not agreed(
            f"{escape_line(str(refused))}: {escape_line(refused.why)}. Do it?"
        ):
            raise
    return client.post(route, {**body, "yes": True})


def post_work(
    note: Note,
    client: Client,
    body: Json,
    post: Callable[[Json], A],
    answered: Callable[[ApiError], Any] = lambda refused: None,
) -> A:
    """Return the answer of `post`, after any user approval and model tests that it requires. Raises ApiError.

    `answered`: returns the user's approval or an agent's name if the refusal asks for that, else None.

    A node whose model fails the test is not used; if another node has a model, that one is tested next.
    """
    seen: set[str] = set()
    while True:
        try:
            return post(body)
        except ApiError as refused:
            place, field = _place_of_untested(refused), _ANSWER.get(refused.code)
            if field is not None and not body.get(field) and (answer := answered(refused)):
                body = {**body, field: answer}
                continue
            if place is None or place in seen:
                raise
        seen.add(place)
        node, _, _ = place.partition("/")
        (one,) = run_model_tests(note, client, {"by": body["by"], "model": place, "node": node})
        unless_tested(one)


def _place_of_untested(refused: ApiError) -> str | None:
    """Return NODE/ENDPOINT/MODEL of the model that must be tested first; None for any other refusal."""
    if refused.code != MODEL_UNTESTED or os.environ.get("PANCODE_RUN"):
        return None
    parts = [refused.details.get(name, "") for name in ("node", "endpoint", "model")]
    return "/".join(parts) if all(parts) else None


def unless_tested(one: Json) -> None:
    """Raise UnavailableError if a model's test had no result."""
    if one["passed"] is None:
        raise UnavailableError(
            f"{one['model']} on {one['node']} could not be tested: {one['words']}",
            fix=one["fix"] or f"pancode models test {one['node']}/{one['endpoint']}/{one['model']}",
            code="not_tested",
        )


def resume_stream(
    note: Note,
    run: str,
    begin: Callable[[], Iterable[ServerEvent]],
    wanted: Callable[[], bool] = lambda: True,
) -> Iterator[ServerEvent]:
    """Yield the events of a run's stream; resume the stream after a cut, with a note to the user. Raises
    FleetDownError, which says what happens to the run, if the fleet was taken down meanwhile."""
    tries = 0
    while wanted():
        try:
            ended = False
            for event in begin():
                tries = 0
                ended = ended or _is_last(event)
                yield event
            if ended:
                return
        except FleetDownError as down:
            raise _went_down(down, run) from down
        except (StreamCutError, NotRunningError) as cut:
            if tries >= TRIES:
                raise
            if tries == 0:
                note(
                    f"lost the coordinator ({cut.why or cut}); the run continues; waiting for the coordinator"
                )
        tries += 1
        time.sleep(AGAIN_S)


def _went_down(down: FleetDownError, run: str) -> FleetDownError:
    why = (
        f"{down.why}; running work continues, waiting runs are kept; {run} is updated when the fleet is up "
        "again"
    )
    return FleetDownError(str(down), why=why, fix=f"pancode fleet up; then pancode logs -f {run}")


def _is_last(event: ServerEvent) -> bool:
    return event.kind == "end" or (event.kind == "run" and event.data["state"] == "ended")
