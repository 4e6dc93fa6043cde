"""Compresses texts that contain a signed envelope: its payload is compressed as bytes, not as base64."""

from __future__ import annotations

import re
import zlib
from binascii import a2b_base64, b2a_base64

PACKED = b"x"
"""The first byte of zlib's streams, with which no JSON begins."""
_DICTIONARY = (
    b'"usage":{"agent_ms":,"cached_tokens":0,"cost_source":"local","cost_usd":"0","input_tokens":0,"output_tokens'
    b'":0,"turns":0}},"predicateType":"urn:pancode:run-receipt:1","subject":[{"digest":{"sha256":""},"name":"'
    b'"},"seq":"wall_ms":{"at":{"epoch":1,"ms":"body":{"detail":"","kind":"marked","mark":""identity":{"attempt'
    b'":1,"fence":1,"run":"r-{"payloadType":"application/vnd.pancode.order+json","payload":"application/vnd.in-'
    b'toto+json","payload":""}]}","signatures":[{"keyid":"","sig":"'
)
"""Texts that most envelopes contain. It never changes: stored data can be read only with the same bytes."""
_PAYLOAD = re.compile(rb'payload\\?":\\?"((?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?)')


def pack(text: bytes) -> bytes:
    """Return the text in compressed form, which begins with `PACKED`; `unpack` returns the same bytes."""
    found = _PAYLOAD.search(text)
    start, end = found.span(1) if found is not None else (0, 0)
    payload = a2b_base64(text[start:end])
    if b2a_base64(payload, newline=False) != text[start:end]:  # not the form that `unpack` would restore
        start, end, payload = 0, 0, b""
    stream = zlib.compressobj(zdict=_DICTIONARY)
    head = b"%d %d\n" % (start, len(payload))
    return stream.compress(head + text[:start] + payload + text[end:]) + stream.flush()


def unpack(data: bytes) -> bytes:
    """Return the text that was packed. Raises ValueError for damaged data."""
    stream = zlib.decompressobj(zdict=_DICTIONARY)
    try:
        head, _, body = stream.decompress(data).partition(b"\n")
    except zlib.error as exc:
        raise ValueError(f"compressed text is damaged: {exc}") from exc
    if not stream.eof or stream.unused_data:
        raise ValueError("compressed text is damaged: it is cut off or has additional bytes")
    start, size = map(int, head.split())
    return body[:start] + b2a_base64(body[start : start + size], newline=False) + body[start + size :]
