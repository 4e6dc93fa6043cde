"""What is sealed is opened by its key alone, whole, and for what it was sealed."""

from __future__ import annotations

import pytest

from pancode.backups.sealing import (
    CHUNK,
    SALT,
    TAG,
    RecoveryKey,
    SealError,
    authenticate,
    check_passphrase,
    open_sealed,
    parse_recipient,
    salt_of,
    seal,
)
from pancode.kernel.errors import UsageError
from tests.fakes.node.clock import SeededIds

KEY, OTHER = RecoveryKey(b"k" * 32), RecoveryKey(b"o" * 32)
PUBLIC = KEY.recipient().public
NOISE = bytes.fromhex(SeededIds(1).token(3 * CHUNK))
MOST = 1 << 24


@pytest.mark.parametrize("size", [0, 1, CHUNK - 20, CHUNK, 2 * CHUNK, 3 * CHUNK])
def test_a_text_of_any_size_comes_back(size: int) -> None:
    assert open_sealed(KEY, "a", seal(PUBLIC, "a", NOISE[:size]), MOST) == NOISE[:size]


def test_the_same_text_is_sealed_differently_each_time() -> None:
    assert seal(PUBLIC, "a", b"text") != seal(PUBLIC, "a", b"text")


HEAD = len(seal(PUBLIC, "a", b"")) - 8 - TAG
"""The bytes before the first chunk; no bytes are packed into 8."""
BROKEN = {
    "empty": lambda sealed: b"",
    "only the head": lambda sealed: sealed[:HEAD],
    "cut within a chunk": lambda sealed: sealed[:-1],
    "cut at the end of a chunk": lambda sealed: sealed[: HEAD + CHUNK + TAG],
    "a byte changed": lambda sealed: sealed[:-50] + bytes([sealed[-50] ^ 1]) + sealed[-49:],
    "another head": lambda sealed: sealed[: HEAD - 1] + bytes([sealed[HEAD - 1] ^ 1]) + sealed[HEAD:],
    "more behind it": lambda sealed: sealed + b"x",
    "two chunks swapped": lambda sealed: (
        sealed[:HEAD]
        + sealed[HEAD + CHUNK + TAG : HEAD + 2 * (CHUNK + TAG)]
        + sealed[HEAD : HEAD + CHUNK + TAG]
        + sealed[HEAD + 2 * (CHUNK + TAG) :]
    ),
    "a chunk left out": lambda sealed: sealed[:HEAD] + sealed[HEAD + CHUNK + TAG :],
    "not a sealed text": lambda sealed: b"x" * len(sealed),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_damaged_text_is_not_opened(how: str) -> None:
    with pytest.raises(SealError):
        open_sealed(KEY, "a", BROKEN[how](seal(PUBLIC, "a", NOISE)), MOST)


def test_another_key_and_another_name_do_not_open_it() -> None:
    sealed = seal(PUBLIC, "copy f-1/c-1", b"text")
    for key, context in ((OTHER, "copy f-1/c-1"), (KEY, "copy f-1/c-2"), (KEY, "copy f-2/c-1")):
        with pytest.raises(SealError):
            open_sealed(key, context, sealed, MOST)


def test_a_text_that_grows_when_it_is_opened_is_refused() -> None:
    with pytest.raises(SealError, match="damaged"):
        open_sealed(KEY, "a", seal(PUBLIC, "a", b"\0" * 1_001), 1_000)


def test_a_recovery_key_is_typed_again_in_any_case_and_with_blanks() -> None:
    text = KEY.text()
    assert RecoveryKey.parse(text) == KEY
    assert RecoveryKey.parse(f" {text.upper().replace('-', ' ')}\n".replace("PANCODE RECOVERY ", "")) == KEY
    assert RecoveryKey.parse(f"recovery key: {text}\ngpubox: c-00000001-x7k2pq verified\n") == KEY


@pytest.mark.parametrize("text", ["", "x", KEY.text()[:-1], KEY.text()[:-3] + "aaa", "pancode-recovery-1111"])
def test_a_typing_error_is_found(text: str) -> None:
    with pytest.raises(UsageError, match="not a recovery key"):
        RecoveryKey.parse(text)


def test_a_passphrase_opens_with_its_salt_alone() -> None:
    salt = b"s" * SALT
    key = RecoveryKey.of_passphrase("correct horse battery", salt, 14)
    recipient = key.recipient(salt, 14)
    sealed = seal(recipient.public, "a", b"text")
    described = parse_recipient(recipient.without_keys().model_dump_json().encode())
    again = RecoveryKey.of_passphrase("correct horse battery", salt_of(described), described.cost)
    assert open_sealed(again, "a", sealed, MOST) == b"text"
    assert RecoveryKey.of_passphrase("correct horse battery", b"t" * SALT, 14) != key
    with pytest.raises(UsageError, match="12 characters"):
        check_passphrase("short")


def test_what_a_node_sees_neither_seals_nor_authenticates() -> None:
    shown = KEY.recipient().without_keys()
    assert (shown.public, shown.mac) == ("", "")
    assert authenticate(KEY.recipient(), b"text") != authenticate(OTHER.recipient(), b"text")


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b'{"kind": "other"}',
        b'{"kind": "key", "public": "AAAA"}',
        b'{"kind": "passphrase", "salt": "AAAA"}',
        b'{"kind": "passphrase", "salt": "AAAAAAAAAAAAAAAAAAAAAA==", "cost": 40}',
        b'{"kind": "key", "public": "\xff"}',
    ],
)
def test_a_forged_description_is_refused(text: bytes) -> None:
    with pytest.raises(SealError, match="damaged"):
        parse_recipient(text)
