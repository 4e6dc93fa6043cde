"""Seals a copy: only the holder of the recovery key or passphrase can open it, and only the fleet's
coordinator can have made it.

A copy begins with a clear part: a mark, how the key of a passphrase is made, a tag of the key, and an X25519
key made for this copy alone. Frames follow, each encrypted with ChaCha20-Poly1305 under its number and a flag
for the last one, so that a cut, swapped or repeated frame is noticed (the STREAM construction of age). The
first frame is the head, of a fixed size; the others have the compressed contents. The cipher's key depends on
the clear part, on the fleet and name of the copy, and on a secret that the coordinator and the owner share.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import BinaryIO, Literal, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from node_agent.wire.sealing import derive_key
from pancode.kernel.errors import PancodeError, UsageError

MAGIC = b"pancode-copy-2\n\n"
_CLEAR = struct.Struct("16s16sB16s32s")
"""The mark, the salt and the cost of a passphrase (zero: a recovery key), the key's tag, the X25519 key."""
HEAD, FRAME, TAG = 4_096, 64 * 1024, 16
HEADED = _CLEAR.size + HEAD + TAG
"""The bytes of a copy with which its head can be read."""
SALT, COST, COSTS = 16, 16, range(14, 19)
"""Bytes of a passphrase's salt; the power of two of scrypt's work; and those accepted from a copy."""
LEAST_PASSPHRASE, MOST_SALTS = 12, 20
_PREFIX = "pancode-recovery-"
_SHOWN = re.compile(_PREFIX + r"([a-z2-7-]+)")
_CHECK = 3


class SealError(PancodeError):
    """A copy is damaged, or was sealed for another key, fleet or name."""

    code = "seal_broken"


class Recipient(BaseModel):
    """For whom copies are sealed; the coordinator stores this, which opens no copy. `mac`: the secret that
    proves to the owner who made a copy. `salt`, `cost`: of a passphrase."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    kind: Literal["key", "passphrase"] = "key"
    public: str = Field(max_length=64)
    mac: str = Field(max_length=64)
    salt: str = Field(default="", max_length=64)
    cost: int = Field(default=COST, ge=COSTS.start, lt=COSTS.stop)

    @model_validator(mode="after")
    def _has_whole_values(self) -> Self:
        sizes = [len(_decode(one)) for one in (self.public, self.mac, self.salt)]
        if sizes != [32, 32, SALT * (self.kind == "passphrase")]:
            raise ValueError("it is not a recovery key: a value has a wrong length")
        return self


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
            why = "its check does not match" if letters else "the copies are sealed with it, also for --list"
            fix = f"type it as `pancode admin backup` printed it: {_PREFIX}..., 56 letters and digits"
            fix += "; or add --key-file FILE"
            what = "this is not a recovery key" if letters else "a recovery key is required"
            raise UsageError(what, why=why, fix=fix)
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


def check_passphrase(text: str) -> str:
    """Return the passphrase; UsageError if it is too short to resist guessing on a node's disk."""
    if len(text) < LEAST_PASSPHRASE:
        fix = "use several words; or use a recovery key: pancode admin backup --to NODE"
        raise UsageError(f"the passphrase has less than {LEAST_PASSPHRASE} characters", fix=fix)
    return text


@dataclass(frozen=True, slots=True)
class ClearPart:
    """What the first bytes of a copy show: how its key is made. `cost`: 0 for a recovery key."""

    salt: bytes
    cost: int
    tag: bytes
    once: bytes

    @classmethod
    def parse(cls, data: bytes) -> ClearPart:
        """SealError for bytes that do not begin like a copy."""
        if len(data) < _CLEAR.size or not data.startswith(MAGIC):
            raise SealError("it does not have the format of a copy")
        _, salt, cost, tag, once = _CLEAR.unpack_from(data)
        if cost and cost not in COSTS:
            raise SealError("its passphrase needs more time and memory to open than PanCode allows")
        return cls(salt, cost, tag, once)

    @property
    def kind(self) -> Literal["key", "passphrase"]:
        return "passphrase" if self.cost else "key"


@dataclass(slots=True)
class TypedKey:
    """What a user typed: a recovery key, or the passphrase of some copies."""

    text: str
    _made: dict[tuple[bytes, int], RecoveryKey] = field(default_factory=dict)

    def opens(self, clear: ClearPart) -> RecoveryKey | None:
        """Return the key if it is that of this copy. UsageError for a typing error in a recovery key."""
        how = clear.salt, clear.cost
        if how not in self._made:
            if len(self._made) == MOST_SALTS:  # each one is slow, and a node may have written any number
                return None
            is_key, parse, of_passphrase = not clear.cost, RecoveryKey.parse, RecoveryKey.of_passphrase
            self._made[how] = parse(self.text) if is_key else of_passphrase(self.text, clear.salt, clear.cost)
        key = self._made[how]
        return key if hmac.compare_digest(_tag(_decode(key.recipient().mac)), clear.tag) else None


