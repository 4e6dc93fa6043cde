"""Shows which tests are handed to a worker as one, and that the parts of long files are those that exist."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.sources import ROOT
from tests.crowd import crowded
from tests.together import APART, scope_of

ACTS, PROGRAMS = "tests/clis/test_acts.py", "tests/e2e/test_programs.py"


@pytest.mark.parametrize(
    ("test", "scope"),
    [
        ("tests/e2e/test_where.py::test_it[a-b]", "tests/e2e/test_where.py"),
        (
            "tests/integration/ssh/test_node_listener.py::Class::test_it",
            "tests/integration/ssh/test_node_listener.py",
        ),
        (f"{ACTS}::test_a_text_answer[gemini]", f"{ACTS}[gemini"),
        (f"{ACTS}::test_a_stall[gemini-SIGTERM]", f"{ACTS}[gemini"),
        (f"{ACTS}::test_of_all_of_them", f"{ACTS}["),
        (f"{PROGRAMS}::test_an_act[codex-forbidden-edit]", f"{PROGRAMS}[codex"),
        (f"{PROGRAMS}::test_an_edit[codex]", f"{PROGRAMS}[codex"),
    ],
)
def test_a_file_stays_together_and_a_long_one_by_the_first_word_of_its_parameter(
    test: str, scope: str
) -> None:
    assert scope_of(test) == scope


def test_the_long_files_are_there() -> None:
    assert [path for path in APART if not (ROOT / path).is_file()] == []


@pytest.mark.parametrize("behind", [0, 2])
def test_a_worker_that_ends_in_its_last_file_is_told_of_and_nobody_waits(tmp_path: Path, behind: int) -> None:
    """Its test is not tried on the next one, which does what is left."""
    (tmp_path / "conftest.py").write_text(
        "from tests.together import scheduler_of, scope_of\n"
        "def pytest_xdist_make_scheduler(config, log):\n"
        "    return scheduler_of(config, log, scope_of)\n"
    )
    (tmp_path / "test_a.py").write_text("def test_it(): pass\n")
    after = "".join(f"def test_{n}(): pass\n" for n in range(behind))
    (tmp_path / "test_b.py").write_text(f"import os\ndef test_end(): os._exit(3)\n{after}")
    argv = [sys.executable, "-m", "pytest", "-q", "-n", "2", "--dist", "loadfile", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*argv, str(tmp_path)],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=30 * crowded(),
    )
    assert f"1 failed, {1 + behind} passed" in done.stdout, done.stdout + done.stderr
    assert done.stdout.count("node down") == 1
