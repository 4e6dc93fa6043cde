"""Shows that the runner of the tests loses no failure, leaves no test out, and turns no red test green."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests import slices
from tests.architecture.sources import ROOT
from tests.clis import install
from tests.crowd import crowded
from tests.journeys import JOURNEYS, MOST_JOURNEYS, chosen
from tests.run import UNSTEADY, Outcomes, Part, judge, read_outcomes
from tests.slices import SLICES, places, slice_of


def outcomes(passed: str = "", failed: str = "") -> Outcomes:
    return Outcomes(set(passed.split()), dict.fromkeys(failed.split(), "(call): assert 1 == 2"))


RED, GREEN = outcomes(failed="a.py::t"), outcomes("a.py::t")
SAID_RED, SAID_UNSTEADY = "  FAILED a.py::t (call): assert 1 == 2", "  unsteady a.py::t (call): assert 1 == 2"


@pytest.mark.parametrize(
    ("first", "again", "status", "said"),
    [
        (GREEN, [], 0, "0.0 minutes, 1 passed, passed: a"),
        (RED, [GREEN, GREEN], 0, SAID_UNSTEADY),
        (RED, [GREEN, RED], 1, SAID_RED),
        (RED, [RED, GREEN], 1, SAID_RED),
        (RED, [outcomes("a.py::u"), GREEN], 1, SAID_RED),  # a try in which it did not run is no pass
        (RED, [], 1, SAID_RED),  # too many failed for more tries
        (GREEN, [RED, GREEN], 0, SAID_UNSTEADY),  # it ran again beside another that failed
        (GREEN, [RED, RED], 1, SAID_RED),
    ],
)
def test_two_failures_of_three_are_red(
    first: Outcomes, again: list[Outcomes], status: int, said: str
) -> None:
    code, lines = judge([Part("a", int(bool(first.failed)), first, again)], 0)
    assert (code, said in lines) == (status, True), lines


def test_a_pytest_that_ended_by_anything_else_is_red_and_names_what_ran() -> None:
    first = read_outcomes(
        ["began\ta.py::t\t0\t", "passed\ta.py::t\t0.1\t", "ended\ta.py::t\t0\t", "began\ta.py::u\t0\t"]
    )
    code, lines = judge([Part("a", 124, first)], 0)
    assert (code, "  was running: a.py::u" in lines) == (124, True), lines


@pytest.mark.parametrize(("whole", "status", "end"), [(False, 0, "passed"), (True, 77, "NOT PROVEN")])
def test_what_could_not_be_brought_is_said_and_is_never_red(whole: bool, status: int, end: str) -> None:
    first = read_outcomes(["skipped\ta.py::t\t0\tthe real codex cannot come: no npm"])
    code, lines = judge([Part("a", 0, first)], 1.25, whole)
    assert code == status
    assert lines[-2:] == [
        "  not proven a.py::t the real codex cannot come: no npm",
        f"{end} after 1.2 minutes",
    ]


def test_a_test_that_failed_in_one_phase_did_not_pass() -> None:
    lines = ["passed\ta.py::t\t1.5\t", "failed\ta.py::t\t0.5\t(teardown): x", "failed\ta.py::t\t0\t(call): y"]
    assert read_outcomes(lines) == Outcomes(failed={"a.py::t": "(teardown): x"}, seconds={"a.py::t": 2.0})


LIFE = """
import os
from pathlib import Path

seen = []

def test_first():
    seen.append("first")

def test_second():
    tries = Path(__file__).with_name("tries")
    count = int(tries.read_text()) + 1 if tries.exists() else 1
    tries.write_text(str(count))
    assert seen == ["first"] and count not in {failing}
"""
MANY = """
import pytest
from pathlib import Path

@pytest.mark.parametrize("number", range({many}))
def test_it(number):
    with Path(__file__).with_name("tries").open("a") as file:
        file.write("x")
    assert False
"""
STUCK = """
import time

