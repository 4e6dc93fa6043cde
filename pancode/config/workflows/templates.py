"""Says which places of a task name nothing, and which an agent's words would fill."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from pancode.core.names import nearest
from pancode.workflow.handing import TemplatePlace, places

FORMS = "{{ steps.NAME.answer }}, {{ steps.NAME.commit }} or {{ steps.NAME.files.PATH }}"
_BRACES = re.compile(r"(?<!\$)\{\{\s*([\w-]+)(\.(?:answer|commit|files)\b)?[^{}]*\}\}")


def misspelt(text: str, steps: Collection[str]) -> Iterator[str]:
    """An attempt at a step's output that names none. Other braces are text: a task may be about them."""
    for found in _BRACES.finditer(text):
        short = found[1] in steps and found[2] is not None
        if (short or nearest(found[1], ["steps"])) and not any(place.step for place in places(found[0])):
            yield found[0]


def outputs(text: str) -> Iterator[TemplatePlace]:
    """The places that an earlier step fills by name."""
    return (place for place in places(text) if place.step)


def written(place: TemplatePlace) -> str:
    """The template as a person writes it."""
    if not place.step:
        return f"${place.what}"
    what = f"files.{place.path}" if place.path else place.what
    return f"{{{{ steps.{place.step}.{what} }}}}"


def takes_input(text: str) -> bool:
    """Whether the text needs what is said on the command line."""
    return any(not place.step for place in places(text))


def stranger_words(text: str) -> Iterator[str]:
    """The places of the text that words of others would fill: an agent's, or the workflow's input."""
    for place in places(text):
        if place.what != "commit":
            yield written(place)
