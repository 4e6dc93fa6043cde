"""The module of each command can be imported alone: none works only because another came before."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from pancode.interfaces.cli.tree import HIDDEN, TREE

ROOT = Path(__file__).parents[5]
EACH_IN_A_FORK = """\
import gc, http.client, importlib, os, subprocess, sys, traceback
import pydantic, typer, typer.core, typer.main
assert not {name.partition(".")[0] for name in sys.modules} & {"pancode", "node_agent"}
gc.freeze()
for name in sys.argv[1:]:
    child = os.fork()
    if not child:
        try:
            importlib.import_module(name)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        print(name)
"""


def alone(modules: list[str], folder: Path) -> tuple[list[str], str]:
    """The modules that cannot be imported alone, and why."""
    words = [sys.executable, "-c", EACH_IN_A_FORK, *modules]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.splitlines(), done.stderr


def test_each_command_needs_no_module_that_another_has_imported() -> None:
    modules = {one.module for one in (*TREE.values(), *HIDDEN.values()) if one.module}
    failed, why = alone(sorted(modules), ROOT)
    assert not failed, (failed, why)


def test_a_module_that_needs_another_first_is_named(tmp_path: Path) -> None:
    (tmp_path / "first.py").write_text("import sys\nsys.modules['hidden'] = sys\n")
    (tmp_path / "second.py").write_text("import hidden\n")
    failed, why = alone(["first", "second"], tmp_path)
    assert failed == ["second"] and "No module named 'hidden'" in why
