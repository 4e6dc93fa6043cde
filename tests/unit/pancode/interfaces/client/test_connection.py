"""The client's reader of HTTP: bodies of each form, and answers that end too early."""

from __future__ import annotations

import io
import socket

import pytest

from pancode.interfaces.client.connection import Response

HEAD = b"HTTP/1.1 200 OK\r\nPancode-State: open\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


def read_all(data: bytes) -> bytes:
    return Response(io.BufferedReader(io.BytesIO(data))).read()


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (HEAD + b"Content-Length: 2\r\n\r\n{}rest", b"{}"),
        (HEAD + b"Content-Length: 0\r\n\r\n", b""),
        (HEAD + b"\r\nuntil the end", b"until the end"),
        (CHUNKED + b"2\r\nab\r\nA;x=1\r\n0123456789\r\n0\r\n\r\n", b"ab0123456789"),
        (CHUNKED + b"0\r\n\r\n", b""),
    ],
)
def test_a_body_is_read_to_its_end(answer: bytes, body: bytes) -> None:
    assert read_all(answer) == body


@pytest.mark.parametrize(
    "answer", [HEAD + b"Content-Length: 3\r\n\r\nabc", CHUNKED + b"3\r\nabc\r\n0\r\n\r\n"]
)
def test_an_answer_that_is_cut_off_anywhere_is_an_error(answer: bytes) -> None:
    assert read_all(answer) == b"abc"
    ends = len(answer) - 2 * (b"chunked" in answer)  # the last line break is not needed
    for cut in range(ends - 2 * (b"chunked" in answer)):
        with pytest.raises(ConnectionError):
            read_all(answer[:cut])


@pytest.mark.parametrize(
    "answer",
    [
        HEAD + b"Content-Length: -1\r\n\r\n",
        HEAD + b"Content-Length: 1_0\r\n\r\n",
        CHUNKED + b"-1\r\n",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 ok\r\n\r\n",
        b"\0\0\0\r\n",
    ],
)
def test_an_answer_in_another_protocol_is_an_error(answer: bytes) -> None:
    with pytest.raises(ConnectionError, match="HTTP|length"):
        read_all(answer)


def test_a_line_arrives_before_the_next_chunk() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(60)
        theirs.sendall(CHUNKED + b"6\r\nevent:\r\n5\r\n log\n\r\n")
        response = Response(ours.makefile("rb"))
        assert response.headers["pancode-state"] == "open"
        assert response.readline() == b"event: log\n"
        ours.settimeout(0.3)
        with pytest.raises(TimeoutError):
            response.readline()
