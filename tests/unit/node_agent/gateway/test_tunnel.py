"""For whom a TLS connection is, however its first message is cut; and what is none."""

from __future__ import annotations

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_agent.gateway.tunnel import NotTls, server_name


def hello(name: str | None) -> bytes:
    """As Python's own TLS begins."""
    context = ssl.create_default_context()
    context.check_hostname = False
    out = ssl.MemoryBIO()
    line = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        line.do_handshake()
    return out.read()


HELLO = hello("api.vendor.example")


def test_the_name_is_read_as_soon_as_all_is_there() -> None:
    assert server_name(HELLO) == "api.vendor.example"
    assert server_name(hello("API.Vendor.Example")) == "api.vendor.example"
    assert [server_name(HELLO[:size]) for size in range(len(HELLO))] == [None] * len(HELLO)
    assert server_name(HELLO + b"more") == "api.vendor.example"


@pytest.mark.parametrize("size", [1, 5, 100])
def test_several_records_are_one_message(size: int) -> None:
    front, message = HELLO[:3], HELLO[5:]
    pieces = [message[at : at + size] for at in range(0, len(message), size)]
    cut = b"".join(front + len(piece).to_bytes(2, "big") + piece for piece in pieces)
    assert server_name(cut) == "api.vendor.example"


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        hello(None),
        b"\x16\x03\x01\x00\x00",
        b"\x16\x03\x01\x00\x04\x02\x00\x00\x00",
        b"\x16\x03\x01\x00\x04\x01\xff\xff\xff",
        b"\x17\x03\x03\x00\x01x",
    ],
)
def test_what_is_no_such_beginning(data: bytes) -> None:
    with pytest.raises(NotTls):
        server_name(data)


def test_a_name_that_may_not_be_the_real_one() -> None:
    """With Encrypted Client Hello the name that can be read is that of a front for many."""
    hidden = b"\xfe\x0d\x00\x01\x00"
    body = HELLO[9:] + hidden
    at = 2 + 32
    for size in (1, 2, 1):
        at += size + int.from_bytes(body[at : at + size], "big")
    long = int.from_bytes(body[at : at + 2], "big") + len(hidden)
    body = body[:at] + long.to_bytes(2, "big") + body[at + 2 :]
    message = b"\x01" + len(body).to_bytes(3, "big") + body
    with pytest.raises(NotTls, match="hides"):
        server_name(HELLO[:3] + len(message).to_bytes(2, "big") + message)


@given(st.binary(max_size=300))
def test_no_bytes_do_anything_else(data: bytes) -> None:
    for given_ in (data, b"\x16\x03\x01" + data, HELLO[:60] + data):
        try:
            server_name(given_)
        except NotTls:
            continue
