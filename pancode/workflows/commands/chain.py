"""`pancode workflow chain`: steps that build on each other, from a file or by name."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer import Argument

from pancode.interfaces.cli import completions
from pancode.interfaces.cli.commands import Commands
from pancode.interfaces.cli.parameters import Json
from pancode.kernel.errors import UsageError
from pancode.runs.commands import options
from pancode.runs.commands.dispatch import task_text
from pancode.workflows.commands import options as shared
from pancode.workflows.commands.batch import without_preset
from pancode.workflows.commands.start import post_workflow

app = Commands()


@app.verb(
    "workflow chain",
    "pancode workflow chain explore-then-build 'add tests for the config module'",
    "pancode workflow chain ./release.yaml --dry-run",
    "pancode workflow chain review-loop -f task.md --land",
    cls=options.WorkCommand,
)
@options.take_options("chain", after="file")
def chain(
    ctx: typer.Context,
    *,
    workflow: Annotated[str, Argument(metavar="NAME|FILE", autocompletion=completions.workflow_files)],
    text: Annotated[str | None, Argument(metavar="[INPUT]")] = None,
    file: options.File = None,
    concurrency: shared.Concurrency = None,
    total: shared.Total = None,
    land: shared.LandLast = False,
    detach: shared.Detach = False,
    dry_run: shared.DryRun = False,
    yes: shared.Yes = False,
    face: Json,
    **_options: Any,
) -> int:
    """Run the steps of a workflow, each on the results of the steps before it.

    NAME is looked up in .pancode/workflows of the project, in the workflows folder of your PANCODE_HOME,
    and among the shipped ones (pancode workflow ls --files). INPUT is what $ORIGINAL stands for. What a
    step in the file says counts more than these options. Exit code 20 when a step failed; continue from there
    with pancode workflow resume.
    """
    return post_workflow(face, steps_of(workflow, task_text(text, file), ctx.params), ctx.params)


def steps_of(workflow: str, wanted: str | None, given: dict[str, Any]) -> dict[str, Any]:
    """The request for this workflow with its input. UsageError, ConfigError."""
    from pancode.workflows.commands.sources import check_source, text_of

    source = text_of(workflow)
    found = check_source(source, without_preset(options.collect_given({**given, "land": False})))
    if found.kind == "batch":
        raise UsageError(
            f"{source.place} is a batch, not a chain", fix=f"pancode batch {workflow}", code="bad_workflow"
        )
    if found.needs_input and not (wanted or "").strip():
        raise UsageError(
            f"{source.name or workflow} uses $ORIGINAL or $INPUT, but no input was given",
            fix=f'pancode workflow chain {workflow} "what is to be done"',
            code="no_input",
        )
    return {**(found.body or {}), **source.told(), "input": wanted or ""}
