"""Channels of one link: nothing is sent once the link is closed."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator

import pytest

from pancode.interfaces.client.remote.channels import PIECE, FrameKind, TunnelChannels


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


@pytest.mark.parametrize("halves", [True, False])
def test_who_has_said_all_is_still_answered_where_both_halves_count(halves: bool) -> None:
    (here_in, there_out), (there_in, here_out) = os.pipe(), os.pipe()
    here = TunnelChannels(here_in, here_out, lambda *_: None)
    there = TunnelChannels(there_in, there_out, lambda *_: None)
    runs = [threading.Thread(target=link.run, daemon=True) for link in (here, there)]
    (mine, carried), (served, git) = socket.socketpair(), socket.socketpair()
    here.carry(1, carried, halves=halves)
    there.carry(1, served, halves=halves)
    for run in runs:
        run.start()
    mine.sendall(b"all that I have")
    mine.shutdown(socket.SHUT_WR)
    asked = b"".join(iter(lambda: git.recv(PIECE), b""))
    with contextlib.suppress(OSError):
        git.sendall(b"taken")
    git.close()
    assert asked == b"all that I have"
    assert b"".join(iter(lambda: mine.recv(PIECE), b"")) == (b"taken" if halves else b"")
    mine.close()
    for end in (here_out, there_out):
        os.close(end)
    for run in runs:
        run.join(5)
    for end in (here_in, there_in):
        os.close(end)
