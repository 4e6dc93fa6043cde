"""`pancode dispatch`: sends one task through admission to a node, and waits for the result."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pancode.interfaces.cli import follow
from pancode.interfaces.cli.parameters import Detach, Json, Verbose, Yes, option, verb
from pancode.kernel.errors import ExitCode, UsageError
from pancode.runs import answers
from pancode.runs.commands import options
from pancode.runs.commands.dispatch_requests import (
    WithArgv,
    format_plan,
    make_request,
    must_be_task,
    post_agreed,
    queue_run,
    wait_and_show,
)

Install = Annotated[bool, option("Install an agent program that the node lacks, without asking.")]
_HEADLESS = (
    "Ask nothing; start the fleet if it is not running (on this computer if there is no other node), and "
    "stop it at the end."
)
_PROJECT = "Work in this project instead of the current folder; P is its name, or an issue such as MIN-123."
_ARTIFACTS = "Write the receipt, change, logs, JUnit report and the run as JSON to this directory."


@verb(
    "dispatch",
    '--node gpubox --verify "pytest -q" "add a --json flag to export"',
    "-f task.md",
    "--runtime shell -- uname -a",
    '--headless --artifacts out "make the tests pass"',
    see="The exit code says how the run ended: pancode help exit-codes",
    cls=WithArgv,
)
@options.take_options("dispatch", after="file")
def dispatch(
    ctx: typer.Context,
    *,
    task: options.Task = None,
    file: options.File = None,
    project: Annotated[str | None, option(_PROJECT)] = None,
    detach: Detach = False,
    dry_run: options.DryRun = False,
    yes: Yes = False,
    verbose: Verbose = False,
    install: Install = False,
    headless: Annotated[bool, option(_HEADLESS)] = False,
    keep_fleet: Annotated[bool, option("Do not stop the fleet that --headless started.")] = False,
    artifacts: Annotated[Path | None, option(_ARTIFACTS, "DIR")] = None,
    face: Json,
    **_options: Any,
) -> int:
    """Dispatch TASK to the fleet and wait for its result.

    In a repository the run gets a copy of your files, including uncommitted ones, and starts in your current
    folder; setup and gates run at the repository's root. Your files do not change until you land the run:
    review its change with pancode diff, then use pancode land. Ctrl-C detaches: the run continues. A TASK
    that begins with a dash comes after --. With --runtime shell TASK is a script, and -- ARG ARG... runs
    exactly that argument list.

    With --headless no run, coordinator or node agent remains afterwards, even after Ctrl-C or SIGTERM. A
    fleet that was already running is used, and continues to run.
    """
    if headless or artifacts is not None:
        if detach or dry_run:
            what = "--headless and --artifacts require waiting for the run"
            raise UsageError(what, fix="omit --detach and --dry-run")
        from pancode.runs.commands.headless import run_headless, run_with_artifacts

        if headless:
            return run_headless(face, ctx, artifacts, keep_fleet=keep_fleet)
        return run_with_artifacts(face, ctx, artifacts, headless=False)
    if dry_run:
        must_be_task(ctx)
        planned = post_agreed(face, face.client(works=True), answers.DRY_RUN, make_request(ctx))
        face.show(planned, lambda: format_plan(planned, planned["snapshot"]))
        return ExitCode.DONE if planned["admitted"] else ExitCode.REFUSED
    answer = queue_run(face, ctx)
    if detach:
        follow.show_queued(face, answer)
        return ExitCode.DONE
    return wait_and_show(face, answer, verbose=verbose)
