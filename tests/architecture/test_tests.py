"""Shows by a double of pytest that `.ci/tests` loses no failure and leaves no test out."""

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

DOUBLE = """#!/bin/sh
# python -m pytest -o cache_dir=CACHE NAME [--failed-parts]: ends as the next word of the file NAME says
cache=${4#cache_dir=}/v/cache
[ -e "$cache/lastfailed" ] && old=" old" || old=""
echo "$5${6:+ again}$old" >>ran
nice >"nice$5"
mkdir -p "$cache" && touch "$cache/lastfailed"
read -r status rest <"$5"
echo "$rest" >"$5"
[ "$status" -eq 0 ] || cat said 2>/dev/null
exit "$status"
"""


@pytest.mark.parametrize(
    ("ends", "status", "ran", "word"),
    [
        (["0", "0"], 0, ["0", "1"], ""),
        (["1 0", "0"], 0, ["0", "0 again old", "1"], "unsteady"),
        (["0", "1 0"], 0, ["0", "1", "1 again old"], "unsteady"),
        (["0", "1 1 0"], 0, ["0", "1", "1 again old", "1 again old"], "unsteady"),
        (["0", "1 1 1"], 1, ["0", "1", "1 again old", "1 again old"], "last time"),
        (["1 0", "1 1 1"], 1, ["0", "0 again old", "1", "1 again old", "1 again old"], "last time"),
        (["1 5", "0"], 5, ["0", "0 again old", "1"], "once more"),
        (["0", "2 0"], 2, ["0", "1"], "ended with 2"),
        (["3 0", "1 0"], 3, ["0", "1"], "ended with 3"),
        (["137 0", "0"], 137, ["0", "1"], "ended with 137"),
    ],
)
def test_it_passes_when_all_has_run_and_what_failed_passed_then(
    tmp_path: Path, ends: list[str], status: int, ran: list[str], word: str
) -> None:
    done = _run(tmp_path, ends, [str(name) for name in range(len(ends))])
    assert (done.returncode, sorted((tmp_path / "ran").read_text().splitlines())) == (status, ran), (
        done.stderr
    )
    assert word in done.stdout


def test_what_can_wait_gets_the_processor_last(tmp_path: Path) -> None:
    done = _run(tmp_path, ["0", "0"], ["0", "idle 1"])
    assert done.returncode == 0, done.stderr
    first, last = (int((tmp_path / f"nice{name}").read_text()) for name in "01")
    assert last == min(19, first + 10)


SAID = """F
FAILED tests/test_a.py::test_it[no Python] (call): assert 1 == 2
FAILED tests/test_a.py::test_it[no Python] (teardown): and more
FAILED tests/test_a.py::test_it[no git] (setup): away
FAILED tests/test_a.py::test_it[no Python] - assert 1 == 2
"""


@pytest.mark.parametrize(
    ("first", "how"),
    [
        ("1 0", "unsteady: failed, and passed when run again"),
        ("1 1 1", "FAILED"),
        ("3", "FAILED: pytest ended with 3, not for tests that failed"),
    ],
)
def test_the_last_lines_say_what_failed_why_and_how_long_each_took(
    tmp_path: Path, first: str, how: str
) -> None:
    (tmp_path / "said").write_text(SAID)
    done = _run(tmp_path, [first, "0"], ["0", "1"])
    last = done.stdout.partition("== in short\n")[2].splitlines()
    assert [re.sub(r"^\d+ s", "N s", line) for line in last] == [
        f"N s, {how}: 0",
        "  FAILED tests/test_a.py::test_it[no Python] (call): assert 1 == 2",
        "  FAILED tests/test_a.py::test_it[no git] (setup): away",
        "N s, passed: 1",
    ], done.stderr


def test_what_fails_for_good_in_one_keeps_no_other_from_being_run_again(tmp_path: Path) -> None:
    done = _run(tmp_path, ["1 1 1", "1 0"], ["0", "1"])
    assert done.returncode == 1 and "1 again old" in (tmp_path / "ran").read_text()


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


def _run(place: Path, ends: list[str], given: list[str]) -> subprocess.CompletedProcess[str]:
    for folder in (".ci", ".venv/bin", ".pytest_cache/0/v/cache"):
        (place / folder).mkdir(parents=True)
    shutil.copy(ROOT / ".ci" / "tests", place / ".ci")
    (place / ".venv" / "bin" / "python").write_text(DOUBLE)
    (place / ".venv" / "bin" / "python").chmod(0o755)
    (place / ".pytest_cache" / "0" / "v" / "cache" / "lastfailed").touch()
    for name, text in enumerate(ends):
        (place / str(name)).write_text(f"{text}\n")
    argv = [str(place / ".ci" / "tests"), *given]
    return subprocess.run(argv, env=os.environ, capture_output=True, text=True, timeout=60 * crowded())
