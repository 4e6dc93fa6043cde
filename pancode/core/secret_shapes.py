"""Decides whether a text looks as if it held a secret, by the shapes that keys and passwords have."""

from __future__ import annotations

import re

_SHAPES: tuple[tuple[str, str], ...] = (
    ("a private key", r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    ("a key of AWS", r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    ("a token of GitHub", r"\b(?:gh[pousr]_[0-9A-Za-z]{20,}|github_pat_[0-9A-Za-z_]{20,})"),
    ("a token of GitLab", r"\bglpat-[0-9A-Za-z_-]{16,}"),
    ("a token of Slack", r"\bxox[abeoprs]-[0-9A-Za-z-]{10,}"),
    ("a key of a model's vendor", r"\b(?:sk|rk|pk|gsk|xai|hf)[-_][0-9A-Za-z_-]{18,}"),
    ("a key of Google", r"\bAIza[0-9A-Za-z_-]{30,}"),
    ("a token of PanCode", r"\bpct_[0-9A-Za-z_-]{16,}"),
    ("a signed token", r"\beyJ[0-9A-Za-z_-]{8,}\.[0-9A-Za-z_-]{8,}\.[0-9A-Za-z_-]{8,}"),
    ("a password in an address", r"\b[a-z][a-z0-9+.-]*://[^\s/@:]*:[^\s/@]{3,}@"),
    ("a bearer token", r"(?i)\bbearer\s+[0-9a-z._~+/-]{16,}"),
    (
        "a value of a secret",
        r"(?i)(?:password|passwd|passphrase|secret|token|api[_-]?key|access[_-]?key|private[_-]?key)"
        r"[\"'`]?\s*[=:]\s*[\"'`]?(?=[^\s\"'`]*\d)[^\s\"'`,;(){}\[\]<>$]{8,}",
    ),
)
_COMPILED = tuple((words, re.compile(shape)) for words, shape in _SHAPES)


def secret_in(text: str) -> str:
    """What the text seems to hold, in words; empty: nothing that is known. It may be wrong in both ways.

    A name with a value behind it counts where the value has a digit, as most secrets have and few words do.
    """
    return next((words for words, shape in _COMPILED if shape.search(text)), "")
