"""Chooses the authority that a TLS connection trusts: the owner's own, or this machine's."""

from __future__ import annotations

import ssl
from pathlib import Path


def make_context(ca: str | Path | None) -> ssl.SSLContext:
    """A TLS context that trusts that file alone; None: the machine's authorities. OSError, ssl.SSLError.

    It is less strict than RFC 5280, which Python follows from 3.13 on: an owner's certificate from `openssl
    req -x509` lacks what that asks for, though curl, libpq and Python 3.12 trust it.
    """
    made = ssl.create_default_context(cafile=ca)
    made.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return made
