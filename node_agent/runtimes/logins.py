"""Says how each agent program's own login by subscription is opened, and what it leaves. Pure.

A runtime that is not here has none whose form was measured: its runs take a key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

FOLDER = "logins"
"""In the node's home: a folder for each runtime, of the node's user alone."""


@dataclass(frozen=True, slots=True)
class Login:
    """`argv`: the vendor's own login. It leaves a file in the folder that `home` names, or prints a token.

    `file`: what it is called there; of a token, as we keep it, under the name `variable` for runs.
    """

    argv: tuple[str, ...]
    file: str
    home: str = ""
    variable: str = ""


LOGINS: Mapping[str, Login] = {
    "claude": Login(
        ("claude", "setup-token"), "token", "CLAUDE_CONFIG_DIR", variable="CLAUDE_CODE_OAUTH_TOKEN"
    ),
}


def tokens(home: Path) -> dict[str, Path]:
    """Where the tokens of logins lie in a node's home, by the variable as which runs get them."""
    found = LOGINS.items()
    return {login.variable: home / FOLDER / name / login.file for name, login in found if login.variable}
