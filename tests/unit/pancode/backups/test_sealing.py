"""What is sealed is opened by its key alone, whole, and for what it was sealed."""

from __future__ import annotations

import io

import pytest
from pydantic import ValidationError

from pancode.backups.sealing import (
    FRAME,
    HEADED,
    MOST_SALTS,
    SALT,
    TAG,
    ClearPart,
    Opener,
    Recipient,
    RecoveryKey,
    Sealer,
    SealError,
    TypedKey,
    check_passphrase,
)
from pancode.kernel.errors import UsageError
from tests.fakes.node.clock import SeededIds

KEY, OTHER = RecoveryKey(b"k" * 32), RecoveryKey(b"o" * 32)
NOISE = bytes.fromhex(SeededIds(1).token(3 * FRAME))


def seal(plain: bytes, context: str = "a", to: Recipient | None = None) -> bytes:
    file = io.BytesIO()
    sealer = Sealer(to or KEY.recipient(), context, file)
    for at in range(0, len(plain), 50_000):
        sealer.write(plain[at : at + 50_000])
    sealer.end(lambda size: f"head {size}".encode())
    return file.getvalue()


def unseal(sealed: bytes, key: RecoveryKey = KEY, context: str = "a") -> bytes:
    opener, found = Opener(key, context, io.BytesIO(sealed)), bytearray()
    while part := opener.read(10_000):
        found += part
    assert opener.head.strip() == f"head {len(sealed)}".encode()
    return bytes(found)


@pytest.mark.parametrize("size", [0, 1, FRAME - 100, FRAME, 2 * FRAME, 3 * FRAME])
def test_a_text_of_any_size_comes_back(size: int) -> None:
    assert unseal(seal(NOISE[:size])) == NOISE[:size]


def test_the_same_text_is_sealed_differently_each_time() -> None:
    assert seal(b"text") != seal(b"text")


PART = FRAME + TAG
BROKEN = {
    "empty": lambda sealed: b"",
    "only the head": lambda sealed: sealed[:HEADED],
    "cut within a frame": lambda sealed: sealed[:-1],
    "cut at the end of a frame": lambda sealed: sealed[: HEADED + PART],
    "a byte changed": lambda sealed: sealed[:-50] + bytes([sealed[-50] ^ 1]) + sealed[-49:],
    "the clear part changed": lambda sealed: sealed[:60] + bytes([sealed[60] ^ 1]) + sealed[61:],
    "more behind it": lambda sealed: sealed + b"x",
    "two frames swapped": lambda sealed: (
        sealed[:HEADED]
        + sealed[HEADED + PART : HEADED + 2 * PART]
        + sealed[HEADED : HEADED + PART]
        + sealed[HEADED + 2 * PART :]
    ),
    "a frame left out": lambda sealed: sealed[:HEADED] + sealed[HEADED + PART :],
    "a frame of another copy": lambda sealed: sealed[:HEADED] + seal(NOISE)[HEADED:],
    "not a copy": lambda sealed: b"x" * len(sealed),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_damaged_copy_is_not_opened(how: str) -> None:
    """Before anything of the damaged frame is unpacked."""
    with pytest.raises(SealError, match=r"cut or changed|not have the format"):
        unseal(BROKEN[how](seal(NOISE)))


def test_another_key_and_another_name_do_not_open_it() -> None:
    sealed = seal(b"text", "f-1/c-1")
    for key, context in ((OTHER, "f-1/c-1"), (KEY, "f-1/c-2"), (KEY, "f-2/c-1")):
        with pytest.raises(SealError):
            unseal(sealed, key, context)


def test_only_who_has_the_secret_of_the_owner_can_seal() -> None:
    forger = KEY.recipient().model_copy(update={"mac": OTHER.recipient().mac})
    with pytest.raises(SealError):
        unseal(seal(b"text", to=forger))


def test_a_recovery_key_is_typed_again_in_any_case_and_with_blanks() -> None:
    text = KEY.text()
    assert RecoveryKey.parse(text) == KEY
    assert RecoveryKey.parse(f" {text.upper().replace('-', ' ')}\n".replace("PANCODE RECOVERY ", "")) == KEY
    assert RecoveryKey.parse(f"recovery key: {text}\ngpubox: c-00000001-x7k2pq verified\n") == KEY


@pytest.mark.parametrize("text", ["", "x", KEY.text()[:-1], KEY.text()[:-3] + "aaa", "pancode-recovery-1111"])
def test_a_typing_error_is_found(text: str) -> None:
    with pytest.raises(UsageError, match="a recovery key"):
        RecoveryKey.parse(text)


def test_a_passphrase_opens_with_its_salt_alone() -> None:
    salt = b"s" * SALT
    made = RecoveryKey.of_passphrase("correct horse battery", salt, 14).recipient(salt, 14)
    sealed = seal(b"text", to=made)
    clear = ClearPart.parse(sealed)
    assert (clear.kind, clear.salt, clear.cost) == ("passphrase", salt, 14)
    again = TypedKey("correct horse battery").opens(clear)
    assert again is not None and unseal(sealed, again) == b"text"
    assert TypedKey("another horse battery").opens(clear) is None
    with pytest.raises(UsageError, match="12 characters"):
        check_passphrase("short")


def test_a_place_cannot_ask_for_absurd_work() -> None:
    sealed = seal(b"text", to=RecoveryKey.of_passphrase("x" * 12, b"s" * SALT, 14).recipient(b"s" * SALT, 14))
    costly = sealed[:32] + b"\x28" + sealed[33:]
    with pytest.raises(SealError, match="more time and memory"):
        ClearPart.parse(costly)
    typed, clear = TypedKey("y" * 12), ClearPart.parse(sealed)
    made = [ClearPart(bytes([number]) * SALT, 14, clear.tag, clear.once) for number in range(MOST_SALTS + 5)]
    assert [typed.opens(one) for one in made] == [None] * len(made) and len(typed._made) == MOST_SALTS


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b'{"kind": "other"}',
        b'{"kind": "key", "public": "AAAA", "mac": "AAAA"}',
        KEY.recipient().model_dump_json().replace('"salt":""', '"salt":"AAAA"').encode(),
        KEY.recipient().model_dump_json().replace('"cost":16', '"cost":40').encode(),
        KEY.recipient().model_dump_json().replace('"mac":"', '"mac":"\xff').encode("latin-1"),
    ],
)
def test_a_damaged_recipient_is_refused(text: bytes) -> None:
    with pytest.raises(ValidationError):
        Recipient.model_validate_json(text)