def test_it():
    time.sleep(600)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("second", "status", "said"),
    [
        (LIFE.format(failing=(1,)), 0, "unsteady test_b.py::test_second"),
        (LIFE.format(failing=(1, 3)), 1, "FAILED test_b.py::test_second (call): AssertionError"),
        ("import os\n\ndef test_it(): os._exit(3)\n", 3, "FAILED: pytest ended with 3"),
        (MANY.format(many=20), 1, "FAILED test_b.py::test_it[19] (call): assert False"),
        (MANY.format(many=21), 1, "FAILED test_b.py::test_it[20] (call): assert False"),
        (STUCK, 124, "was running: test_b.py::test_it"),
    ],
    ids=["unsteady", "red", "crash", "twenty", "more than twenty", "stuck"],
)
def test_real_tests_come_to_what_they_should(tmp_path: Path, second: str, status: int, said: str) -> None:
    """What failed runs again with all that stays together with it: alone it would fail for that.

    More than twenty that failed run no second time, and what takes all the time is ended.
    """
    (tmp_path / "tests").mkdir()
    (tmp_path / ".ci").mkdir()
    for name in ("conftest.py", "run.py", "crowd.py", "together.py"):
        shutil.copy(ROOT / "tests" / name, tmp_path / "tests")
    shutil.copy(ROOT / "tests" / "conftest.py", tmp_path)
    (tmp_path / "test_a.py").write_text("def test_it(): pass\n")
    (tmp_path / "test_b.py").write_text(second)
    minutes = ("--minutes", "0.1") if second == STUCK else ()
    argv = [sys.executable, "-B", "-m", "tests.run", *minutes, "-q -n 0 test_a.py", "-q test_b.py"]
    environ = {**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    done = subprocess.run(
        argv, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60 * crowded()
    )
    last = done.stdout.partition("== in short\n")[2]
    assert (done.returncode, said in last) == (status, True), done.stdout + done.stderr
    noted = tmp_path / UNSTEADY
    assert noted.exists() == ("unsteady" in said)
    if second.startswith(MANY[:20]):
        assert len((tmp_path / "tries").read_text()) == (60 if "[19]" in said else 21)


def test_programs_for_tests_are_used_only_as_they_were_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = tmp_path / "holder"
    monkeypatch.setattr(install, "HOLDER", holder)
    monkeypatch.setattr(install, "CACHE", holder / "clis")
    package = install.Package("an-agent", "1.0.0", "agent")
    monkeypatch.setattr(install.Package, "folder", property(lambda _: install.cache() / "agent-1.0.0"))
    package.bin.mkdir(parents=True)
    (package.bin / "agent").write_text("#!/bin/sh\n")
    (package.folder / install.DIGEST).write_text(install._digest(package.folder))
    assert install._there(package)
    (package.bin / "agent").write_text("#!/bin/sh\necho changed\n")
    assert not install._there(package)
    holder.chmod(0o770)
    with pytest.raises(install.CannotInstall, match=re.escape(str(holder))):
        install.cache()


def test_no_property_fails_because_the_machine_is_busy() -> None:
    default = settings()
    assert default.deadline is None and HealthCheck.too_slow in default.suppress_health_check


def test_no_test_is_unsteady_for_the_third_time() -> None:
    """Who commits the third line of a test repairs it, or moves it to a slice, in that commit."""
    argv = ["git", "show", f"HEAD:{UNSTEADY}"]
    lines = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    often = [name for name, times in Counter(line.partition("\t")[0] for line in lines).items() if times > 2]
    assert [name for name in often if chosen(name)] == []


def test_the_journeys_are_few_and_their_files_are_there() -> None:
    """One more takes the place of one."""
    assert len(JOURNEYS) <= MOST_JOURNEYS
    assert [name for name in JOURNEYS if not _exists(name)] == []


def _exists(nodeid: str) -> bool:
    path, _, function = nodeid.partition("[")[0].partition("::")
    return (ROOT / path).is_file() and f"def {function}" in (ROOT / path).read_text()


@pytest.mark.slow
def test_every_test_is_run_by_make_test_or_by_one_slice_whose_places_have_it() -> None:
    argv = [
        sys.executable,
        "-m",
        "pytest",
        "--collect-only",
        "-q",
        "-p",
        "no:cacheprovider",
        "tests/e2e",
        "tests/clis",
    ]
    said = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    found = [line for line in said.splitlines() if line.startswith("tests/")]
    for nodeid in found:
        name = slice_of(nodeid)
        assert name is None or any(nodeid.startswith(place) for place in places(SLICES[name])), nodeid
    missing = [name for name in JOURNEYS if name.startswith(("tests/e2e", "tests/clis"))]
    assert [name for name in missing if not any(nodeid.startswith(name) for nodeid in found)] == []


@pytest.mark.parametrize(
    ("begin", "path", "is_reached"),
    [
        ("tests/contract/test_wire_golden.py", "node_agent/wire/signing.py", True),  # over another module
        ("tests/contract/test_wire_golden.py", "tests/contract/golden/wire/ahead_job.v1.json", True),
        ("tests/contract/test_wire_golden.py", "node_agent/shim/shim.py", False),
        ("node_agent/runner/runner.py", "node_agent/files/durable.py", True),  # it starts the shim's process
        ("ansible/galaxy.yml", "ansible/plugins", True),
    ],
)
def test_a_slice_reaches_what_its_tests_import_name_and_start(
    begin: str, path: str, is_reached: bool
) -> None:
    assert any(one.startswith(path) for one in slices.reached({begin})) is is_reached


def test_who_starts_a_program_reaches_its_beginning() -> None:
    assert "pancode/__main__.py" in slices.named("tests/integration/faces/conftest.py")
    assert "node_agent/__main__.py" in slices.named("tests/integration/node/process_world.py")
    assert "tests/unit/node_agent/acp/peer.py" in slices.named("tests/integration/native/test_many_turns.py")


def test_the_stalest_slices_come_first_and_as_many_as_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    proofs = {name: ["same", "HEAD", "1"] for name in SLICES}
    proofs |= {
        "node": ["other", "gone", "4"],
        "unit": ["other", "HEAD~2", "3"],
        "git": ["other", "HEAD", "1"],
    }
    monkeypatch.setattr(slices, "proof", proofs.get)
    monkeypatch.setattr(slices, "digest", lambda one: "same")
    assert slices.stalest() == ["node", "unit", "git"]
    assert slices.stalest(5) == ["node", "git"]
