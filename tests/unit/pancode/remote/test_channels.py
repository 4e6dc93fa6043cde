"""Channels of one link: nothing is sent once the link is closed."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest

from pancode.remote.channels import PIECE, FrameKind, TunnelChannels


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def test_a_closed_link_writes_no_byte_to_the_number_that_it_had(pipe: tuple[int, int]) -> None:
    source, sink = pipe
    channels = TunnelChannels(source, sink, lambda *_: None)
    channels.send(FrameKind.DATA, 1, b"before")
    assert channels.close(0) and channels.close(0)
    os.read(source, PIECE)
    with pytest.raises(OSError):
        channels.send(FrameKind.DATA, 1, b"after")
    os.set_blocking(source, False)
    with pytest.raises(BlockingIOError):
        os.read(source, 1)


def test_who_closes_is_told_of_a_writer_that_is_held_up(pipe: tuple[int, int]) -> None:
    source, sink = pipe
    channels, ended = TunnelChannels(source, sink, lambda *_: None), list[OSError]()

    def write() -> None:
        try:
            while True:
                channels.send(FrameKind.DATA, 1, bytes(PIECE))
        except OSError as error:
            ended.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    while not channels._writing.locked() or channels.close(0):
        pass
    while writer.is_alive() and os.read(source, PIECE):
        writer.join(0.001)
    assert ended and channels.close(0)
