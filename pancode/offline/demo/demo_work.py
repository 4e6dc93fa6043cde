"""The demo's work: a small repository, and tasks for the scripted runtime."""

from __future__ import annotations

import shutil
import sys

FILES = {
    "README.md": "# greeter\n\nSays hello.\n",
    ".gitignore": "__pycache__/\n",
    "greet.py": 'def greet(name):\n    return f"Hello, {name}."\n',
    "test_greet.py": (
        "import unittest\n\nimport greet\n\n\n"
        "class Greets(unittest.TestCase):\n"
        "    def test_greet(self):\n"
        '        self.assertEqual(greet.greet("you"), "Hello, you.")\n'
    ),
}
"""The repository's files at its first commit."""

TICKS = 14
TICK_S = 0.5


def gate() -> str:
    """The project's own tests, as a gate."""
    python = "python3" if shutil.which("python3") else sys.executable
    return f"{python} -m unittest -q"


def _script(title: str, *acts: str) -> str:
    return "\n".join(("#!scripted", f"# {title}", *acts)) + "\n"


HONEST = _script(
    "add shout() and a test for it",
    'say "reading greet.py"',
    "read greet.py",
    r"append greet.py '\n\ndef shout(name):\n    return greet(name).upper()\n'",
    r"append test_greet.py '\n    def test_shout(self):\n"
    r'        self.assertEqual(greet.shout("you"), "HELLO, YOU.")\n'
    "'",
    "usage 3100 420 0.021",
    'answer "shout() is there, with its test."',
)
"""Does what it says."""

LIAR = _script(
    "translate the greeting",
    "replace greet.py Hello Hallo",
    "usage 2400 310 0.018",
    'answer "Translated. All tests pass."',
)
"""Breaks the project's test and claims that it passes."""

LONG = _script(
    "write the change log, slowly",
    f"tick {TICKS} {TICK_S}",
    r"write CHANGES.md '# Changes\n\n- greet() says hello.\n'",
    "usage 5200 800 0.034",
    'answer "CHANGES.md is written."',
)
"""Takes long enough to lose its node agent in the middle."""
