"""Selects the authority for a TLS connection: the owner's own, or this computer's. Standard library only."""

from __future__ import annotations

import ssl


def make_tls_context(ca: str | None) -> ssl.SSLContext:
    """Return the TLS context that trusts only that file; None: the computer's authorities. OSError, SSLError.

    It is less strict than RFC 5280, which Python follows since 3.13: a certificate that its owner made with
    `openssl req -x509` lacks some fields, but curl, libpq and Python 3.12 accept it.
    """
    made = ssl.create_default_context(cafile=ca)
    made.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return made
