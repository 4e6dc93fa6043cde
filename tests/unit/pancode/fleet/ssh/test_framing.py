"""What a login shell prints before our command is not our command's output."""

from __future__ import annotations

import subprocess

import pytest

from pancode.fleet.ssh.remote import strip_marks, wrap_command

NOISE = "printf 'Welcome, no line end'; echo 3 updates >&2; "


END = "trap 'echo bye; echo bye >&2' EXIT; "


@pytest.mark.parametrize("noise", ["", NOISE, END, NOISE + END])
def test_output_status_input_and_words_are_the_commands_own(noise: str) -> None:
    argv = ("sh", "-c", 'cat; printf "%s|" "$@"; echo err >&2; exit 3', "x", "a b", "$HOME", "it's")
    done = subprocess.run(
        ["sh", "-c", noise + wrap_command(argv)], input=b"in|", capture_output=True, check=False
    )
    assert (done.returncode, strip_marks(done.stdout), strip_marks(done.stderr)) == (
        3,
        b"in|a b|$HOME|it's|",
        b"err\n",
    )


def test_where_the_shell_did_not_come_to_the_command_its_words_are_shown() -> None:
    assert strip_marks(b"This account is not available.\n") == b"This account is not available.\n"
