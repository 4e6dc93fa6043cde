"""Decides whether a project's workflow file needs a person's yes: a landed change may have written it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pancode.errors import RefusedError

NEEDS_YES = "needs_yes"
"""The code of an agent that asks before each dispatch: a terminal asks, any other face refuses."""
SETTING = "workflow_file:"
"""The prefix before the digest of a content to which a person has said yes."""


@dataclass(frozen=True, slots=True)
class ProjectFile:
    """The file from which a workflow was read. `replaces`: the shipped workflow whose place it takes."""

    place: str
    digest: str
    replaces: str = ""

    def words(self) -> str:
        """Said each time that it takes the place of a shipped one; empty where it does not."""
        shipped = f"{self.replaces} is {self.place}, a file of the project"
        return f"{shipped}, in the place of the workflow that PanCode ships" if self.replaces else ""


def reasons_to_ask(file: ProjectFile, bare: Iterable[str]) -> tuple[str, ...]:
    """`bare`: its steps with `workspace: none`."""
    names = ", ".join(bare)
    outside = f"step {names}: workspace none, on the machine itself" if names else ""
    return tuple(filter(None, (file.words(), outside)))


def needs_yes(file: ProjectFile, why: str) -> RefusedError:
    """The refusal, until a person has said yes to this content."""
    return RefusedError(
        f"Dispatch blocked: nobody has said yes to the workflow file {file.place}",
        why=f"it is a file of the project, which a landed change may have written, and {why} "
        f"(content sha256 {file.digest[:12]})",
        fix=f"read it: cat {file.place}; then give the command on a terminal, or with --yes: "
        "the yes counts for this content",
        code=NEEDS_YES,
    )
