"""Names the pictures of a terminal, and what is typed before them and in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scene:
    """`typed`: the commands that are shown; `title`: what the picture says, for whoever does not see it.

    `before`: commands that are not shown. `shows`: the last command takes the whole screen, and is pictured
    when these words stand there.
    """

    title: str
    typed: tuple[str, ...]
    before: tuple[str, ...] = ()
    shows: str = ""


BEFORE = """
pancode node add desk --local >/dev/null && pancode fleet up desk >/dev/null || exit 1
mkdir -p hello && cd hello && git init -q -b main .
printf 'def greet(name):\\n    return "helo " + name\\n' > greet.py
printf 'from greet import greet\\nassert greet("Ada") == "hello Ada"\\n' > check.py
echo __pycache__/ > .gitignore
git add -A && git commit -qm first
"""
"""A fleet of one node, and the project of the tutorial."""
_ASKS = r"""pancode dispatch --runtime shell 'mkdir .pancode
echo "{\"question\": \"Which port?\"}" > .pancode/question.json' >/dev/null 2>&1 || true"""
SCENES: Mapping[str, Scene] = {
    "dispatch": Scene(
        "A dispatch with a gate, the change, the check of its receipt, the landing",
        (
            "pancode dispatch --runtime shell "
            """--verify "python3 check.py" "sed -i 's/helo/hello/' greet.py\"""",
            "pancode runs diff last",
            "pancode receipt verify last",
            "pancode runs land last",
        ),
    ),
    "why": Scene(
        "Every decision about a run, and a machine that does not exist",
        ("pancode why last", "pancode dispatch --node dsek --runtime shell -- true"),
    ),
    "top": Scene(
        "The fleet on one screen: nodes, money, and one list of what needs you, runs and waits",
        ("pancode top",),
        (
            "pancode dispatch --runtime shell --detach 'echo tests; sleep 300' >/dev/null",
            "pancode dispatch --runtime shell --detach 'echo docs; sleep 300' >/dev/null",
            _ASKS,
        ),
        "running",
    ),
}
