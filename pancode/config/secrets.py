"""Finds the passwords in an address, and shows it without them (pure)."""

from __future__ import annotations

import re

# Up to the last `@`: a password that should have been encoded is hidden as a whole.
_USER = re.compile(r"(?<=//)([^:/@]*:)(.+)(?=@)")
_QUERY = re.compile(r"([?&](?:ssl)?password=)([^&#]+)")


class SecretShownError(ValueError):
    """A secret stands where only its name may: no error repeats that value."""


def passwords(url: str) -> list[str]:
    """The passwords of an address: in its user part and in its parameters."""
    return [found[2] for pattern in (_USER, _QUERY) for found in pattern.finditer(url)]


def shown(text: str) -> str:
    """The text with three stars for each password."""
    return _QUERY.sub(r"\1***", _USER.sub(r"\1***", text))
