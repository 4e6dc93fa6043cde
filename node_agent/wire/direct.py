"""Shared by both ends of a direct link: the names of its destinations, and when a silent peer is gone."""

from __future__ import annotations

PROTOCOL = "pancode-"
"""With the name of an end behind it: what TLS agrees on, so that one port leads to both."""
WATCHED = (("TCP_KEEPIDLE", 20), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 4), ("TCP_USER_TIMEOUT", 40_000))
"""Options of a socket, where the system has them: a peer that is gone is noticed within 40 s, as behind a
tunnel."""
