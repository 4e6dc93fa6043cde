"""`pancode run --headless`: one task for a script or a CI job, on a fleet that lives as long as the task."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from pancode.cli.ci.artifacts import write_artifacts
from pancode.cli.dispatch import WithArgv, dispatch, finished, queued
from pancode.cli.face import Face, caller
from pancode.cli.fleet import steps, take_down
from pancode.cli.lazy import Commands
from pancode.cli.params import Json, option
from pancode.connection import NotRunningError
from pancode.errors import ExitCode, UnavailableError

app = Commands()
Headless = Annotated[
    bool,
    option(
        "Ask nothing; bring up a fleet of this machine if no fleet runs, and take it down at the end.",
        "--headless",
    ),
]
Keep = Annotated[bool, option("Leave the fleet up that --headless has brought up.", "--keep-fleet")]
Artifacts = Annotated[
    Path | None, option("Write receipt, change, logs, JUnit and the run itself into this folder.", "DIR")
]
_NOT_HERE = ("detach", "dry_run")
"""Options of `dispatch` that make no sense for a command that waits."""


def run(
    ctx: typer.Context,
    *,
    headless: Headless = False,
    keep_fleet: Keep = False,
    artifacts: Artifacts = None,
    face: Json,
    **_options: Any,
) -> int:
    """Give TASK to the fleet, wait, and leave what a CI job keeps.

    The exit status is that of `pancode dispatch`. With --headless nothing is left behind: no coordinator, no
    node agent. A fleet that runs already is used, and stays up.
    """
    ctx.params |= dict.fromkeys(_NOT_HERE, False)
    with _fleet(face, ends=not keep_fleet) if headless else _as_it_is():
        answer = queued(face, ctx, asks=not headless)
        status = finished(face, answer)
        if artifacts is not None and status != ExitCode.DETACHED:
            names = write_artifacts(face.client(starts=False), answer["run"], artifacts)
            face.note(f"artifacts in {artifacts}: {', '.join(names)}")
        return status


@contextmanager
def _as_it_is() -> Iterator[None]:
    yield


@contextmanager
def _fleet(face: Face, *, ends: bool) -> Iterator[None]:
    """A fleet that runs; one that was brought up for this is taken down."""
    if _runs(face):
        yield
        return
    client = face.client(works=True)
    answer = steps(face, client.events("POST", "/v1/fleet/up", {**caller(), "nodes": []}))
    try:
        if not any(result["ok"] for result in answer["results"]):
            raise _not_up(answer["results"])
        yield
    finally:
        if ends:
            take_down(face, face.client(starts=False))


def _runs(face: Face) -> bool:
    """Whether a coordinator answers, which then is somebody's."""
    try:
        face.client(starts=False).get("/v1/ping")
    except NotRunningError:
        return False
    return True


def _not_up(results: list[dict[str, Any]]) -> UnavailableError:
    why = "; ".join(f"{one['node']}: {one.get('why') or one.get('error') or 'not ready'}" for one in results)
    return UnavailableError("no machine of the fleet came up", why=why, fix="pancode fleet up")


def _with_options_of_dispatch() -> None:
    """`run` takes whatever `dispatch` takes; declared once, there."""
    own, theirs = (inspect.signature(one, eval_str=True) for one in (run, dispatch))
    kept = [one for name, one in own.parameters.items() if name not in ("ctx", "face", "_options")]
    taken = [one for name, one in theirs.parameters.items() if name not in _NOT_HERE]
    parameters = [*taken[:-1], *kept, taken[-1]]
    run.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in parameters}


_with_options_of_dispatch()
app.verb(
    "run",
    'pancode run --headless --artifacts out "make the tests pass"',
    "pancode run --headless --artifacts out -f task.md",
    cls=WithArgv,
)(run)
