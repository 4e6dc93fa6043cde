"""`pancode completion SHELL`: the script with which a shell completes commands, options and their values."""

from __future__ import annotations

import sys

import click
from click.shell_completion import get_completion_class

from pancode.cli.face import example

SHELLS = ("bash", "zsh", "fish")
ASKED_BY = "_PANCODE_COMPLETE"
"""The variable by which click knows that a shell asks; made of the program's name."""


@click.command(epilog=example('eval "$(pancode completion bash)"', "pancode completion fish"))
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(ctx: click.Context, /, shell: str) -> None:
    """The script that makes your shell complete `pancode`: evaluate it, or keep it where the shell looks.

    bash: ~/.local/share/bash-completion/completions/pancode; zsh: _pancode in a folder of $fpath;
    fish: ~/.config/fish/completions/pancode.fish.
    """
    kind = get_completion_class(shell)
    assert kind is not None, "click knows each of SHELLS"
    made = kind(ctx.find_root().command, {}, "pancode", ASKED_BY)
    # Not made.source(), which starts a bash to ask for its version: this one may be for another machine.
    sys.stdout.write(made.source_template % made.source_vars())
