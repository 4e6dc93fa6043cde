"""`pancode workflow batch`: many tasks at once, from the command line, a file or standard input."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from typer import Argument

from pancode.interfaces.cli import completions
from pancode.interfaces.cli.commands import verb
from pancode.interfaces.cli.parameters import Json, many
from pancode.kernel.errors import UsageError
from pancode.runs.commands import options
from pancode.workflows.commands import options as shared
from pancode.workflows.commands.start import post_workflow


@verb(
    "workflow batch",
    "pancode workflow batch -t 'review src/a.py' -t 'review src/b.py' --agent reviewer",
    "pancode workflow batch tasks.yaml --concurrency 4 --fail-fast",
    "git ls-files '*.py' | sed 's/^/add types to /' | pancode workflow batch - --dry-run",
    cls=options.WorkCommand,
)
@options.take_options("batch", after="file")
def batch(
    ctx: typer.Context,
    *,
    task: Annotated[list[str], many("A task; may be repeated.", "-t", "--task", "TASK")],
    file: Annotated[str | None, Argument(autocompletion=completions.workflow_files)] = None,
    concurrency: shared.Concurrency = None,
    stagger: shared.Stagger = None,
    fail_fast: shared.FailFast = False,
    partial: shared.Partial = False,
    total: shared.Total = None,
    land: shared.Land = False,
    detach: shared.Detach = False,
    dry_run: shared.DryRun = False,
    yes: shared.Yes = False,
    face: Json,
    **_options: Any,
) -> int:
    """Give many tasks to the fleet at once, and show each result when it arrives.

    FILE is YAML, JSON, JSONL, or text with a task on each line; - is standard input. What a task in the
    file says counts more than these options, and these count more than the file's `defaults`. All tasks
    are admitted before the first one starts. Exit code 20 when some failed.
    """
    begun = tasks_of(task, file, without_preset(options.collect_given(ctx.params)))
    return post_workflow(face, begun, ctx.params)


def without_preset(flags: dict[str, Any]) -> dict[str, Any]:
    """A preset is of the whole workflow, and not of a step."""
    return {name: value for name, value in flags.items() if name != "preset"}


def tasks_of(tasks: list[str], file: str | None, flags: dict[str, Any]) -> dict[str, Any]:
    """The request for these tasks, or for those of the file. UsageError, ConfigError."""
    from pancode.workflows.commands.sources import check_source, text_of
    from pancode.workflows.files.search import WorkflowText

    if bool(tasks) == (file is not None):
        both = "the tasks are said twice" if tasks else "no task is said"
        raise UsageError(both, fix="pancode workflow batch -t TASK -t TASK, or: pancode workflow batch FILE")
    listed = ",\n".join(map(json.dumps, tasks))  # the line of a problem is the number of its -t
    source = WorkflowText("", "-t", "-t", f'{{"tasks": [{listed}]}}') if file is None else text_of(file)
    found = check_source(source, flags)
    if found.kind != "batch":
        raise UsageError(
            f"{source.place} is a {found.kind}, not a batch", fix=f"pancode chain {file}", code="bad_workflow"
        )
    return {**(found.body or {}), **source.told()}
