"""Finds what a task takes from other steps: `{{ steps.plan.answer }}`. The engine fills it in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_TEMPLATE = re.compile(r"(?<!\$)\{\{(.*?)\}\}", re.DOTALL)
"""`${{ ... }}` is what other programs write, and stays as it is."""
_OUTPUT = re.compile(r"steps\.([A-Za-z0-9_-]+)\.(answer|commit|files\.(\S+))")
_INPUT = re.compile(r"\$(?:INPUT|ORIGINAL)\b")
FORMS = "{{ steps.NAME.answer }}, {{ steps.NAME.commit }} or {{ steps.NAME.files.PATH }}"


@dataclass(frozen=True, slots=True)
class StepOutput:
    """What one template names: `file` only where it is a file's text."""

    written: str
    step: str
    file: str | None
    is_commit: bool


def outputs_in(text: str) -> Iterator[StepOutput | str]:
    """Each template in the text; one that names no output as it is written."""
    for found in _TEMPLATE.finditer(text):
        output = _OUTPUT.fullmatch(found[1].strip())
        yield (
            found[0] if output is None else StepOutput(found[0], output[1], output[3], output[2] == "commit")
        )


def takes_input(text: str) -> bool:
    """Whether the text needs what is said on the command line."""
    return _INPUT.search(text) is not None


def stranger_words(text: str, *, first: bool) -> Iterator[str]:
    """The places of the text that an agent's words would fill. `first`: of a step that needs no other."""
    for output in outputs_in(text):
        if isinstance(output, StepOutput) and not output.is_commit:
            yield output.written
    if not first and "$INPUT" in text:
        yield "$INPUT"
