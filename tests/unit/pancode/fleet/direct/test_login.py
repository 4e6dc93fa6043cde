"""What passes behind a node's login to Redis, in whatever pieces it comes."""

from __future__ import annotations

import random  # noqa: TID251  # seeded, as a parameter says

import pytest
from hiredis import pack_command

from pancode.fleet.direct.entrance import LoginError, OneLogin

PASSWORD = b"$6\r\nsecret\r\n"


def packed(words: tuple[str | int | bytes, ...]) -> bytes:
    data: bytes = pack_command(words)  # type: ignore[arg-type]  # its stub names one word's type
    return data


def pieces(text: bytes, seed: int) -> list[bytes]:
    chance, cuts = random.Random(seed), [0, len(text)]
    cuts += [chance.randrange(len(text)) for _ in range(chance.randrange(12))]
    cuts.sort()
    return [text[a:b] for a, b in zip(cuts, cuts[1:], strict=False)]


def passes(text: bytes, by: list[bytes]) -> bool:
    seen = OneLogin()
    try:
        for piece in by:
            seen.look(piece)
    except LoginError:
        return False
    return True


GOOD = [
    ("PING",),
    ("HSET", "key", "data", b"*3\r\n$4\r\nAUTH\r\n$1\r\na\r\n$1\r\nb\r\n"),
    ("HSET", "AUTH", "HELLO", ""),
    ("AUTHX",),
    ("EVALSHA", "x" * 40, 0, "RESET"),
]


@pytest.mark.parametrize("seed", range(40))
def test_whatever_the_pieces(seed: int) -> None:
    good = PASSWORD + b"*0\r\n" + b"".join(map(packed, GOOD))
    assert passes(good, pieces(good, seed))
    for word in ("AUTH", "Hello", "reset"):
        bad = good + packed((word, "a", "b"))
        assert not passes(bad, pieces(bad, seed))


@pytest.mark.parametrize("byte_by_byte", [False, True])
@pytest.mark.parametrize(
    "text",
    [
        b"AUTH a b\r\n",
        b"*1\n$4\nPING\n",
        b"*-1\r\n",
        b"*+1\r\n",
        b"* 1\r\n",
        b"\r\n",
        b"$4\r\nAUTH\r\n",
        b"*2\r\n*1\r\n",
        b"*" + b"0" * 40 + b"1\r\n",
        b"x" * 100_000,
    ],
)
def test_what_redis_may_read_otherwise_than_we(text: bytes, byte_by_byte: bool) -> None:
    whole = PASSWORD + text
    assert not passes(whole, [whole[i : i + 1] for i in range(len(whole))] if byte_by_byte else [whole])


def test_nothing_of_a_forbidden_word_passes_whole() -> None:
    """What comes before its last byte may continue: Redis waits for all of a command."""
    seen, login = OneLogin(), packed(("RESET",))
    seen.look(PASSWORD + login[:-1])
    with pytest.raises(LoginError, match="RESET"):
        seen.look(login[-1:])


def test_a_long_value_is_kept_nowhere() -> None:
    seen = OneLogin()
    seen.look(PASSWORD + b"*3\r\n$4\r\nHSET\r\n$1\r\nk\r\n$100000000\r\n")
    for _ in range(100):
        seen.look(bytes(1_000_000))
    seen.look(b"\r\n" + packed(("PING",)))
