"""Runs the tests: a pytest for each argument, side by side; once more what failed; then says what is red.

`.ci/tests [--unsteady N] [--suites NAMES] WORDS...`: WORDS are those of one pytest. Most of our tests
wait, so all of them run at once. Where the first word is `idle`, the others go before it on the
processor. The first is shown at work, the others when they are through.

A test that fails twice is red. A test that fails once and passes once is unsteady: it is named, and more
than N of them are red. Tests that share one life (tests/together.py) run again together and count as one.
A pytest that ends by anything but failed tests left others out, so it is red, as is a suite of NAMES
(tests/lanes.py) of which no test ran. The last lines say it all once more, since a reader's window may
cut the lines before.
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
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.together import scope_of

ROOT = Path(__file__).resolve().parents[1]
RESULTS = "TESTS_RESULTS"
"""Names the file in which `tests/conftest.py` notes the outcome of each test."""
FAILED_TESTS = 1
"""pytest's exit status when all tests ran and some failed."""
LOOK_S = 0.1


@dataclass(slots=True)
class Outcomes:
    """Of one pytest, by the ids of its tests."""

    passed: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)
    """With the first reason."""
    skipped: set[str] = field(default_factory=set)

    @property
    def ran(self) -> set[str]:
        return self.passed | set(self.failed)


def read_outcomes(lines: Iterable[str]) -> Outcomes:
    """From lines of outcome, id and reason with tabs between; a test that also failed did not pass."""
    seen = Outcomes()
    for line in lines:
        outcome, nodeid, why = line.split("\t", 2)
        if outcome == "failed":
            seen.failed.setdefault(nodeid, why)
        else:
            (seen.passed if outcome == "passed" else seen.skipped).add(nodeid)
    seen.passed -= set(seen.failed)
    return seen


@dataclass(slots=True)
class Part:
    """What one argument came to."""

    words: str
    status: int
    first: Outcomes
    again: Outcomes | None = None
    again_status: int = 0
    seconds: int = 0

    @property
    def broken(self) -> int:
        """pytest's status where it left tests out; 0 where it did not."""
        return next((s for s in (self.status, self.again_status) if s not in (0, FAILED_TESTS)), 0)

    @property
    def red(self) -> dict[str, str]:
        """Tests that did not pass in two tries."""
        if self.again is None:
            return self.first.failed
        return {name: why for name, why in self.first.failed.items() if name not in self.again.passed}

    @property
    def unsteady(self) -> dict[str, str]:
        if self.again is None:
            return {}
        return {n: why for n, why in (self.again.failed | self.first.failed).items() if n not in self.red}


def not_run(suites: Mapping[str, Callable[[str], object]], parts: Sequence[Part]) -> list[str]:
    """The suites of which no test ran."""
    ran = {name for part in parts for name in part.first.ran}
    return [suite for suite, has in suites.items() if not any(map(has, ran))]


def judge(parts: Sequence[Part], left: Sequence[str], most_unsteady: int) -> tuple[int, list[str]]:
    """The exit status, and the last lines; `left` are the suites of which no test ran."""
    lines, unsteady = ["== in short"], set()
    for part in parts:
        how = "passed"
        if part.broken:
            how = f"FAILED: pytest ended with {part.broken}, not for tests that failed"
        elif part.red:
            how = "FAILED"
        elif part.unsteady:
            how = "unsteady: failed, and passed when run again"
        lines.append(f"{part.seconds} s, {how}: {part.words}")
        lines += [f"  FAILED {name} {why}" for name, why in part.red.items()]
        lines += [f"  unsteady {name} {why}" for name, why in part.unsteady.items()]
        unsteady |= {scope_of(name) for name in part.unsteady}
    lines += [f"FAILED: no test of the suite {suite} ran" for suite in left]
    status = next((part.broken for part in parts if part.broken), 0)
    status = status or int(bool(left) or any(part.red for part in parts))
    if len(unsteady) > most_unsteady:
        lines.append(f"FAILED: {len(unsteady)} unsteady, at most {most_unsteady} may be: mend each of them")
        status = status or 1
    return status, lines


