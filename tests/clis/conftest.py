"""Gives the real programs to the tests of this folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clis.install import NATIVE, CannotInstall, ensure
from tests.clis.launched import Bench, Cli
from tests.clis.left import end_all_in
from tests.fakemodel import FakeModel
from tests.fakemodel.state import Log

MATRIX, MATRIX_S = "clis/test_matrix.py::", 480
ADAPTERS = {"claude": ("claude-agent-acp",), "codex": ("codex-acp",)}
"""What else is on its PATH: by this it takes turns."""
MakeBench = Callable[[Cli, dict], tuple[Bench, FakeModel]]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-evidence", action="store_true", help="write what hostile models could do anew")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """The matrix has a bound in words, and no test of its time: so each run says what it took."""
    every = [one for found in terminalreporter.stats.values() for one in found]
    cells = [one for one in every if MATRIX in getattr(one, "nodeid", "") and hasattr(one, "start")]
    if cells:
        took = max(one.stop for one in cells) - min(one.start for one in cells)
        count = len({one.nodeid for one in cells})
        terminalreporter.write_line(
            f"matrix: {count} tests in {took:.0f} s; all of them may take {MATRIX_S} s"
        )


def path_of(program: str) -> str:
    """A PATH with the program on it; a machine that cannot have it skips, and says why."""
    if program == NATIVE:
        return os.defpath
    try:
        return os.pathsep.join((*map(str, map(ensure, (program, *ADAPTERS.get(program, ())))), os.defpath))
    except CannotInstall as exc:
        pytest.skip(f"the real {program} cannot be installed here: {exc}")


@pytest.fixture(scope="session")
def claude_path() -> str:
    return path_of("claude")


@pytest.fixture
def make_bench(tmp_path: Path) -> Iterator[MakeBench]:
    """A bench for a program and the model server behind it, for a script; bodies are kept in `d`."""
    servers: list[FakeModel] = []

    def make(cli: Cli, script: dict) -> tuple[Bench, FakeModel]:
        log = Log(dump_dir=str(tmp_path / "d"))
        model = FakeModel({"cwd": str(tmp_path / "b" / "work"), **script}, log=log)
        servers.append(model.start())
        return Bench(cli, tmp_path / "b", path_of(cli.runtime.removeprefix("acp:")), model.url), model

    yield make
    for server in servers:
        server.stop()
    end_all_in(tmp_path / "b")  # a program's own sandbox may outlive the signal that ended the program
