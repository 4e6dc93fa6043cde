"""Seals what leaves this machine for a copy: only the holder of the recovery key or passphrase can open it.

A sealed text begins with an X25519 key made for it alone. Chunks of 64 KiB follow, each encrypted with
ChaCha20-Poly1305 under a counter and a flag for the last chunk, so that a cut, swapped or repeated chunk is
noticed (the STREAM construction of age). The context, such as the name of a copy, is part of the key.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from node_agent.wire.sealing import derive_key
from pancode.kernel.errors import PancodeError, UsageError

MAGIC = b"pancode-sealed-1\n"
CHUNK, TAG = 64 * 1024, 16
_HEAD = len(MAGIC) + 32
SALT, COST, COSTS = 16, 16, range(14, 19)
"""Bytes of a passphrase's salt; the power of two of scrypt's work; and those accepted from a node's file."""
LEAST_PASSPHRASE = 12
_PREFIX = "pancode-recovery-"
_SHOWN = re.compile(_PREFIX + r"([a-z2-7-]+)")
_CHECK = 3


class SealError(PancodeError):
    """A sealed text is damaged, or was sealed for another key or purpose."""

    code = "seal_broken"


class Recipient(BaseModel):
    """For whom copies are sealed; the coordinator stores this, which opens no copy. `mac`: authenticates
    manifests to the owner. `public` and `mac` are empty in the file next to the copies, which only tells how
    the key is made. `salt`, `cost`: of a passphrase."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    kind: Literal["key", "passphrase"]
    public: str = Field(default="", max_length=64)
    mac: str = Field(default="", max_length=64)
    salt: str = Field(default="", max_length=64)
    cost: int = COST

    def without_keys(self) -> Recipient:
        """Return what a node may know: how the key is made, but not for whom to seal."""
        return self.model_copy(update={"mac": "", "public": ""})


def parse_recipient(data: bytes) -> Recipient:
    """Return the recipient that a file contains; SealError if it is damaged or asks for absurd work."""
    try:
        found = Recipient.model_validate_json(data)
        usable = len(_decode(found.public)) in (0, 32) and found.cost in COSTS
        usable = usable and len(_decode(found.salt)) == (SALT if found.kind == "passphrase" else 0)
        usable = usable and len(_decode(found.mac)) in (0, 32)
    except (ValidationError, ValueError) as exc:
        raise SealError("the description of the recovery key is damaged", why=str(exc)[:300]) from exc
    if not usable:
        raise SealError("the description of the recovery key is damaged", why="a value has a wrong length")
    return found


@dataclass(frozen=True, slots=True)
class RecoveryKey:
    """The secret that opens copies; only its owner stores it."""

    secret: bytes

    def text(self) -> str:
        """Return the key for a user to write down; it includes a check of typing errors."""
        check = hashlib.sha256(self.secret).digest()[:_CHECK]
        letters = base64.b32encode(self.secret + check).decode().rstrip("=").lower()
        return _PREFIX + "-".join(letters[at : at + 8] for at in range(0, len(letters), 8))

    @classmethod
    def parse(cls, text: str) -> RecoveryKey:
        """Return the key that a user typed, or that the output of `admin backup` contains. UsageError."""
        shown = _SHOWN.search(text)  # also in the whole output of the command that printed it
        letters = (shown[1] if shown else text).upper().replace("-", "").replace(" ", "").strip()
        try:
            data = base64.b32decode(letters)
        except ValueError:
            data = b""
        secret, check = data[:32], data[32:]
        if len(data) != 32 + _CHECK or hashlib.sha256(secret).digest()[:_CHECK] != check:
            fix = f"type it as `pancode admin backup` printed it: {_PREFIX}..., 56 letters and digits"
            raise UsageError("this is not a recovery key", why="its check does not match", fix=fix)
        return cls(secret)

    @classmethod
    def of_passphrase(cls, passphrase: str, salt: bytes, cost: int = COST) -> RecoveryKey:
        """Return the key of a passphrase; takes about a quarter of a second, so that guessing is slow."""
        return cls(Scrypt(salt=salt, length=32, n=1 << cost, r=8, p=1).derive(passphrase.encode()))

    def private(self) -> X25519PrivateKey:
        return X25519PrivateKey.from_private_bytes(derive_key(self.secret, b"", b"pancode backup: seal"))

    def recipient(self, salt: bytes = b"", cost: int = COST) -> Recipient:
        """Return what the coordinator stores to seal for this key. `salt`: given if it is of a passphrase."""
        mac = derive_key(self.secret, b"", b"pancode backup: manifest")
        public = self.private().public_key().public_bytes_raw()
        kind: Literal["key", "passphrase"] = "passphrase" if salt else "key"
        return Recipient(kind=kind, public=_encode(public), mac=_encode(mac), salt=_encode(salt), cost=cost)


def parse_recipients(descriptions: Iterable[bytes]) -> list[Recipient]:
    """Return how the keys of copies are made, in the same order; a recovery key if none is usable."""
    found = list[Recipient]()
    for data in descriptions:
        with suppress(SealError):
            found.append(parse_recipient(data))
    return found or [Recipient(kind="key")]


def derive_keys(text: str, described: Iterable[Recipient]) -> Iterator[tuple[RecoveryKey, Recipient]]:
    """Yield each key that a user's text can mean. UsageError for a typing error in a recovery key."""
    passphrases = [one for one in described if one.kind == "passphrase"]
    try:
        key = RecoveryKey.parse(text)
        yield key, key.recipient()
    except UsageError:
        if not passphrases:
            raise
    for one in passphrases:
        salt = salt_of(one)
        key = RecoveryKey.of_passphrase(text, salt, one.cost)
        yield key, key.recipient(salt, one.cost)


