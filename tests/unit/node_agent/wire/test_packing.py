"""Packed texts: every byte comes back, damage is found, and what is on disks stays readable."""

from __future__ import annotations

import base64
import json
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node_agent.wire.packing import PACKED, pack, unpack
from node_agent.wire.signing import SigningKey

JOB = {name: f"the {name} of the run" for name in ("task", "agent", "prompt", "project", "node", "model")}
ENVELOPE = SigningKey(b"n" * 32).sign("application/vnd.pancode.order+json", json.dumps(JOB).encode())
TEXT = ENVELOPE.model_dump_json().encode()
HELLO = SigningKey(b"n" * 32).sign("application/vnd.pancode.order+json", b'{"task":"say hello"}')
STORED = (
    "eLtw26A6pZC7DoIwAEV3v4KwurT06eBAEwQJpiQmomNpK6IQVDCA/ryyOLqY3O0M9+RQ5Hhg9qfUy+1UO3Vo1eicbFU17o9vssCA"
    "G4Ly3HocGQQJ1hYAnUOrPuMcUQ4hZZ7mmilsMICGTYRora1RX/dD8BgLi0XNm5CvdnG0v0ZZx+JOiOSGahW26zQjZj/U26Es++rcRnUP"
    "CKOP4JlK3RyllI1XiU1yl/MLRUyMvl8sl1O6N/suWlU="
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
