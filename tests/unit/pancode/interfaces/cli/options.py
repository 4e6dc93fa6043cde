"""The options of a command, by their names as parameters."""

from __future__ import annotations

import click

from pancode.interfaces.cli.main import cli


def options_of(*path: str) -> set[str]:
    command: click.Command = cli
    for word in path:
        assert isinstance(command, click.Group)
        found = command.get_command(click.Context(command), word)
        assert found is not None
        command = found
    return {str(one.name) for one in command.params}
