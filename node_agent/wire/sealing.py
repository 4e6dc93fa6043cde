"""Seals files for the owner of a key: only that key opens them, and only for the subject for which they were
sealed."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from node_agent.wire.signing import PublicKey, SigningKey

MOST_COPIED, MOST_SEALED = 65_536, 262_144
"""The most bytes of all files that a run gets as copies, and the most characters of them when sealed."""
SEALED_FOR = "a run that has no node yet"
"""The subject for which the coordinator seals the files for itself."""
_KEY, _NONCE = 32, bytes(12)
"""The nonce may be constant, because each sealing has a key of its own."""


def seal_files(files: Mapping[str, bytes], to: PublicKey, subject: str) -> str:
    """Return the files, by path, sealed for the owner of this key; each call returns another text."""
    plain = {path: base64.b64encode(data).decode() for path, data in files.items()}
    once = X25519PrivateKey.generate()
    head = once.public_key().public_bytes_raw()
    key = _derive(once.exchange(to.exchange_key()), head, to, subject)
    sealed = ChaCha20Poly1305(key).encrypt(_NONCE, json.dumps(plain).encode(), subject.encode())
    return base64.b64encode(head + sealed).decode()


def open_files(text: str, key: SigningKey, subject: str) -> dict[str, bytes]:
    """Return the sealed files by path. ValueError if the text was sealed for another key or subject."""
    try:
        data = base64.b64decode(text, validate=True)
        head = X25519PublicKey.from_public_bytes(data[:_KEY])
        shared = key.exchange_key().exchange(head)
        once = ChaCha20Poly1305(_derive(shared, data[:_KEY], key.public, subject))
        plain = json.loads(once.decrypt(_NONCE, data[_KEY:], subject.encode()))
        return {str(path): base64.b64decode(one, validate=True) for path, one in plain.items()}
    except (InvalidTag, binascii.Error, ValueError) as exc:
        raise ValueError("the copied files cannot be opened: they were sealed for another key") from exc


def _derive(shared: bytes, head: bytes, to: PublicKey, subject: str) -> bytes:
    return derive_key(shared, b"", b"pancode files\n" + head + to.raw + subject.encode())


def derive_key(secret: bytes, salt: bytes, info: bytes) -> bytes:
    """Return a key of 32 bytes, derived from the secret for the purpose that `info` names (HKDF, SHA-256)."""
    return HKDF(algorithm=SHA256(), length=32, salt=salt, info=info).derive(secret)
