"""`pancode completion SHELL`: the script that lets a shell complete commands, options and values."""

from __future__ import annotations

import sys
from typing import Annotated, Literal

import typer
from click.shell_completion import get_completion_class

from pancode.cli.parsing.lazy import Commands

app = Commands()


@app.verb("completion", 'eval "$(pancode completion bash)"', "pancode completion fish")
def completion(
    ctx: typer.Context,
    shell: Annotated[Literal["bash", "zsh", "fish"], typer.Argument(metavar="bash|zsh|fish")],
) -> None:
    """Print the script that completes `pancode` in your shell; evaluate it, or keep it where the shell looks.

    bash: ~/.local/share/bash-completion/completions/pancode; zsh: _pancode in a folder of $fpath;
    fish: ~/.config/fish/completions/pancode.fish.
    """
    from pancode.cli.main import ASKED_BY

    kind = get_completion_class(shell)
    assert kind is not None, "click knows each of them"
    made = kind(ctx.find_root().command, {}, "pancode", ASKED_BY)
    # Not made.source(), which starts a bash to ask for its version: this one may be for another machine.
    sys.stdout.write(made.source_template % made.source_vars())
