"""Resolves a name on the command line: a run, a workflow, or an issue whose run is meant."""

from __future__ import annotations

import re
from typing import Annotated

from pancode.interfaces.cli.parameters import Argument, completions, option
from pancode.interfaces.client.client import Client
from pancode.kernel.errors import ApiError, ExitCode
from pancode.runs.answers import WORK_RUN

_HELP = "A run, or an issue such as SHOP-12 for its run."
AnyRun = Annotated[str, Argument(autocompletion=completions.complete_runs, help=_HELP)]
OfWorkflow = Annotated[
    bool, option("RUN is a workflow; needed for a name such as `last`, which otherwise is a run.")
]
_ISSUE = re.compile(r"[A-Za-z]{2}[A-Za-z0-9]*-[0-9]+")


def is_workflow(name: str) -> bool:
    return name.startswith("w-")


def find_run(client: Client, name: str) -> str:
    """Return the run that works on the issue `name`; return any other name unchanged."""
    if _ISSUE.fullmatch(name) is None:
        return name
    try:
        return client.get(WORK_RUN.at(name))["run"]
    except ApiError as error:
        if name.upper() == name or error.exit_code is not ExitCode.NOT_FOUND:
            raise
        return name  # The name can be that of an agent, such as builder-2.