class Session:
    """The processes of pytest, their logs, and what each noted of its tests."""

    def __init__(self, place: Path, python: str) -> None:
        self.place, self.python = place, python
        self.running: list[subprocess.Popen[bytes]] = []

    def start(self, index: int, words: str, *more: str) -> tuple[subprocess.Popen[bytes], Path]:
        first, name = [], f"{index}{'.again' if more else ''}"
        argv = shlex.split(words)
        if argv[0] == "idle":  # not so far behind that a test is cut as hanging
            argv, first = argv[1:], ["nice", "-n", "10"]
        if not more:
            Path(f".pytest_cache/{index}/v/cache/lastfailed").unlink(missing_ok=True)  # of another time
        argv = [*first, self.python, "-m", "pytest", "-o", f"cache_dir=.pytest_cache/{index}", *argv, *more]
        (self.place / f"{name}.results").touch()
        environ = {
            **os.environ,
            RESULTS: str(self.place / f"{name}.results"),
            "TESTS_SHARED": str(self.place),
        }
        log = self.place / f"{name}.log"
        with log.open("wb") as out:
            child = subprocess.Popen(argv, stdout=out, stderr=subprocess.STDOUT, env=environ)
        self.running.append(child)
        return child, log

    def outcomes(self, name: str) -> Outcomes:
        return read_outcomes((self.place / f"{name}.results").read_text().splitlines())

    def run(self, given: Sequence[str]) -> list[Part]:
        began, parts = time.time(), []
        started = [self.start(index, words) for index, words in enumerate(given)]
        for index, (child, log) in enumerate(started):
            show(child, log)
            part = Part(given[index], child.wait(), self.outcomes(str(index)))
            part.seconds = int(log.stat().st_mtime - began)
            parts.append(part)
        if any(part.broken for part in parts):
            return parts
        for index, part in enumerate(parts):
            if part.status == FAILED_TESTS:
                print("== what failed, once more", flush=True)
                child, log = self.start(index, part.words, "--failed-parts")
                show(child, log)
                part.again_status, part.again = child.wait(), self.outcomes(f"{index}.again")
        return parts

    def end(self, number: int) -> None:
        """Ctrl-C for all that still run, and wait for them: they end what they started."""
        for child in self.running:
            if child.poll() is None:
                child.send_signal(number)
        for child in self.running:
            child.wait()


def show(child: subprocess.Popen[bytes], log: Path) -> None:
    """What it prints, until it has ended."""
    with log.open("rb") as shown:
        while True:
            ended = child.poll() is not None
            while text := shown.read(65536):
                sys.stdout.buffer.write(text)
                sys.stdout.buffer.flush()
            if ended:
                return
            time.sleep(LOOK_S)


def main() -> int:
    from tests.lanes import members

    parser = argparse.ArgumentParser(prog=".ci/tests")
    parser.add_argument("--unsteady", type=int, default=0, help="how many unsteady tests are not red")
    parser.add_argument("--suites", default="none", help="wide suites that must run, with commas; all; none")
    parser.add_argument("words", nargs="+", help="the words of one pytest each")
    given = parser.parse_args()
    os.chdir(ROOT)

    def ended(*_: object) -> None:
        raise SystemExit(143)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, ended)
    with tempfile.TemporaryDirectory() as place:
        session = Session(Path(place), sys.executable)
        try:
            parts = session.run(given.words)
        except KeyboardInterrupt:
            return 130
        finally:
            session.end(signal.SIGINT)
    left = not_run(members(given.suites), parts)
    if left and os.geteuid() != 0:  # the hosts of a suite need root: a plain user is told
        print(f"== not root, so no test of these suites ran: {', '.join(left)}")
        left = []
    status, lines = judge(parts, left, given.unsteady)
    print(*lines, sep="\n", flush=True)
    return status


if __name__ == "__main__":
    raise SystemExit(main())
