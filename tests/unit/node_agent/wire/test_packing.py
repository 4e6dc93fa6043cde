"""Packed texts: every byte comes back, damage is found, and what is on disks stays readable."""

from __future__ import annotations

import base64
import json
import tracemalloc
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node_agent.wire.packing import _DICTIONARY, PACKED, pack, read_text, unpack
from node_agent.wire.signing import SigningKey

JOB = {name: f"the {name} of the run" for name in ("task", "agent", "prompt", "project", "node", "model")}
ENVELOPE = SigningKey(b"n" * 32).sign("application/vnd.pancode.order+json", json.dumps(JOB).encode())
TEXT = ENVELOPE.model_dump_json().encode()
HELLO = SigningKey(b"n" * 32).sign("application/vnd.pancode.order+json", b'{"task":"say hello"}')
STORED = (
    "eLvCLoB8pZS7DoJAFER7v4LQ2uyyr2thwSYIEs2amIiWcHfFF8EHRtGfFy0sbUymm2JOJpmRzAtI70+op998rq0bY+ttXPci/o9sMeAEr"
    "GBF4QJgllHB0RGCBXV5JwAmgVKpAgRUObecUKvejkBEZ/Mv+yq6tqXjuoI6htEiTZbHJGtU2mg9ObEqjy/jWSbs8l7N79vt7bC7JNWNCC"
    "Wv0WNmsF4bY+rgoKeTs+nvJVO6DcNyOHxX9wL7LlpV"
)
"""How the first version that packed wrote it: the form that ledgers and journals have."""


@given(st.binary() | st.builds(lambda a, b, c: a + b'"payload":"' + b + b'"' + c, *[st.binary()] * 3))
@settings(max_examples=300, deadline=None)
def test_every_text_comes_back(text: bytes) -> None:
    assert unpack(pack(text)) == text


@pytest.mark.parametrize("payload", ["", "YWI", "YWJ=", "YR==", "YWJj\\n", "=", "A===", "YWJjYWI="])
def test_base64_in_any_form_comes_back(payload: str) -> None:
    for quote in ('"', '\\"'):
        text = f"{{payload{quote}:{quote}{payload}{quote}}}".encode()
        assert unpack(pack(text)) == text


def test_a_payload_is_compressed_as_its_bytes() -> None:
    packed = pack(TEXT)
    assert packed.startswith(PACKED) and unpack(packed) == TEXT
    assert len(packed) < len(zlib.compress(TEXT)) * 0.75


def test_what_is_stored_stays_readable() -> None:
    assert unpack(base64.b64decode(STORED)) == HELLO.model_dump_json().encode()


def test_damage_is_found() -> None:
    packed = pack(TEXT)
    for at in range(len(packed)):
        for damaged in (packed[:at], packed[:at] + bytes([packed[at] ^ 1]) + packed[at + 1 :]):
            with pytest.raises(ValueError):
                unpack(damaged)
    with pytest.raises(ValueError):
        unpack(packed + b"x")


def test_a_bomb_is_not_unpacked_and_what_cannot_be_unpacked_stays() -> None:
    whole = len(TEXT)
    assert read_text(pack(TEXT), whole) == read_text(TEXT, whole) == TEXT
    for data, most in ((pack(TEXT), whole - 1), (pack(b" " * 1_000_000), 1_000), (pack(TEXT)[:-1], whole)):
        assert read_text(data, most) == data
    bomb = pack(b" " * 20_000_000)
    tracemalloc.start()
    try:
        read_text(bomb, 1_000)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000, "no more of it than the limit is unpacked"
    finally:
        tracemalloc.stop()


def test_text_that_a_program_chose_is_not_decoded() -> None:
    frame = b"0000000c 11111111\nforged frame" * 20
    text = b'{"words": "payload\\": \\"' + b'payload":"' + base64.b64encode(frame) + b'"}'
    assert unpack(pack(text, signed=False)) == text
    assert zlib.decompressobj(zdict=_DICTIONARY).decompress(pack(text, signed=False)).endswith(text)