def check_passphrase(text: str) -> str:
    """Return the passphrase; UsageError if it is too short to resist guessing on a node's disk."""
    if len(text) < LEAST_PASSPHRASE:
        fix = "use several words; or use a recovery key: pancode admin backup --to NODE"
        raise UsageError(f"the passphrase has less than {LEAST_PASSPHRASE} characters", fix=fix)
    return text


def salt_of(recipient: Recipient) -> bytes:
    return _decode(recipient.salt)


def authenticate(recipient: Recipient, text: bytes) -> str:
    """Return the code that proves to the owner that this fleet's coordinator wrote the text."""
    return hmac.new(_decode(recipient.mac), text, hashlib.sha256).hexdigest()


def seal(public: str, context: str, plain: bytes) -> bytes:
    """Return the compressed and sealed text. `public`: of the recipient; `context`: what it is, and its
    name."""
    recipient = _decode(public)
    made = X25519PrivateKey.generate()
    head = made.public_key().public_bytes_raw()
    shared = made.exchange(X25519PublicKey.from_public_bytes(recipient))
    cipher = _cipher(shared, head + recipient, context)
    packed = zlib.compress(plain, 1)
    out = bytearray(MAGIC + head)
    count = max(1, -(-len(packed) // CHUNK))
    for number in range(count):
        part = packed[number * CHUNK : (number + 1) * CHUNK]
        out += cipher.encrypt(_nonce(number, number == count - 1), part, None)
    return bytes(out)


def open_sealed(key: RecoveryKey, context: str, sealed: bytes, most: int) -> bytes:
    """Return the text, which has at most `most` bytes. SealError if anything about it is wrong."""
    if len(sealed) < _HEAD + TAG or not sealed.startswith(MAGIC):
        raise SealError(f"{context} is damaged", why="it does not begin like a sealed text")
    head, private = sealed[len(MAGIC) : _HEAD], key.private()
    recipient = private.public_key().public_bytes_raw()
    try:
        shared = private.exchange(X25519PublicKey.from_public_bytes(head))
        cipher = _cipher(shared, head + recipient, context)
        packed, at, number = bytearray(), _HEAD, 0
        while at < len(sealed):
            end = min(at + CHUNK + TAG, len(sealed))
            packed += cipher.decrypt(_nonce(number, end == len(sealed)), sealed[at:end], None)
            at, number = end, number + 1
        inflating = zlib.decompressobj()
        plain = inflating.decompress(bytes(packed), most + 1)
        is_whole = inflating.eof and not inflating.unused_data
    except (InvalidTag, ValueError, zlib.error) as exc:
        why = "it was cut or changed, or sealed for another key, fleet or name"
        raise SealError(f"{context} cannot be opened", why=why) from exc
    if len(plain) > most or not is_whole:
        raise SealError(f"{context} is damaged", why=f"it is longer than {most} bytes, or incomplete")
    return plain


def _cipher(shared: bytes, salt: bytes, context: str) -> ChaCha20Poly1305:
    return ChaCha20Poly1305(derive_key(shared, salt, b"pancode backup: " + context.encode()))


def _nonce(number: int, is_last: bool) -> bytes:
    return number.to_bytes(11, "big") + (b"\x01" if is_last else b"\x00")


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _decode(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
