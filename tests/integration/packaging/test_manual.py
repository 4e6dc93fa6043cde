"""The manual pages in the programs that show them: neither has anything to say against them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from docs.generate.man import write_manual


@pytest.fixture(scope="module")
def manual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("man1")
    write_manual(folder)
    return folder


def test_mandoc_finds_nothing_wrong(manual: Path) -> None:
    mandoc = shutil.which("mandoc")
    assert mandoc is not None, "sudo apt-get install mandoc"
    argv = [mandoc, "-T", "lint", "-W", "warning", *map(str, sorted(manual.iterdir()))]
    done = subprocess.run(argv, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_it_reads_as_it_was_meant(manual: Path) -> None:
    shown = _shown(manual / "pancode-runs.1")
    for words in (
        "pancode-runs - recent runs: ls, show, retry, continue, verify, recover",
        "Without one, ls is meant.",
        "--alone",
        "`last`, or an agent with exactly one active run",
        "pancode runs show",
    ):
        assert words in shown, shown
    top = _shown(manual / "pancode.1")
    assert "PANCODE_DATABASE_URL" in top and "pancode-dispatch(1)" in top and "130" in top


@pytest.mark.slow
def test_man_warns_of_nothing(manual: Path) -> None:
    man = shutil.which("man")
    assert man is not None, "sudo apt-get install man-db"
    env = {**os.environ, "LC_ALL": "C.UTF-8", "MANWIDTH": "100", "MANROFFSEQ": ""}
    for page in sorted(manual.iterdir()):
        argv = [
            man,
            "--warnings",
            "--encoding=UTF-8",
            "--local-file",
            "--troff-device=utf8",
            "--ditroff",
            str(page),
        ]
        done = subprocess.run(argv, env=env, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, ""), page


def _shown(page: Path) -> str:
    done = subprocess.run(
        ["mandoc", "-T", "utf8", "-O", "width=110", str(page)], capture_output=True, text=True, check=True
    )
    pieces = done.stdout.split("\b")  # bold is a letter, a step back, the letter again
    return pieces[0] + "".join(piece[1:] for piece in pieces[1:])
