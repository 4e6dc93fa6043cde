"""DSSE envelopes with Ed25519: signing, verification, and the reasons for which an envelope is refused."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import ClassVar, TypeVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import Field, ValidationError

from node_agent.wire.keys import WIRE_VERSION
from node_agent.wire.model import MOST, Digest, WireModel

MAX_ENVELOPE_BYTES = 4 * 1024 * 1024
"""The most bytes of an envelope; a larger one is refused unread."""


class RefusalCode(StrEnum):
    """The reason why an envelope was refused."""

    MALFORMED = "malformed"
    UNSIGNED = "unsigned"
    UNKNOWN_KEY = "unknown_key"
    TAMPERED = "tampered"
    WRONG_TYPE = "wrong_type"
    UNKNOWN_VERSION = "unknown_version"
    UNKNOWN_FIELD = "unknown_field"
    INVALID_FIELD = "invalid_field"


class WireRefusal(Exception):
    """Raised for a refused envelope or message. `code`: the reason's code; `detail`: a sentence for users."""

    def __init__(self, code: RefusalCode, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class Signature(WireModel):
    """One signature of an envelope."""

    keyid: Digest
    sig: str = Field(max_length=128)


class Envelope(WireModel):
    """A DSSE envelope: a payload type, the payload (base64), and signatures over both."""

    payloadType: str = Field(max_length=128)
    payload: str
    signatures: tuple[Signature, ...] = Field(max_length=4)

    def body(self) -> bytes:
        """Return the payload's bytes. Raises WireRefusal(MALFORMED) if the payload is not base64."""
        try:
            return base64.b64decode(self.payload, validate=True)
        except ValueError as exc:  # binascii.Error is a subclass; non-ASCII text raises a plain ValueError
            raise WireRefusal(RefusalCode.MALFORMED, "payload is not base64") from exc

    def digest(self) -> str:
        """Return the SHA-256 of payload type and payload, which does not depend on the signers."""
        return hashlib.sha256(encode_pae(self.payloadType, self.body())).hexdigest()


def encode_pae(payload_type: str, payload: bytes) -> bytes:
    """Return the pre-authentication encoding of DSSE v1, which is what is signed."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


_FIELD = 2**255 - 19


@dataclass(frozen=True)
class PublicKey:
    """An Ed25519 public key and the ids derived from it."""

    raw: bytes

    def __post_init__(self) -> None:
        if len(self.raw) != 32:
            raise ValueError("an Ed25519 public key must have 32 bytes")

    @cached_property
    def keyid(self) -> str:
        """Return the SHA-256 of the raw key, in hexadecimal."""
        return hashlib.sha256(self.raw).hexdigest()

    @cached_property
    def tag(self) -> str:
        """Return the first 10 digits of the key id, which are a node's name on the wire."""
        return self.keyid[:10]

    def pem(self) -> str:
        """Return the public key in PEM form, for other tools."""
        kind = PublicFormat.SubjectPublicKeyInfo
        return self._key.public_bytes(Encoding.PEM, kind).decode()

    def text(self) -> str:
        """Return the key as one line, for files and for enrollment."""
        return "ed25519 " + base64.b64encode(self.raw).decode()

    @classmethod
    def parse(cls, text: str) -> PublicKey:
        """Return the key from a line that `text` made. Raises ValueError for any other text."""
        kind, _, data = text.strip().partition(" ")
        if kind != "ed25519":
            raise ValueError("not an ed25519 public key line")
        return cls(base64.b64decode(data, validate=True))

    def verifies(self, signature: bytes, message: bytes) -> bool:
        try:
            self._key.verify(signature, message)
        except InvalidSignature:
            return False
        return True

    def exchange_key(self) -> X25519PublicKey:
        """Return the key of the same owner for agreeing on a secret: the point in Montgomery's form."""
        y = int.from_bytes(self.raw, "little") % 2**255
        u = (1 + y) * pow(1 - y, -1, _FIELD) % _FIELD
        return X25519PublicKey.from_public_bytes(u.to_bytes(32, "little"))

    @cached_property
    def _key(self) -> Ed25519PublicKey:
        return Ed25519PublicKey.from_public_bytes(self.raw)


class SigningKey:
    """An Ed25519 private key."""

    def __init__(self, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self._seed = seed
        raw = self._key.public_key().public_bytes_raw()
        self.public = PublicKey(raw)
        self._keyid = self.public.keyid

    def text(self) -> str:
        """Return the key as one line, for a file of mode 0600."""
        return "ed25519-seed " + base64.b64encode(self._seed).decode()

    @classmethod
    def parse(cls, text: str) -> SigningKey:
        """Return the key from a line that `text` made. Raises ValueError for any other text."""
        kind, _, data = text.strip().partition(" ")
        if kind != "ed25519-seed":
            raise ValueError("not an ed25519 private key line")
        return cls(base64.b64decode(data, validate=True))

    def sign(self, payload_type: str, payload: bytes) -> Envelope:
        """Return a new envelope with this key's signature."""
        text = base64.b64encode(payload).decode()
        return Envelope(
            payloadType=payload_type, payload=text, signatures=(self._mark(payload_type, payload),)
        )

    def countersign(self, envelope: Envelope) -> Envelope:
        """Return the envelope with this key's signature added, unless it is already there."""
        if any(s.keyid == self._keyid for s in envelope.signatures):
            return envelope
        added = self._mark(envelope.payloadType, envelope.body())
        return Envelope(
            payloadType=envelope.payloadType,
            payload=envelope.payload,
            signatures=(*envelope.signatures, added),
        )

    def exchange_key(self) -> X25519PrivateKey:
        """Return the private key of `PublicKey.exchange_key`."""
        return X25519PrivateKey.from_private_bytes(hashlib.sha512(self._seed).digest()[:32])

    def secret(self, subject: str) -> str:
        """Return the fixed secret for `subject`; it reveals nothing about the key or other secrets."""
        return hmac.new(self._seed, b"pancode secret\n" + subject.encode(), hashlib.sha256).hexdigest()

    def _mark(self, payload_type: str, payload: bytes) -> Signature:
        sig = self._key.sign(encode_pae(payload_type, payload))
        return Signature(keyid=self._keyid, sig=base64.b64encode(sig).decode())


class Signed(WireModel):
    """A value that is signed as a whole. `VERSION`: the name of its version field and the current version."""

    VERSION: ClassVar[tuple[str, object]]
    PAYLOAD: ClassVar[str] = ""

    @classmethod
    def payload_type(cls) -> str:
        return f"application/vnd.pancode.{cls.PAYLOAD or cls.__name__.lower()}+json"

    def signed(self, key: SigningKey) -> Envelope:
        return key.sign(self.payload_type(), self.canonical())


class Message(Signed):
    """A signed message of PanCode. Its first field is the version."""

    VERSION = ("v", WIRE_VERSION)
    v: int = Field(default=WIRE_VERSION, ge=0, le=MOST)


M = TypeVar("M", bound=Signed)


def parse_envelope(data: bytes | str) -> Envelope:
    """Return the envelope in untrusted bytes. Raises WireRefusal(MALFORMED) if they are not an envelope."""
    if len(data) > MAX_ENVELOPE_BYTES:
        raise WireRefusal(RefusalCode.MALFORMED, f"envelope is larger than {MAX_ENVELOPE_BYTES} bytes")
    try:
        envelope = Envelope.model_validate_json(data)
        _refuse_twice(data)
        return envelope
    except ValidationError as exc:
        raise WireRefusal(RefusalCode.MALFORMED, f"not an envelope: {_format_first(exc)}") from exc


def verify_envelope(envelope: Envelope, keys: Mapping[str, PublicKey]) -> PublicKey:
    """Return the key, out of `keys` (by key id), that signed the envelope. Raises WireRefusal with UNSIGNED,
    UNKNOWN_KEY or TAMPERED."""
    return _verify_payload(envelope, keys)[0]


def _verify_payload(envelope: Envelope, keys: Mapping[str, PublicKey]) -> tuple[PublicKey, bytes]:
    """Return the signer and the payload. Raises WireRefusal as `verify_envelope` does."""
    if not envelope.signatures:
        raise WireRefusal(RefusalCode.UNSIGNED, "no signature")
    known = [(s, keys[s.keyid]) for s in envelope.signatures if s.keyid in keys]
    if not known:
        raise WireRefusal(
            RefusalCode.UNKNOWN_KEY,
            f"signed by key {envelope.signatures[0].keyid[:10]}, which is not enrolled",
        )
    body = envelope.body()
    message = encode_pae(envelope.payloadType, body)
    for signature, key in known:
        if not key.verifies(_decode_base64(signature.sig), message):
            raise WireRefusal(RefusalCode.TAMPERED, f"the signature of {key.tag} does not match the content")
    return known[0][1], body


def open_as(kind: type[M], envelope: Envelope, keys: Mapping[str, PublicKey]) -> M:
    """Verify the envelope and return its message. Raises WireRefusal for any mismatch."""
    if envelope.payloadType != kind.payload_type():
        raise WireRefusal(
            RefusalCode.WRONG_TYPE, f"payload type is {envelope.payloadType}, must be {kind.payload_type()}"
        )
    return parse_message(kind, _verify_payload(envelope, keys)[1])


def parse_message(kind: type[M], body: bytes) -> M:
    """Return the message in bytes that are not verified. Raises WireRefusal for invalid bytes: for a wrong
    version first, then for a wrong field."""
    try:
        message = kind.model_validate_json(body)
    except (ValidationError, RecursionError):
        return _refuse_message(kind, body)
    _refuse_twice(body)
    name, due = kind.VERSION
    current = getattr(message, name) == due and name in message.model_fields_set
    return message if current else _refuse_message(kind, body)


def _refuse_twice(data: bytes | str) -> None:
    """Raise WireRefusal for JSON with a duplicate key, since another reader may use the other value."""
    try:
        json.loads(data, object_pairs_hook=_check_unique_keys)
    except (ValueError, RecursionError) as exc:
        raise WireRefusal(RefusalCode.MALFORMED, f"the message's JSON is invalid: {exc}"[:300]) from exc


def _check_unique_keys(pairs: list[tuple[str, object]]) -> None:
    if len(pairs) != len({name for name, _ in pairs}):
        raise ValueError("a key occurs twice in one object")


def _refuse_message(kind: type[M], body: bytes) -> M:
    """Parse refused bytes to raise WireRefusal with the reason: wrong version, or invalid message."""
    try:
        raw = json.loads(body)
    except (ValueError, RecursionError) as exc:
        raise WireRefusal(RefusalCode.MALFORMED, "payload is not JSON") from exc
    name, due = kind.VERSION
    if not isinstance(raw, dict) or raw.get(name) != due:
        found = raw.get(name) if isinstance(raw, dict) else None
        raise WireRefusal(
            RefusalCode.UNKNOWN_VERSION, f"its version is {str(found)[:80]!r}, but this side supports {due}"
        )
    try:
        return kind.model_validate_json(body)
    except ValidationError as exc:
        unknown = any(e["type"] == "extra_forbidden" for e in exc.errors())
        code = RefusalCode.UNKNOWN_FIELD if unknown else RefusalCode.INVALID_FIELD
        raise WireRefusal(code, _format_first(exc)) from exc


def _decode_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return b""


_MOST_PATH = 200


def _format_first(exc: ValidationError) -> str:
    error = exc.errors(include_url=False, include_input=False)[0]
    path = ".".join(str(p) for p in error["loc"])[:_MOST_PATH]  # the sender chose the names of the fields
    return f"{path}: {error['msg']}" if path else str(error["msg"])
