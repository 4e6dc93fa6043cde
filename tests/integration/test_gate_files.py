"""The rows of the table of files that decide, against the programs themselves: what turns a gate off asks."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import mypy.defaults
import pytest
from _pytest.config import findpaths

from node_agent.runtimes.base import base_env
from tests.unit.node_agent.policy.test_deciding import decides
from tests.unit.node_agent.runtimes.asked import PLACE, REQUEST

PYTEST, MYPY, RUFF = ((sys.executable, "-m", name) for name in ("pytest", "mypy", "ruff"))
FAILS = {
    "pytest": {"test_a.py": "def test_a():\n    assert 0\n", "conftest.py": ""},
    "mypy": {"a.py": "a: int = ''\n"},
    "ruff": {"a.py": "import os\n"},
    "make": {"Makefile": "test:\n\tfalse\n"},
}
COMMANDS = {
    "pytest": (*PYTEST, "-q", "-p", "no:cacheprovider", "."),
    "mypy": (*MYPY, "--no-incremental", "."),
    "ruff": (*RUFF, "check", "--no-cache", "."),
    "make": ("make", "test"),
}
PARTS = {
    "pytest": {
        **{"pytest.ini": "[pytest]\naddopts=--co\n", "setup.cfg": "[tool:pytest]\naddopts=--co\n"},
        "pyproject.toml": "[tool.pytest.ini_options]\naddopts='--co'\n",
        "pytest.toml": "[pytest]\naddopts=['--co']\n",
        "conftest.py": "import os\nos._exit(0)\n",
    },
    "mypy": {
        **{"mypy.ini": "[mypy]\nignore_errors=true\n", "setup.cfg": "[mypy]\nignore_errors=true\n"},
        "pyproject.toml": "[tool.mypy]\nignore_errors=true\n",
    },
    "ruff": {"ruff.toml": "lint.select=['E']\n", "pyproject.toml": "[tool.ruff.lint]\nselect=['E']\n"},
    "make": {"makefile": "test:\n\ttrue\n", "GNUmakefile": "test:\n\ttrue\n", "Makefile": "test:\n\ttrue\n"},
}
SOURCE = inspect.getsource(findpaths)
ALIKE = {".pytest.ini": "pytest.ini", "tox.ini": "pytest.ini", ".pytest.toml": "pytest.toml"}
ALIKE |= {".mypy.ini": "mypy.ini", ".ruff.toml": "ruff.toml"}
"""Files that a program reads as it reads another."""
OTHERS = {
    **{"setup.cfg": "[metadata]\nname=a\n", "tox.ini": "[testenv]\ndeps=a\n", "Makefile.old": "test:\n"},
    "pyproject.toml": "[project]\nname='a'\nversion='1'\n",
}
"""Parts that none of these programs obeys."""


def _status(folder: Path, program: str, changed: dict[str, str]) -> int:
    folder.mkdir()
    for name, text in {**FAILS[program], **changed}.items():
        (folder / name).write_text(text)
    return subprocess.run(COMMANDS[program], cwd=folder, capture_output=True, check=False).returncode


def _files(program: str) -> list[str]:
    """The names of the files that the program looks for, from the program itself where it says."""
    if program == "pytest":
        return [*dict.fromkeys(re.findall(r'"(\.?\w+\.(?:ini|toml|cfg))"', SOURCE)), "conftest.py"]
    if program == "mypy":
        return [*mypy.defaults.CONFIG_NAMES, *mypy.defaults.SHARED_CONFIG_NAMES]
    return [*PARTS[program], *([".ruff.toml"] if program == "ruff" else [])]


@pytest.mark.slow
@pytest.mark.parametrize("program", FAILS)
def test_each_file_that_turns_a_gate_off_is_asked_about(tmp_path: Path, program: str) -> None:
    assert _status(tmp_path / "as-it-is", program, {}) not in (0, 127)
    files = _files(program)
    assert len(files) >= 3
    for name in files:
        text = PARTS[program][ALIKE.get(name, name)]
        assert _status(tmp_path / f"with-{name}", program, {name: text}) == 0, name
        before = FAILS[program]
        assert decides(program, before, {**before, name: text}) == {name}


def test_what_no_program_obeys_there_changes_no_verdict_and_is_not_asked_about(tmp_path: Path) -> None:
    for program, before in FAILS.items():
        assert _status(tmp_path / program, program, OTHERS) not in (0, 127)
        assert decides(program, before, {**before, **OTHERS}) == set()


def test_git_of_a_run_does_not_take_a_folder_of_files_for_a_repository(tmp_path: Path) -> None:
    """The folder is what a landing asks about; git of the owner would run what its config names."""
    ran, folder = tmp_path / "ran", tmp_path / "d"
    bare = {"HEAD": "ref: refs/heads/x\n", "objects/a": "", "refs/a": ""}
    core = {
        "repositoryformatversion": "0",
        "bare": "false",
        "worktree": "..",
        "fsmonitor": f'"touch {ran}; false"',
    }
    bare["config"] = "[core]\n" + "".join(f"\t{key} = {value}\n" for key, value in core.items())
    for name, text in bare.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    own = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    of_a_run = base_env(REQUEST, PLACE)
    of_a_run |= own
    refused = subprocess.run(["git", "status"], cwd=folder, env=of_a_run, capture_output=True, check=False)
    assert refused.returncode == 128 and b"safe.bareRepository" in refused.stderr and not ran.exists()
    subprocess.run(["git", "status"], cwd=folder, env=own, capture_output=True, check=True)
    assert ran.exists(), "the trap is live"
    assert decides("true", {}, {f"d/{name}": text for name, text in bare.items()}) == {
        f"d/{name}" for name in bare
    }
