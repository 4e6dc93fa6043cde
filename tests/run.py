"""Runs the tests: one pytest for each argument, one after the other; then says what is red, and why.

`.ci/tests [--minutes N] [--whole] WORDS...`: WORDS are those of one pytest. What fails runs twice more,
alone, when all have ended. A test that failed in two of its three tries is red. One that failed once is
unsteady: the last lines name it, `.ci/unsteady` gets a line, and the run is green. More than 20 failed
tests are red at once. A test ends after three minutes and all of them after N, times what this machine
needs for the work that `tests.crowd` measures at the start. A pytest that ends by anything but failed
tests is red.
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.crowd import PACE, measured_concurrency
from tests.together import scope_of

ROOT = Path(__file__).resolve().parents[1]
RESULTS = "TESTS_RESULTS"
"""Names the file in which `tests/conftest.py` notes what begins, and the outcome of each test."""
UNSTEADY = ".ci/unsteady"
FAILED_TESTS = 1
"""pytest's exit status when all tests ran and some failed."""
NOT_PROVEN = 77
"""The exit status where `--whole` was asked for, and a program that tests need could not be brought."""
MOST_RUN_AGAIN = 20
TRIES_AGAIN = 2
TEST_S = 180
LOOK_S = 0.1


@dataclass(slots=True)
class Outcomes:
    """Of one pytest, by the ids of its tests."""

    passed: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)
    """With the first reason."""
    without: dict[str, str] = field(default_factory=dict)
    """Skipped, since the real program could not be brought."""
    running: set[str] = field(default_factory=set)
    """What began and has not ended."""
    seconds: dict[str, float] = field(default_factory=dict)


def read_outcomes(lines: Iterable[str]) -> Outcomes:
    """From lines of outcome, id, seconds and reason, with tabs; a test that also failed did not pass."""
    seen = Outcomes()
    marks = {"began": seen.running.add, "ended": seen.running.discard}
    for line in lines:
        outcome, nodeid, seconds, why = line.split("\t", 3)
        if outcome in marks:
            marks[outcome](nodeid)
            continue
        seen.seconds[nodeid] = seen.seconds.get(nodeid, 0) + float(seconds)
        if outcome == "failed":
            seen.failed.setdefault(nodeid, why)
        elif outcome == "passed":
            seen.passed.add(nodeid)
        elif outcome == "skipped" and why.startswith("the real "):
            seen.without[nodeid] = why
    seen.passed -= set(seen.failed)
    return seen


@dataclass(slots=True)
class Part:
    """What one argument came to: the first run of all, and the runs of what failed in it."""

    words: str
    status: int
    first: Outcomes
    again: list[Outcomes] = field(default_factory=list)
    seconds: float = 0

    @property
    def red(self) -> dict[str, str]:
        """Tests that failed in two of three tries; without more tries, all that failed."""
        if not self.again:
            return self.first.failed
        late = {name: why for tries in self.again for name, why in tries.failed.items()}
        fell = {name: sum(name not in t.passed for t in self.again) for name in {**late, **self.first.failed}}
        return {
            name: self.first.failed.get(name) or late[name]
            for name, times in fell.items()
            if times + (name in self.first.failed) > 1
        }

    @property
    def unsteady(self) -> dict[str, str]:
        red = self.red
        return {
            n: why for tries in (self.first, *self.again) for n, why in tries.failed.items() if n not in red
        }


def judge(parts: Sequence[Part], minutes: float, whole: bool = False) -> tuple[int, list[str]]:
    """The exit status, and the last lines. `whole`: a test whose program could not be brought is no proof."""
    lines, status = ["== in short"], 0
    for part in parts:
        how = "passed"
        if part.status not in (0, FAILED_TESTS):
            how = f"FAILED: pytest ended with {part.status}, not for tests that failed"
            status = status or part.status
        elif part.red:
            how, status = "FAILED", status or 1
        lines.append(f"{part.seconds / 60:.1f} minutes, {len(part.first.passed)} passed, {how}: {part.words}")
        lines += [f"  FAILED {name} {why}" for name, why in sorted(part.red.items())]
        lines += [f"  unsteady {name} {why}" for name, why in sorted(part.unsteady.items())]
        lines += [
            f"  was running: {name}" for name in sorted(part.first.running) if part.status > FAILED_TESTS
        ]
        lines += [f"  not proven {name} {why}" for name, why in sorted(part.first.without.items())]
    if whole and not status and any(part.first.without for part in parts):
        status = NOT_PROVEN
    end = {0: "passed", NOT_PROVEN: "NOT PROVEN"}.get(status, "FAILED")
    lines.append(f"{end} after {minutes:.1f} minutes")
    return status, lines


