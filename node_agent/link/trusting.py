"""Chooses the authority of a TLS connection: the owner's own, or this machine's. Standard library only."""

from __future__ import annotations

import ssl


def make_tls_context(ca: str | None) -> ssl.SSLContext:
    """The TLS context that trusts only that file; None: the machine's authorities. OSError, ssl.SSLError.

    It is not as strict as RFC 5280, which Python follows from 3.13 on: a certificate that its owner made with
    `openssl req -x509` lacks some fields, and curl, libpq and Python 3.12 accept it.
    """
    made = ssl.create_default_context(cafile=ca)
    made.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return made
