"""Builds the users file of a server for PanCode: the coordinator, the nodes, and nobody else (pure)."""

from __future__ import annotations

import hashlib

RIGHTS = "~* &* +@all"
"""The rights of a coordinator: a user who may make users for nodes could give itself all other rights as
well."""
_CLOSED = "user default off resetkeys resetchannels -@all"
_NEUTRAL = frozenset({"sanitize-payload", "resetkeys", "resetchannels"})
"""Words that a server adds or leaves out when it writes the file itself."""


def users_text(known: str, user: str, password: str) -> str:
    """The file's new text, made of the one that was there, which may be none.

    The server writes the nodes' users into it: they stay. The password is there as its digest alone. A line
    that says the same already stays as it is, so a file that fits is not changed.
    """
    digest = hashlib.sha256(password.encode()).hexdigest()
    wanted = {"default": _CLOSED, user: f"user {user} on #{digest} {RIGHTS}"}
    there = {line.split()[1]: line for line in known.splitlines() if _names_one(line)}
    ours = [_either(there.get(name), line) for name, line in wanted.items()]
    if all(there.get(name) in ours for name in wanted):
        return known
    others = [line for name, line in there.items() if name not in wanted]
    return "\n".join([*ours, *others, ""])


def _names_one(line: str) -> bool:
    return line.startswith("user ") and len(line.split()) > 1


def _either(there: str | None, wanted: str) -> str:
    return there if there is not None and _meant(there) == _meant(wanted) else wanted


def _meant(line: str) -> frozenset[str]:
    return frozenset(line.split()) - _NEUTRAL
