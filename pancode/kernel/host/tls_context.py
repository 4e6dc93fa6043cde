"""Chooses the certificate authorities that a TLS connection trusts: the user's own, or this machine's."""

from __future__ import annotations

import ssl
from pathlib import Path


def make_context(ca: str | Path | None) -> ssl.SSLContext:
    """Return a TLS context that trusts only the authorities in `ca`; None: the machine's. OSError, SSLError.

    It is less strict than RFC 5280, which Python enforces from 3.13 on: a certificate of `openssl req -x509`
    does not fully comply, though curl, libpq and Python 3.12 trust it.
    """
    made = ssl.create_default_context(cafile=ca)
    made.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return made
