"""Compresses texts that contain a signed envelope: its payload is compressed as bytes, not as base64."""

from __future__ import annotations

import binascii
import re
import zlib
from contextlib import suppress

PACKED = b"x"
"""The first byte of zlib's streams, with which no JSON begins."""
_DICTIONARY = (
    b'{"ask":{"ahead":64,"open":[],"seq":,"slots":,"why":""},"boot_id":"","boot_ms":,"control_seen":,"draining"'
    b':false,"echo":{"epoch":1,"ms":},"epoch_seen":1,"facts":{"allows":{"closed":"","repositories":null,"runtim'
    b'es":null,"safety":"full-auto"},"arch":"x86_64","asks":[],"cpus":,"disk_free":,"endpoints":[],"heat":null,'
    b'"hostname":"","isolation":"sandbox","load_1m":,"memory":,"memory_free":,"os":"Linux ","problems":[],"py'
    b'thon":"3.","repositories":[],"room":[],"runtimes":[],"set_ups":[],"shut":null,"variables":null,"wall_ms":'
    b'1},"fleet":"f-","node":"","nonce":"","obeys":[""],"profile":"","seq":,"session":"","signs":[],"v":1,"vers'
    b'ion":"0.","payloadType":"application/vnd.pancode.heartbeat+json"'
    b'"usage":{"agent_ms":,"cached_tokens":0,"cost_source":"local","cost_usd":"0","input_tokens":0,"output_tokens'
    b'":0,"turns":0}},"predicateType":"urn:pancode:run-receipt:1","subject":[{"digest":{"sha256":""},"name":"'
    b'"},"seq":"wall_ms":{"at":{"epoch":1,"ms":"body":{"detail":"","kind":"marked","mark":""identity":{"attempt'
    b'":1,"fence":1,"run":"r-{"payloadType":"application/vnd.pancode.order+json","payload":"application/vnd.in-'
    b'toto+json","payload":""}]}","signatures":[{"keyid":"","sig":"'
)
"""Texts that most envelopes contain. It never changes: stored data can be read only with the same bytes."""
_PAYLOAD = re.compile(rb'payload\\?":\\?"([A-Za-z0-9+/]*={0,2})')


def pack(text: bytes, signed: bool = True) -> bytes:
    """Return the text in compressed form, which begins with `PACKED`; `unpack` returns the same bytes.
    `signed`: it has an envelope, whose payload is decoded first. False for text that others chose."""
    found = _PAYLOAD.search(text) if signed else None
    start, end = found.span(1) if found is not None else (0, 0)
    try:
        payload = binascii.a2b_base64(text[start:end])
    except binascii.Error:
        payload = b""
    if binascii.b2a_base64(payload, newline=False) != text[start:end]:  # not what `unpack` would restore
        start, end, payload = 0, 0, b""
    stream = zlib.compressobj(zdict=_DICTIONARY)
    head = b"%d %d\n" % (start, len(payload))
    return stream.compress(head + text[:start] + payload + text[end:]) + stream.flush()


def read_text(data: bytes, most: int = 0) -> bytes:
    """Return the text in `data`, packed or not. What cannot be unpacked is returned as it is, so that every
    reader of an envelope refuses it."""
    with suppress(ValueError):
        return unpack(data, most) if data.startswith(PACKED) else data
    return data


def unpack(data: bytes, most: int = 0) -> bytes:
    """Return the text that was packed. Raises ValueError for damaged data, and for a text of more than `most`
    bytes (0: any number)."""
    stream = zlib.decompressobj(zdict=_DICTIONARY)
    try:
        head, _, body = stream.decompress(data, most).partition(b"\n")
    except zlib.error as exc:
        raise ValueError(f"compressed text is damaged: {exc}") from exc
    if not stream.eof or stream.unused_data:
        raise ValueError("compressed text is damaged: it is cut off or has additional bytes")
    start, size = map(int, head.split())
    payload = binascii.b2a_base64(body[start : start + size], newline=False)
    text = body[:start] + payload + body[start + size :]
    if most and len(text) > most:
        raise ValueError(f"compressed text is longer than {most} bytes")
    return text