class Session:
    """The process of pytest, and what it noted of its tests."""

    def __init__(self, place: Path, pace: float, seconds: float) -> None:
        self.place, self.pace = place, pace
        self.until = time.monotonic() + seconds
        self.count = 0

    def run(self, words: str, *more: str) -> tuple[int, Outcomes]:
        """pytest's status (124: all the time is used up), and its outcomes."""
        self.count += 1
        results = self.place / f"{self.count}.results"
        results.touch()
        timeout = f"faulthandler_timeout={TEST_S * self.pace:.0f}"
        argv = [sys.executable, "-m", "pytest", "-o", timeout, *shlex.split(words), *more]
        environ = {
            **os.environ,
            RESULTS: str(results),
            PACE: f"{self.pace:.2f}",
            "TESTS_SHARED": str(self.place),
        }
        child = subprocess.Popen(argv, env=environ)
        try:
            status = child.wait(max(0, self.until - time.monotonic()))
        except subprocess.TimeoutExpired:
            status = 124
        finally:
            if child.poll() is None:  # it ends what it started
                child.send_signal(signal.SIGINT)
                child.wait()
        return status, read_outcomes(results.read_text().splitlines())

    def part(self, words: str) -> Part:
        began = time.monotonic()
        status, first = self.run(words)
        return Part(words, status, first, seconds=time.monotonic() - began)

    def try_again(self, part: Part) -> None:
        """All that stays together with a test that failed, since some tests continue where another ended."""
        scopes = self.place / f"{self.count}.scopes"
        scopes.write_text("".join(f"{scope}\n" for scope in sorted({scope_of(n) for n in part.first.failed})))
        for _ in range(TRIES_AGAIN):
            print("== what failed, once more, alone", flush=True)
            status, outcomes = self.run(part.words, "-n0", f"--scopes={scopes}")
            part.status = max(part.status, status)
            part.again.append(outcomes)


def note(unsteady: dict[str, str]) -> None:
    """A line for each in the tracked file: it rides with the next commit, and only committed lines count."""
    said = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    commit = said.stdout.strip() or "unknown"
    with open(UNSTEADY, "a", encoding="utf-8") as file:
        file.writelines(f"{name}\t{commit}\t{why}\n" for name, why in sorted(unsteady.items()))


def main() -> int:
    parser = argparse.ArgumentParser(prog=".ci/tests")
    parser.add_argument("--minutes", type=float, default=40, help="for all, on a machine of the usual pace")
    parser.add_argument("--whole", action="store_true", help="a test that lacks its program is not enough")
    parser.add_argument("words", nargs="+", help="the words of one pytest each")
    given = parser.parse_args()
    os.chdir(ROOT)

    def ended(*_: object) -> None:
        raise SystemExit(143)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, ended)
    began, pace = time.monotonic(), measured_concurrency()
    print(f"== this machine needs {pace:.1f} times as long as the usual one", flush=True)
    with tempfile.TemporaryDirectory() as place:
        session = Session(Path(place), pace, 60 * given.minutes * pace)
        try:
            parts = [session.part(words) for words in given.words]
            if sum(len(part.first.failed) for part in parts) <= MOST_RUN_AGAIN:
                for part in parts:
                    if part.status == FAILED_TESTS:
                        session.try_again(part)
        except KeyboardInterrupt:
            return 130
    status, lines = judge(parts, (time.monotonic() - began) / 60, given.whole)
    unsteady = {name: why for part in parts for name, why in part.unsteady.items()}
    if unsteady and not status:
        note(unsteady)
    print(*lines, sep="\n", flush=True)
    return status


if __name__ == "__main__":
    raise SystemExit(main())
