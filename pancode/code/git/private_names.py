"""File names that usually hold secrets (the one table): untracked ones stay out of a snapshot."""

from __future__ import annotations

import fnmatch
import os
import posixpath
from collections.abc import Iterable

ANY = "*"
"""Allows every one of them."""
NAMES = (
    *(".env", ".env.*", "*.env", ".netrc", "_netrc", ".pgpass", ".my.cnf", ".npmrc", ".pypirc", "*.ovpn"),
    *("id_rsa", "id_dsa", "id_ecdsa", "id_ecdsa_sk", "id_ed25519", "id_ed25519_sk", "*.pem", "*.key"),
    *("*.p12", "*.pfx", "*.jks", "*.keystore", "*.kdbx", "*.asc", "*.gpg", ".htpasswd", ".git-credentials"),
    *("credentials", "credentials.json", "credentials.y*ml", "secrets.json", "secrets.toml", "secrets.y*ml"),
    *("service-account*.json", "service_account*.json", "client_secret*.json", "*.tfstate", "*.tfvars"),
    *(".vault-token", "kubeconfig", ".dockercfg", "token.json", "auth.json", "*.ppk"),
)
"""Patterns of a file's own name, in small letters."""
HARMLESS = ("*.example", "*.sample", "*.template", "*.dist", "*.pub", "*.example.*")


def is_private(name: bytes) -> bool:
    """Whether a file of that path usually holds a secret, by its name alone."""
    own = posixpath.basename(os.fsdecode(name)).lower()
    return _fits(own, NAMES) and not _fits(own, HARMLESS)


def withheld(untracked: Iterable[bytes], allowed: Iterable[str]) -> tuple[bytes, ...]:
    """Those that are not to travel. `allowed`: patterns of a path from the top, or of a file's own name."""
    patterns = tuple(allowed)
    return tuple(name for name in untracked if is_private(name) and not _is_allowed(name, patterns))


def _is_allowed(name: bytes, patterns: tuple[str, ...]) -> bool:
    path = os.fsdecode(name)
    return _fits(path, patterns) or _fits(posixpath.basename(path), patterns)


def _fits(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
