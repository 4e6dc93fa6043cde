"""Seals a person's words for the one attempt that is to hear them: no other program speaks as a person.

Standard library only: our workers load it.
"""

from __future__ import annotations

import hashlib
import hmac

WORDS_KEY = "words.key"
"""The file of the run's home with the attempt's secret. Our worker takes it away before anything else runs.

Not a variable: a sandbox's first process shows its environment to all that run in there.
"""
SEAL = 64 + 1
"""Bytes before the words: hexadecimal digits and the end of the line."""


def sealed(secret: str, number: int, text: str) -> str:
    """What a file of words holds: good under this number only, for who has the attempt's secret."""
    return f"{_seal(secret, number, text.encode())}\n{text}"


def unsealed(secret: str, number: int, data: bytes) -> str | None:
    """The words; None where somebody else wrote them, or for another number, and where there is no secret."""
    seal, text = data[: SEAL - 1], data[SEAL:]
    good = hmac.compare_digest(seal, _seal(secret, number, text).encode())
    return text.decode("utf-8", "replace") if secret and good else None


def _seal(secret: str, number: int, text: bytes) -> str:
    return hmac.new(secret.encode(), b"%d\n%b" % (number, text), hashlib.sha256).hexdigest()
