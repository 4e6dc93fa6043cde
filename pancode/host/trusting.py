"""Chooses the authority that a TLS connection trusts: the owner's own, or this machine's."""

from __future__ import annotations

import ssl
from pathlib import Path


def believing(ca: str | Path | None) -> ssl.SSLContext:
    """By that file alone; None: by the machine's authorities. OSError, ssl.SSLError.

    Not by the letter of RFC 5280, as Python does from 3.13 on: a certificate that its owner has made with
    `openssl req -x509` lacks what that asks for, and curl, libpq and Python 3.12 believe it.
    """
    made = ssl.create_default_context(cafile=ca)
    made.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return made
