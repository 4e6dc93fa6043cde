"""Finds and checks the text of a workflow for a command, from a file, a name or standard input."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

from pancode.interfaces.client.caller import folder_here
from pancode.interfaces.client.client import home_here
from pancode.kernel.errors import ConfigError
from pancode.kernel.formatting import count_noun
from pancode.workflows.files.reader import CheckedWorkflow, check_workflow
from pancode.workflows.files.search import WorkflowPlaces, WorkflowText, decode_text
from pancode.workflows.files.source import MOST_BYTES

STDIN = "standard input"


def find_places() -> WorkflowPlaces:
    """Return the folders where workflows are looked up by name."""
    return WorkflowPlaces.seen_from(home_here(os.environ), folder_here())


def text_of(word: str) -> WorkflowText:
    """Return the workflow file with that path or name; `-` is standard input."""
    if word != "-":
        return find_places().find(word)
    return WorkflowText("", STDIN, STDIN, decode_text(sys.stdin.buffer.read(MOST_BYTES + 1), STDIN))


def check_source(source: WorkflowText, flags: Mapping[str, Any]) -> CheckedWorkflow:
    """Return the checked workflow. ConfigError on its first problem, with the command that shows all."""
    found = check_workflow(source.text, source.place, source.name, flags)
    if not found.problems:
        return found
    first, more = found.problems[0], len(found.problems) - 1
    word = "-" if source.place == STDIN else source.name if source.origin == "shipped" else source.place
    others = f"{count_noun(more, 'more problem')} after this one: pancode config check {word}" if more else ""
    why = "; ".join(filter(None, (first.why, others)))
    raise ConfigError(str(first), why=why, fix=first.fix, code="bad_workflow") from first
