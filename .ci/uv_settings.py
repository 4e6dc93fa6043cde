"""Says pip's settings of where packages come from in the words of uv, which does not read them."""

from __future__ import annotations

import ast
import subprocess
import sys

WORDS = {"index-url": "--default-index", "extra-index-url": "--index", "find-links": "--find-links"}


def words(listed: str) -> list[str]:
    """Of the lines of `pip config list`; the environment's come last there, and count instead of a file's."""
    found: dict[str, str] = {}
    for line in listed.splitlines():
        name, _, value = line.partition("=")
        section, _, setting = name.rpartition(".")
        if setting in WORDS and section in ("global", "install", ":env:"):
            found[WORDS[setting]] = str(ast.literal_eval(value))
    options = [f"{option}={place}" for option, places in found.items() for place in places.split()]
    return [*options, "--index-strategy=unsafe-best-match"]  # as pip: the hashes say which file is meant


if __name__ == "__main__":
    argv = [sys.executable, "-m", "pip", "--disable-pip-version-check", "config", "list"]
    listed = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    sys.stdout.write("".join(f"{word}\n" for word in words(listed)))
