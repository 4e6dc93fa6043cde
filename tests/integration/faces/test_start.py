"""Ctrl-C is silent before a module of ours, or of Python's own that takes time, is read."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from pancode import start

FIRST_READ = """\
import _signal, sys
print(_signal.getsignal(_signal.SIGINT) == _signal.SIG_DFL, {"re", "typing", "enum"} & sys.modules.keys())
"""


def test_the_first_line_of_the_command_leaves_ctrl_c_to_the_system(tmp_path: Path) -> None:
    shutil.copy(start.__file__, tmp_path / "command")
    (tmp_path / "pancode").mkdir()
    (tmp_path / "pancode/__init__.py").write_text(FIRST_READ)
    (tmp_path / "pancode/__main__.py").write_text("def main(): print('ran')\n")
    words = [sys.executable, "-S", "-E", str(tmp_path / "command")]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout == "True set()\nran\n"


def test_what_is_ignored_where_it_was_started_stays_so(tmp_path: Path) -> None:
    shutil.copy(start.__file__, tmp_path / "command")
    (tmp_path / "pancode").mkdir()
    (tmp_path / "pancode/__init__.py").write_text("")
    told = "import _signal\ndef main(): print(_signal.getsignal(_signal.SIGINT) == _signal.SIG_IGN)\n"
    (tmp_path / "pancode/__main__.py").write_text(told)
    words = [
        "sh",
        "-c",
        'trap "" INT; exec "$@"',
        "sh",
        sys.executable,
        "-S",
        "-E",
        str(tmp_path / "command"),
    ]
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout == "True\n"


def test_what_is_installed_is_that_very_command() -> None:
    """Its first line names the Python; a copy made before today's is mended by `make setup`."""
    installed = Path(sys.executable).parent / "pancode"
    own = Path(start.__file__).read_text().partition("\n")[2]
    assert installed.read_text().partition("\n")[2] == own
