"""What commands of other subjects do with larger work, such as a workflow, instead of with a run."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass

import typer

from pancode.interfaces.cli.output import Face
from pancode.interfaces.cli.tree import LARGER
from pancode.interfaces.client.client import Client
from pancode.kernel.errors import UsageError


@dataclass(frozen=True, slots=True)
class LargerCommands:
    """The functions of a feature with larger work; a name is as the user typed it."""

    show: Callable[[Face, str], None]
    retry: Callable[[Face, str, bool, bool], int]
    """Repeat the work with this name, and return the exit status. The flags: do not wait for its end; a user
    has approved it."""
    stop: Callable[[Face, Client, str, dict[str, str], bool], int]
    """Stop the work with this name by a request with this body, and return the exit status. The flag: do not
    ask the user for confirmation."""
    make_later: Callable[[typer.Context, str | None], dict[str, object]]
    """Return the request for work that begins later, from the options of a command and this input."""
    complete: Callable[[str], list[str]]
    """Return what Tab offers for the name of a file with such work."""


def load_commands() -> LargerCommands:
    """Load the functions. UsageError if no feature has any."""
    for module in LARGER.values():
        found: LargerCommands = importlib.import_module(module).COMMANDS
        return found
    raise UsageError("this installation has no workflows", fix="name a run")


def complete_files(incomplete: str) -> list[str]:
    """Return what Tab offers for the name of a file with larger work; empty if no feature has such work."""
    return load_commands().complete(incomplete) if LARGER else []
