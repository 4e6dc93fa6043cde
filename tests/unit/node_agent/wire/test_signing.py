"""Envelopes: whatever is altered, foreign, unsigned or unknown is refused with its own word."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node_agent.wire.event import Event, Events, Finding, events_of
from node_agent.wire.identity import AttemptId
from node_agent.wire.job import Job
from node_agent.wire.receipt import Receipt
from node_agent.wire.signing import (
    Envelope,
    PublicKey,
    RefusalCode,
    SigningKey,
    WireRefusal,
    open_as,
    parse_envelope,
)
from tests.unit.node_agent.wire.samples import FLEET, KEY, TAG, WHO, job, samples

KEYS = {KEY.public.keyid: KEY.public}
OTHER = SigningKey(b"o" * 32)


def refused(envelope: Envelope, kind: type[Any] = Job, keys: dict[str, PublicKey] = KEYS) -> RefusalCode:
    with pytest.raises(WireRefusal) as caught:
        open_as(kind, envelope, keys)
    return caught.value.code


def resigned(change: dict[str, object]) -> Envelope:
    body = {**json.loads(job().canonical()), **change}
    return KEY.sign(Job.payload_type(), json.dumps(body).encode())


def test_what_was_signed_is_read() -> None:
    assert open_as(Job, job().signed(KEY), KEYS) == job()


def test_a_changed_payload_is_tampered() -> None:
    envelope = job().signed(KEY)
    body = base64.b64encode(envelope.body().replace(b"Be exact", b"Be brief")).decode()
    assert refused(envelope.model_copy(update={"payload": body})) is RefusalCode.TAMPERED


@settings(deadline=None)
@given(st.integers(min_value=0), st.integers(min_value=1, max_value=255))
def test_any_flipped_byte_is_refused(position: int, flip: int) -> None:
    envelope = job().signed(KEY)
    body = bytearray(envelope.body())
    body[position % len(body)] ^= flip
    changed = envelope.model_copy(update={"payload": base64.b64encode(bytes(body)).decode()})
    assert refused(changed) is RefusalCode.TAMPERED


def test_without_signatures() -> None:
    assert refused(job().signed(KEY).model_copy(update={"signatures": ()})) is RefusalCode.UNSIGNED


def test_a_strangers_signature() -> None:
    assert refused(job().signed(OTHER)) is RefusalCode.UNKNOWN_KEY


def test_a_strangers_signature_under_our_key_id() -> None:
    envelope = job().signed(OTHER)
    forged = envelope.signatures[0].model_copy(update={"keyid": KEY.public.keyid})
    assert refused(envelope.model_copy(update={"signatures": (forged,)})) is RefusalCode.TAMPERED


def test_another_kind_of_message() -> None:
    assert refused(samples()["events"].signed(KEY)) is RefusalCode.WRONG_TYPE
    assert refused(job().signed(KEY), Receipt) is RefusalCode.WRONG_TYPE


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"v": 2}, RefusalCode.UNKNOWN_VERSION),
        ({"v": None}, RefusalCode.UNKNOWN_VERSION),
        ({"extra": 1}, RefusalCode.UNKNOWN_FIELD),
        ({"epoch": "4"}, RefusalCode.INVALID_FIELD),
        ({"node": "not-a-tag"}, RefusalCode.INVALID_FIELD),
        ({"mode": "yolo"}, RefusalCode.INVALID_FIELD),
        ({"limits": None}, RefusalCode.INVALID_FIELD),
    ],
)
def test_rightly_signed_and_not_understood(change: dict[str, object], code: RefusalCode) -> None:
    assert refused(resigned(change)) is code


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"\xff", b'{"payloadType":"x"}', b"null"])
def test_what_is_no_envelope(data: bytes) -> None:
    with pytest.raises(WireRefusal) as caught:
        parse_envelope(data)
    assert caught.value.code is RefusalCode.MALFORMED


def test_a_payload_that_is_not_json() -> None:
    assert refused(KEY.sign(Job.payload_type(), b"\x00")) is RefusalCode.MALFORMED


def test_countersigning_adds_one_signature_and_keeps_the_digest() -> None:
    envelope = job().signed(KEY)
    both = OTHER.countersign(envelope)
    assert [s.keyid for s in both.signatures] == [KEY.public.keyid, OTHER.public.keyid]
    assert both.digest() == envelope.digest()
    assert OTHER.countersign(both) == both
    assert open_as(Job, both, {**KEYS, OTHER.public.keyid: OTHER.public}) == job()


def test_one_bad_signature_among_known_ones_refuses_all() -> None:
    both = OTHER.countersign(job().signed(KEY))
    bad = both.signatures[1].model_copy(update={"sig": both.signatures[0].sig})
    forged = both.model_copy(update={"signatures": (both.signatures[0], bad)})
    assert refused(forged, keys={**KEYS, OTHER.public.keyid: OTHER.public}) is RefusalCode.TAMPERED


@given(st.binary(min_size=32, max_size=32))
def test_keys_survive_their_text(seed: bytes) -> None:
    key = SigningKey(seed)
    assert SigningKey.parse(key.text()).public == key.public
    assert PublicKey.parse(key.public.text()) == key.public
    assert key.public.keyid.startswith(key.public.tag)


@pytest.mark.parametrize(
    "text", ["", "r-abcd", "r-abcd.1", "r-abcd.0.1", "r-abcd.1.01", "x-abcd.1.1", "r-a/.1.1", "r-abcd.1.1\n"]
)
def test_what_is_no_identity(text: str) -> None:
    with pytest.raises(ValueError, match="not an attempt's identity"):
        AttemptId.parse(text)


def test_identity_survives_its_spelling() -> None:
    who = AttemptId(run="r-7f3k2q", attempt=12, lease=340)
    assert AttemptId.parse(str(who)) == who
    assert who.ref == "refs/pancode/r-7f3k2q/12.340"


@pytest.mark.parametrize("payload", ["é", "=", "a b", "\x00"])
def test_a_payload_that_is_not_base64(payload: str) -> None:
    assert refused(job().signed(KEY).model_copy(update={"payload": payload})) is RefusalCode.MALFORMED


def test_a_signature_that_is_not_base64() -> None:
    envelope = job().signed(KEY)
    odd = envelope.signatures[0].model_copy(update={"sig": "é"})
    assert refused(envelope.model_copy(update={"signatures": (odd,)})) is RefusalCode.TAMPERED


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"v":1,"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"])
def test_signed_and_nested_without_end(body: bytes) -> None:
    assert refused(KEY.sign(Job.payload_type(), body)) is RefusalCode.MALFORMED


@pytest.mark.parametrize(
    "usd", ["1E+9999999", "1E-9999999", "1E+9999999999999999", "9" * 100_000, "NaN", "-1"]
)
def test_money_that_would_fill_the_memory_when_written_out(usd: str) -> None:
    limits = json.loads(job().canonical())["limits"]
    assert refused(resigned({"limits": {**limits, "usd": usd}})) is RefusalCode.INVALID_FIELD


@pytest.mark.parametrize("number", [2**53, 10**30])
def test_a_number_that_no_column_holds(number: int) -> None:
    assert refused(resigned({"issued_wall_ms": number})) is RefusalCode.INVALID_FIELD


@pytest.mark.parametrize("torn", [False, True])
def test_events_put_together_from_their_texts_are_the_message_itself(torn: bool) -> None:
    text = 'a "quoted" \\ line\n\u2028' + ("\ud83d" if torn else "\U0001f600")
    bodies = (Finding(level="info", text=text), Finding(level="error", text=""))
    said = [Event(identity=WHO, seq=n, wall_ms=4, body=body) for n, body in enumerate(bodies, 1)]
    whole = Events(fleet=FLEET, node=TAG, events=tuple(said)).canonical()
    assert events_of(FLEET, TAG, [event.canonical().decode() for event in said]) == whole


def test_half_a_surrogate_pair_does_not_make_a_message_that_nobody_believes() -> None:
    body = Finding(level="info", text="torn \ud83d emoji\x00\x1b[31m")
    said = Events(fleet=FLEET, node=TAG, events=(Event(identity=WHO, seq=1, wall_ms=4, body=body),))
    read = open_as(Events, said.signed(KEY), KEYS).events[0].body
    assert isinstance(read, Finding) and read.text == "torn ? emoji?\x1b[31m"


def test_a_refusal_does_not_repeat_all_that_was_sent() -> None:
    with pytest.raises(WireRefusal) as caught:
        open_as(Job, resigned({"x" * 100_000: 1}), KEYS)
    assert len(caught.value.detail) < 500


@pytest.mark.parametrize("at", ["top", "deep"])
def test_a_payload_with_a_key_twice_is_refused_also_when_it_says_the_same(at: str) -> None:
    body = job().canonical()
    first = b'{"agent":' if at == "deep" else b"{"
    twice = (
        body.replace(b'{"agent":{', b'{"agent":{"name":"builder",', 1)
        if at == "deep"
        else b'{"v":1,' + body[1:]
    )
    assert twice != body and twice.startswith(first)
    assert refused(KEY.sign(Job.payload_type(), twice)) is RefusalCode.MALFORMED


def test_an_envelope_with_a_key_twice_is_refused() -> None:
    text = job().signed(KEY).model_dump_json()
    with pytest.raises(WireRefusal, match="a key occurs twice"):
        parse_envelope('{"payloadType":"x",' + text[1:])
