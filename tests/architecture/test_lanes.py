"""Shows that no file of the product is forgotten by the table of wide suites, and what a change wakes."""

from __future__ import annotations

import re
import subprocess
import sys
from fnmatch import fnmatch

import pytest

from tests.architecture.sources import ROOT, tracked
from tests.lanes import ROWS, WIDE, left_out, members, suites_of, woken

PROGRAMS, SCHEDULES = "tests/e2e/test_programs.py", "tests/simulation/test_schedules.py"


def test_every_file_is_in_a_row() -> None:
    assert [str(path) for path in tracked() if suites_of(str(path)) is None] == []


def test_every_row_names_files_that_exist_and_suites_that_exist() -> None:
    files = [str(path) for path in tracked()]
    patterns = [pattern for paths, _ in ROWS for pattern in paths.split()]
    assert [pattern for pattern in patterns if not any(fnmatch(file, pattern) for file in files)] == []
    assert {name for _, wakes in ROWS for name in wakes.split()} == set(WIDE)


def test_every_suite_has_tests() -> None:
    files = [str(path) for path in tracked()]
    for name, suite in WIDE.items():
        assert all(
            any(file.startswith(begin.partition("::")[0]) for file in files) for begin in suite.tests
        ), name


@pytest.mark.parametrize(
    ("changed", "wakes"),
    [
        (["docs/README.md", "tests/unit/test_x.py"], set()),
        (["node_agent/gateway/meter.py"], {"gateway", "acts"}),
        (["node_agent/gateway/meter.py", "ansible/galaxy.yml"], {"gateway", "acts", "ansible"}),
        (["tests/e2e/test_fault_real_cut.py"], {"real-cut"}),
        (None, set(WIDE)),
    ],
)
def test_a_change_wakes_the_suites_of_its_rows(changed: list[str] | None, wakes: set[str]) -> None:
    assert woken(changed) == wakes


def test_suites_are_told_by_the_ids_of_their_tests() -> None:
    assert members("none") == {} and set(members("all")) == set(WIDE)
    acts = members("acts,mcp")["acts"]
    assert acts(f"{PROGRAMS}::test_an_act") and not acts("tests/e2e/test_mcp.py::test_a_real_")


@pytest.mark.parametrize(
    ("test", "runs", "out"),
    [
        (f"{PROGRAMS}::test_an_act_comes_to_what_it_should[gemini-edit]", [], False),
        (f"{PROGRAMS}::test_an_act_comes_to_what_it_should[gemini-401]", [], False),
        (f"{PROGRAMS}::test_an_act_comes_to_what_it_should[gemini-forbidden-edit]", [], True),
        (f"{PROGRAMS}::test_an_act_comes_to_what_it_should[gemini-forbidden-edit]", ["acts"], False),
        (f"{SCHEDULES}::test_every_invariant_holds[360]", [], False),
        (f"{SCHEDULES}::test_every_invariant_holds[400]", [], True),
        ("tests/unit/pancode/test_x.py::test_it", [], False),
    ],
)
def test_a_test_of_a_suite_that_does_not_run_is_left_out(test: str, runs: list[str], out: bool) -> None:
    assert left_out(test, runs) is out


def test_pytest_leaves_them_out() -> None:
    argv = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run([*argv, "--wide", "none", PROGRAMS], cwd=ROOT, capture_output=True, text=True)
    found = re.findall(r"^tests/.+$", done.stdout, re.MULTILINE)
    assert found and not any(left_out(test, []) for test in found), done.stdout
    assert f"{len(found)}/" in done.stdout and "deselected" in done.stdout
