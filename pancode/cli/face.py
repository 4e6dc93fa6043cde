"""Shared by all commands: the API's client, the caller, and where answers go."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pancode.caller import environment, stands_in
from pancode.caller import folder_here as folder_here
from pancode.caller import who as who
from pancode.caller import work_folder as work_folder
from pancode.client import Client
from pancode.connection import place_of
from pancode.errors import UsageError
from pancode.remote.place import forget_remote, remote_of


@dataclass(frozen=True, slots=True)
class Face:
    """One command's way out. Progress and notes go to standard error, the result to standard output."""

    as_json: bool

    def client(self, *, starts: bool = True, works: bool = False) -> Client:
        """`works`: this command means work, so a fleet that was taken down comes up for it.

        Then the person is told of variables that the coordinator, which runs already, does not have.
        """
        client = Client(place_of(os.environ), starts=starts, works=works, note=self.note, folder=stands_in())
        if works:
            from pancode.cli.ignored_variables import unheeded

            for warning in unheeded(client, folder_here(), os.environ):
                self.note(f"warning: {warning}")
        return client

    def acts_here(self, what: str) -> None:
        """This command is about this machine, wherever the coordinator is."""
        there = remote_of(os.environ)
        if there is not None:
            self.note(f"{what} acts on this machine, not on {there}")
            forget_remote()

    def show(self, data: Any, words: Callable[[], str]) -> None:
        """The result: as JSON, or in words."""
        sys.stdout.write(json.dumps(data) + "\n" if self.as_json else words())
        sys.stdout.flush()

    def end(self, status: int, data: Any, words: Callable[[], str]) -> int:
        """As `show`, for what was waited for: the status is its own, also when its reader has gone."""
        try:
            self.show(data, words)
        except BrokenPipeError:
            say_no_more()
        return status

    def note(self, text: str) -> None:
        """Something beside the result; scripts that asked for JSON are spared.

        Where nobody can hear it (its reader has gone, its disk is full) what is waited for goes on.
        """
        if not self.as_json:
            aside(text + "\n")

    def can_ask(self) -> bool:
        """Whether somebody sits there."""
        return not self.as_json and sys.stdin.isatty()

    def agreed(self, question: str, otherwise: str) -> bool:
        """Ask a person; where there is none, UsageError with the option that says it."""
        if not self.can_ask():
            raise UsageError(
                f"{question} Nobody can answer: this is not a terminal.", fix=otherwise, code="cannot_ask"
            )
        import typer

        return typer.confirm(question, default=False, err=True)


def aside(text: str) -> None:
    """Onto standard error; where that cannot be written there is nobody to be told."""
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def say_no_more() -> None:
    """Sends the rest of standard output nowhere, so that Python can end without an error."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def caller() -> dict[str, Any]:
    """The caller, as the API's body."""
    return {"by": who(), "environ": environment()}
