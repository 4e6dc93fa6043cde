"""Shows which tests are handed to a worker as one, and that the parts of long files are those that exist."""

from __future__ import annotations

import pytest

from tests.architecture.sources import ROOT
from tests.together import APART, scope_of

ACTS, PROGRAMS = "tests/clis/test_acts.py", "tests/e2e/test_programs.py"


@pytest.mark.parametrize(
    ("test", "scope"),
    [
        ("tests/e2e/test_where.py::test_it[a-b]", "tests/e2e/test_where.py"),
        ("tests/integration/ssh/test_door.py::Class::test_it", "tests/integration/ssh/test_door.py"),
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
