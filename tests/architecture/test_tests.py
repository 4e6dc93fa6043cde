"""Shows by a double of pytest that `.ci/tests` loses no failure and leaves no test out."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.architecture.sources import ROOT
from tests.crowd import crowded

DOUBLE = """#!/bin/sh
# python -m pytest -o cache_dir=CACHE NAME [--last-failed ...]: ends as the next word of the file NAME says
cache=${4#cache_dir=}/v/cache
[ -e "$cache/lastfailed" ] && old=" old" || old=""
echo "$5${6:+ again}$old" >>ran
nice >"nice$5"
mkdir -p "$cache" && touch "$cache/lastfailed"
read -r status rest <"$5"
echo "$rest" >"$5"
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
