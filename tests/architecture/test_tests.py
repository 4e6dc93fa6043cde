"""Shows that the runner of the tests loses no failure, leaves no test out, and turns no red test green."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.sources import ROOT
from tests.crowd import crowded
from tests.run import Outcomes, Part, judge, not_run, read_outcomes


def outcomes(passed: str = "", failed: str = "") -> Outcomes:
    return Outcomes(set(passed.split()), dict.fromkeys(failed.split(), "(call): assert 1 == 2"))


@pytest.mark.parametrize(
    ("first", "again", "most_unsteady", "status", "said"),
    [
        (outcomes("a.py::t"), None, 0, 0, ["0 s, passed: a"]),
        (outcomes(failed="a.py::t"), outcomes(failed="a.py::t"), 9, 1, ["0 s, FAILED: a"]),
        (outcomes(failed="a.py::t"), outcomes("a.py::u"), 9, 1, ["0 s, FAILED: a"]),
        (outcomes(failed="a.py::t"), outcomes("a.py::t"), 1, 0, ["  unsteady a.py::t (call): assert 1 == 2"]),
        (
            outcomes(failed="a.py::t"),
            outcomes("a.py::t"),
            0,
            1,
            ["FAILED: 1 unsteady, at most 0 may be: mend each of them"],
        ),
        (
            outcomes("a.py::u", "a.py::t"),
            outcomes("a.py::t", "a.py::u"),
            1,
            0,
            ["  unsteady a.py::u (call): assert 1 == 2"],
        ),
        (
            outcomes(failed="a.py::t b.py::t c.py::t"),
            outcomes("a.py::t b.py::t c.py::t"),
            2,
            1,
            ["FAILED: 3 unsteady, at most 2 may be: mend each of them"],
        ),
        (outcomes(failed="a.py::t a.py::u a.py::v"), outcomes("a.py::t a.py::u a.py::v"), 2, 0, []),
    ],
)
def test_failed_twice_is_red_and_failed_once_is_counted(
    first: Outcomes, again: Outcomes | None, most_unsteady: int, status: int, said: list[str]
) -> None:
    part = Part("a", 1 if first.failed else 0, first, again, int(bool(again and again.failed)))
    code, lines = judge([part], [], most_unsteady)
    assert (code, [line for line in said if line not in lines]) == (status, []), lines


def test_a_suite_of_which_no_test_ran_is_red() -> None:
    part = Part("a", 0, Outcomes({"tests/a.py::t"}, {}, {"tests/b.py::t"}))
    suites = {name: re.compile(f"tests/{name}.py::").match for name in "abc"}
    left = not_run(suites, [part])
    assert left == ["b", "c"]
    assert judge([part], left, 0) == (
        1,
        ["== in short", "0 s, passed: a", *(f"FAILED: no test of the suite {n} ran" for n in "bc")],
    )


def test_a_test_that_failed_in_one_phase_did_not_pass() -> None:
    lines = [
        "passed\ta.py::t\t",
        "failed\ta.py::t\t(teardown): x",
        "failed\ta.py::t\t(call): y",
        "skipped\ta.py::u\t",
    ]
    assert read_outcomes(lines) == Outcomes(set(), {"a.py::t": "(teardown): x"}, {"a.py::u"})


LIFE = """
seen = []

def test_first():
    seen.append("first")

def test_second():
    assert seen == ["first"] and {well}
"""


@pytest.mark.slow
def test_what_failed_is_run_again_with_all_that_stays_together_with_it(tmp_path: Path) -> None:
    """A test that goes on where another one of its file has ended would fail by itself for that alone."""
    shutil.copy(ROOT / "tests" / "conftest.py", tmp_path)
    (tmp_path / "test_other.py").write_text("def test_other(): pass\n")

    def said(well: bool, *words: str) -> str:
        (tmp_path / "test_life.py").write_text(LIFE.format(well=well))
        argv = [sys.executable, "-B", "-m", "pytest", "-q", *words]
        environ = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.run(argv, cwd=tmp_path, env=environ, capture_output=True, text=True).stdout

    assert "1 failed, 2 passed" in said(False)
    assert "1 failed, 1 passed" in said(False, "-n", "2", "--dist", "loadfile", "--failed-parts")
    assert "2 passed" in said(True, "--failed-parts")
    assert "\n3 deselected" in said(True, "--failed-parts"), "nothing is left that failed"


RED = "def test_it(): assert 0\n"
UNSTEADY = """
from pathlib import Path

def test_it():
    seen = Path(__file__).with_name("seen")
    again = seen.exists()
    seen.touch()
    assert again
"""
BROKEN = "import os\n\ndef test_it(): os._exit(3)\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("second", "unsteady", "status", "said"),
    [
        ("def test_it(): pass\n", 0, 0, "passed: idle -q test_b.py"),
        (RED, 9, 1, "FAILED test_b.py::test_it (call): assert 0"),
        (UNSTEADY, 0, 1, "unsteady test_b.py::test_it"),
        (UNSTEADY, 1, 0, "unsteady: failed, and passed when run again: idle -q test_b.py"),
        (BROKEN, 0, 3, "FAILED: pytest ended with 3"),
        ("import nothing_like_it\n", 9, 2, "FAILED: pytest ended with 2"),
    ],
)
def test_real_tests_come_to_what_they_should(
    tmp_path: Path, second: str, unsteady: int, status: int, said: str
) -> None:
    (tmp_path / "tests").mkdir()
    for name in ("conftest.py", "run.py", "lanes.py", "together.py", "__init__.py"):
        if (ROOT / "tests" / name).exists():
            shutil.copy(ROOT / "tests" / name, tmp_path / "tests")
    shutil.copy(ROOT / "tests" / "conftest.py", tmp_path)
    (tmp_path / "test_a.py").write_text("def test_it(): pass\n")
    (tmp_path / "test_b.py").write_text(second)
    argv = [
        sys.executable,
        "-B",
        "-m",
        "tests.run",
        "--unsteady",
        str(unsteady),
        "-q test_a.py",
        "idle -q test_b.py",
    ]
    environ = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        argv, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60 * crowded()
    )
    last = done.stdout.partition("== in short\n")[2]
    assert (done.returncode, said in last) == (status, True), done.stdout + done.stderr
