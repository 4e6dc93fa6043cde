"""The end of an output as a user reads it."""

from __future__ import annotations

import pytest

from pancode.interfaces.http.streams import show_tail

_CALLED = '{"type": "called", "id": "1", "tool": "write", "path": "export.py"}\n'
_USAGE = '{"type": "usage", "input": 3394, "cached": 1000}\n'


@pytest.mark.parametrize(
    ("runtime", "tail", "wanted"),
    [
        (
            "native",
            '9, "cached": 1000}\n{"type": "said", "text": "reads export/ro"}\n'
            f'{{"type": "said", "text": "ws.py"}}\n{_USAGE}',
            "reads export/rows.py",
        ),
        (
            "native",
            '"}\n{"type": "called", "id": "1", "tool": "write", "path": "export.py"}\n',
            "> write export.py\n",
        ),
        ("native", f"{'x' * 200}{_USAGE}{_USAGE}", ""),
        ("shell", "53 %\npytest: 63 %\n", "53 %\npytest: 63 %\n"),
    ],
)
def test_the_end_of_an_output_is_shown_as_words(runtime: str, tail: str, wanted: str) -> None:
    """Wherever the output is cut, a program's events are no text for a user."""
    assert show_tail(runtime, tail.encode(), len(tail)) == wanted
