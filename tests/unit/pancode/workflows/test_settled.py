"""What of a merge's markers a result may still have."""

from __future__ import annotations

import pytest

from pancode.git.conflict_markers import has_markers

OURS = b"Title\n=======\none\n"
MARKED = b"Title\n=======\n<<<<<<< aaaa\none\n=======\ntwo\n>>>>>>> bbbb\n"


@pytest.mark.parametrize(
    ("result", "left"),
    [
        (b"Title\n=======\none\ntwo\n", False),
        (b"", False),
        (MARKED, True),
        (MARKED.replace(b"\n", b"\r\n"), True),
        (b"Title\n=======\none\n=======\ntwo\n", True),
        (b"Title\n=======\n<<<<<<< aaaa\none\ntwo\n", True),
        (b"Title\n=======\none\ntwo\n>>>>>>> bbbb\n", True),
    ],
)
def test_a_line_that_the_merge_has_made_is_found_and_a_heading_is_none(result: bytes, left: bool) -> None:
    assert has_markers(MARKED, OURS, result) is left


def test_markers_that_the_file_had_before_are_its_own() -> None:
    ours = b"<<<<<<< an example\n=======\n>>>>>>> an example\n"
    marked = ours + b"<<<<<<< aaaa\none\n=======\ntwo\n>>>>>>> bbbb\n"
    assert not has_markers(marked, ours, ours + b"one\ntwo\n")
    assert has_markers(marked, ours, ours + b"one\n=======\ntwo\n")
