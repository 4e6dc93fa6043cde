"""Packed texts: every byte comes back, damage is found, and what is on disks stays readable."""

from __future__ import annotations

import base64
import json
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node_agent.wire.packing import PACKED, pack, unpack
from node_agent.wire.signing import MAX_ENVELOPE_BYTES, SigningKey, WireRefusal, parse_envelope

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


def test_an_envelope_is_read_in_both_forms_and_a_bomb_is_refused_unread() -> None:
    assert parse_envelope(pack(TEXT)) == parse_envelope(TEXT) == ENVELOPE
    for data in (pack(TEXT)[:-1], pack(b" " * (MAX_ENVELOPE_BYTES + 1) + TEXT)):
        with pytest.raises(WireRefusal, match="not an envelope"):
            parse_envelope(data)
