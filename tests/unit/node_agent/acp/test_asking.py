"""A program is asked whether it speaks ACP: it does, or the reason is told in its own words."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from node_agent.acp.asking import probe_program
from node_agent.wire.clock import SystemClock

PEER = Path(__file__).with_name("peer.py")


def about(case: str, folder: Path, limit_s: int = 60) -> dict[str, object]:
    return probe_program((sys.executable, "-I", str(PEER), case, str(folder / "x")), SystemClock(), limit_s)


def test_one_that_speaks_it_tells_its_version(tmp_path: Path) -> None:
    assert about("plain", tmp_path) == {"version": "7", "resumes": True}


@pytest.mark.parametrize(
    ("case", "why"),
    [
        ("newer", "speaks version 2 of ACP, and PanCode speaks 1"),
        ("usage", "does not speak ACP: it printed 'Usage: peer [--help]'"),
        ("nothing", "ended by itself, exit status 0"),
        ("complains", "ended by itself, exit status 2: peer: no such option: acp"),
        ("gigabyte", "sent more than 16 MiB in one message"),
    ],
)
def test_what_does_not_is_told_in_its_own_words(tmp_path: Path, case: str, why: str) -> None:
    assert why in str(about(case, tmp_path)["why"])


def test_one_that_is_silent_is_waited_for_so_long(tmp_path: Path) -> None:
    assert "did not answer `initialize` within 1 s" in str(about("silence", tmp_path, 1)["why"])


def test_one_that_is_not_there_is_missing() -> None:
    told = probe_program(("/no/such/program",), SystemClock())
    assert told["missing"] and "could not be started: No such file or directory" in str(told["why"])
    assert "does not name a program" in str(probe_program((), SystemClock())["why"])
