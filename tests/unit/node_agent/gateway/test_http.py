"""Messages that leave no doubt, and those that are refused because they do."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_agent.gateway.client import read_within
from node_agent.gateway.http import (
    LAST_CHUNK,
    BadMessage,
    Framing,
    Head,
    encode_chunk,
    framing_of,
    parse_head,
    read_head,
    read_whole,
)


def read(data: bytes, framing: int | Framing, most: int = 32 << 20) -> bytes:
    async def go() -> bytes:
        reader = asyncio.StreamReader()
        reader.feed_data(data)
        reader.feed_eof()
        return await read_whole(reader, framing, most)

    return asyncio.run(go())


@given(pieces=st.lists(st.binary(min_size=1, max_size=50), max_size=5))
def test_chunks_are_put_together(pieces: list[bytes]) -> None:
    data = b"".join(map(encode_chunk, pieces)) + LAST_CHUNK
    assert read(data, Framing.CHUNKED) == b"".join(pieces)
    assert read(b"".join(pieces), Framing.TO_THE_END) == b"".join(pieces)


@pytest.mark.parametrize(
    "data",
    [
        *(
            b"",
            b"5\r\nabc",
            b"x\r\n",
            b"-1\r\n",
            b"3\r\nabcd\r\n0\r\n\r\n",
            b"fffffffff\r\n",
            b"3\r\nabc\r\n",
        ),
        b"0\r\n" + b"a: b\r\n" * 200 + b"\r\n",
    ],
)
def test_chunks_that_are_none(data: bytes) -> None:
    with pytest.raises(BadMessage):
        read(data, Framing.CHUNKED)


def test_a_body_that_ends_too_early_or_is_too_large() -> None:
    with pytest.raises(BadMessage):
        read(b"abc", 4)
    with pytest.raises(BadMessage):
        read(b"abc", 1 << 40)


@pytest.mark.parametrize(
    "headers",
    [
        [("content-length", "3"), ("content-length", "4")],
        [("content-length", "3"), ("transfer-encoding", "chunked")],
        [("transfer-encoding", "gzip, chunked")],
        [("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")],
        [("content-length", "+3")],
        [("content-length", "-3")],
        [("content-length", "1" * 5000)],
        [("content-length", "٣")],
        [("content-length", "")],
    ],
)
def test_a_body_whose_end_is_in_doubt(headers: list[tuple[str, str]]) -> None:
    with pytest.raises(BadMessage):
        framing_of(Head("POST / HTTP/1.1", headers), 0)


def test_a_length_that_is_said_twice_alike_is_one() -> None:
    assert framing_of(Head("x y", [("content-length", "3"), ("content-length", "3")]), 0) == 3
    assert framing_of(Head("x y"), Framing.TO_THE_END) is Framing.TO_THE_END


@pytest.mark.parametrize(
    "data",
    [
        b"GET\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\n folded: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nname : x\r\n\r\n",
        b"GET / HTTP/1.1\r\na: b\nc: d\r\n\r\n",
        b"GET / HTTP/1.1\r\nfoo\ntransfer-encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nfoo\rtransfer-encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\ntwo words: x\r\n\r\n",
        b"GET / HTTP/1.1\r\na: b\x00c\r\n\r\n",
        b"GET / HTTP/1.1\r\na\x7f: b\r\n\r\n",
        b"GET /a\rb HTTP/1.1\r\na: b\r\n\r\n",
    ],
)
def test_heads_that_are_none(data: bytes) -> None:
    with pytest.raises(BadMessage):
        parse_head(data)


def test_what_does_not_come_in_time_is_given_up() -> None:
    with pytest.raises(BadMessage, match="did not arrive"):
        asyncio.run(read_within(0.0, asyncio.sleep(60)))
    assert asyncio.run(read_within(60.0, asyncio.sleep(0, "came"))) == "came"


def test_who_closes() -> None:
    assert Head("GET / HTTP/1.1", [("connection", "close")]).closes
    assert not Head("GET / HTTP/1.1").closes
    assert Head("GET / HTTP/1.0").closes


def test_a_head_that_never_comes_one_that_breaks_off_and_one_without_end() -> None:
    async def go(data: bytes) -> Head | None:
        reader = asyncio.StreamReader(limit=1000)
        reader.feed_data(data)
        reader.feed_eof()
        return await read_head(reader)

    assert asyncio.run(go(b"")) is None
    for data in (b"GET / HT", b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 1000 + b"\r\n"):
        with pytest.raises(BadMessage):
            asyncio.run(go(data))
