"""Runs untrusted regular expressions over untrusted text: RE2, linear in time.

The library is loaded with the first expression: a node without command rules never carries it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

MOST_MEMORY = 1 << 20
"""The most bytes of one compiled expression."""


def regex_fault(pattern: str) -> str | None:
    """The reason why the expression cannot be used; None when it can."""
    import re2

    try:
        _compiled(pattern)
    except UnicodeEncodeError:
        return "it is no UTF-8"
    except re2.error as wrong:
        reason = wrong.args[0] if wrong.args else wrong
        return reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
    return None


def found(pattern: str, text: str) -> bool:
    """Check whether it matches somewhere in the text. Half a surrogate pair in the text counts as `?`."""
    clean = text.encode("utf-8", "replace").decode()
    return _compiled(pattern).search(clean) is not None


@lru_cache(maxsize=512)
def _compiled(pattern: str) -> Any:
    import re2

    options = re2.Options()
    options.log_errors = False
    options.max_mem = MOST_MEMORY
    return re2.compile(pattern, options)
