"""The bytes of version 1: what an older or newer side will read. A change here is a new wire version."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from node_agent.wire.signing import open_as, parse_envelope
from tests.unit.node_agent.wire.samples import KEY, samples

GOLDEN = Path(__file__).parent / "golden" / "wire"
KEYS = {KEY.public.keyid: KEY.public}


@pytest.mark.parametrize("name", sorted(samples()))
def test_version_1_is_written_and_read_to_the_byte(name: str) -> None:
    message = samples()[name]
    stored = (GOLDEN / f"{name}.v1.json").read_bytes()
    assert message.signed(KEY).model_dump_json().encode() == stored.strip()
    assert open_as(type(message), parse_envelope(stored), KEYS) == message


def test_every_golden_file_has_a_sample() -> None:
    assert {p.name.removesuffix(".v1.json") for p in GOLDEN.glob("*.json")} == set(samples())


def test_payloads_are_canonical() -> None:
    for message in samples().values():
        body = message.canonical()
        assert body == json.dumps(
            json.loads(body), sort_keys=True, separators=(",", ":"), ensure_ascii=False
        ).encode("utf-8", "surrogatepass")