class Sealer:
    """Seals one copy into an empty file: all that is written, then its head. `context`: its fleet and
    name."""

    def __init__(self, recipient: Recipient, context: str, target: BinaryIO) -> None:
        made, public, mac = X25519PrivateKey.generate(), _decode(recipient.public), _decode(recipient.mac)
        once, cost = made.public_key().public_bytes_raw(), recipient.cost * (recipient.kind == "passphrase")
        clear = _CLEAR.pack(MAGIC, _decode(recipient.salt), cost, _tag(mac), once)
        shared = made.exchange(X25519PublicKey.from_public_bytes(public))
        self._cipher, self._target = _cipher(shared, mac, clear + public, context), target
        self._packer, self._waiting, self._number = zlib.compressobj(1), bytearray(), 0
        self.size = target.write(clear + bytes(HEAD + TAG))

    def write(self, data: bytes) -> int:
        self._waiting += self._packer.compress(data)
        while len(self._waiting) > FRAME:
            self._put(is_last=False)
        return len(data)

    def end(self, make_head: Callable[[int], bytes]) -> None:
        """Write the last frame, then the head. `make_head` is given the size of the whole copy."""
        self._waiting += self._packer.flush()
        while len(self._waiting) > FRAME:
            self._put(is_last=False)
        self._put(is_last=True)
        head = make_head(self.size)
        if len(head) > HEAD:
            raise SealError("the head of the copy is too long")
        self._target.seek(_CLEAR.size)
        self._target.write(self._cipher.encrypt(_nonce(0, False), head.ljust(HEAD), None))

    def _put(self, is_last: bool) -> None:
        self._number += 1
        part = bytes(self._waiting[:FRAME])
        self.size += self._target.write(self._cipher.encrypt(_nonce(self._number, is_last), part, None))
        del self._waiting[:FRAME]


class Opener:
    """Opens a copy, from its beginning. SealError if anything about it is wrong."""

    def __init__(self, key: RecoveryKey, context: str, source: BinaryIO) -> None:
        headed = source.read(HEADED)
        clear, recipient, private = ClearPart.parse(headed), key.recipient(), key.private()
        public, mac = private.public_key().public_bytes_raw(), _decode(recipient.mac)
        try:
            shared = private.exchange(X25519PublicKey.from_public_bytes(clear.once))
        except ValueError as exc:
            raise SealError("it was changed") from exc
        self._cipher = _cipher(shared, mac, headed[: _CLEAR.size] + public, context)
        self._source, self._number, self._next = source, 0, b""
        self.head = self._decrypt(headed[_CLEAR.size :], is_last=False)
        self._inflating, self._waiting = zlib.decompressobj(), bytearray()

    def read(self, size: int) -> bytes:
        """Return `size` bytes of the contents, fewer only at their end."""
        while len(self._waiting) < size and not self._inflating.eof:
            part = self._next or self._source.read(FRAME + TAG)
            self._next = self._source.read(FRAME + TAG)
            self._number += 1
            plain = self._decrypt(part, is_last=not self._next)
            try:
                self._waiting += self._inflating.decompress(plain)
            except zlib.error as exc:
                raise SealError("it cannot be unpacked", why=str(exc)) from exc
            if self._inflating.eof is not (not self._next):
                raise SealError("it is not complete")
        found = bytes(self._waiting[:size])
        del self._waiting[:size]
        return found

    def _decrypt(self, part: bytes, is_last: bool) -> bytes:
        try:
            return self._cipher.decrypt(_nonce(self._number, is_last), part, None)
        except (InvalidTag, ValueError) as exc:
            raise SealError("it was cut or changed, or sealed for another fleet or name") from exc


def _tag(mac: bytes) -> bytes:
    return hmac.digest(mac, b"pancode backup: tag", "sha256")[:16]


def _cipher(shared: bytes, mac: bytes, salt: bytes, context: str) -> ChaCha20Poly1305:
    return ChaCha20Poly1305(derive_key(shared + mac, salt, b"pancode copy: " + context.encode()))


def _nonce(number: int, is_last: bool) -> bytes:
    return number.to_bytes(11, "big") + (b"\x01" if is_last else b"\x00")


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _decode(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
