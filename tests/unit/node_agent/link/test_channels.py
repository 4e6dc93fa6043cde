"""Channels of one link: what one end sees of the other, and that nothing is sent once the link is closed."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator

import pytest

from node_agent.link.channels import TunnelChannels
from node_agent.wire.frames import PIECE, FrameKind, frame_of


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


class Pair:
    """Two ends of a link; `open` returns both ends of one connection through it."""

    def __init__(self) -> None:
        (here_in, there_out), (there_in, here_out) = os.pipe(), os.pipe()
        self._pipes = (here_out, there_out, here_in, there_in)
        self._here = TunnelChannels(here_in, here_out, lambda *_: None)
        self._there = TunnelChannels(there_in, there_out, lambda *_: None)
        self._runs = [threading.Thread(target=link.run, daemon=True) for link in (self._here, self._there)]
        for run in self._runs:
            run.start()
        self._number = 0

    def open(self) -> tuple[socket.socket, socket.socket]:
        (mine, carried), (served, service) = socket.socketpair(), socket.socketpair()
        self._number += 1
        self._there.carry(self._number, served, halves=True)
        self._here.carry(self._number, carried, halves=True)
        for one in (mine, service):
            one.settimeout(10)
        return mine, service

    def close(self) -> None:
        for end in self._pipes[:2]:
            os.close(end)
        for run in self._runs:
            run.join(5)
        for end in self._pipes[2:]:
            os.close(end)


@pytest.fixture
def pair() -> Iterator[Pair]:
    made = Pair()
    yield made
    made.close()


def test_who_does_not_read_delays_only_the_own_sender(pair: Pair) -> None:
    (slow, filler), (mine, service) = pair.open(), pair.open()
    filler.settimeout(0.2)
    with pytest.raises(TimeoutError):
        while True:
            filler.send(bytes(PIECE))
    mine.sendall(b"ask")
    assert service.recv(PIECE) == b"ask"
    service.sendall(b"answer")
    assert mine.recv(PIECE) == b"answer"
    for one in (slow, filler, mine, service):
        one.close()


def test_a_writer_whose_reader_has_closed_is_told(pair: Pair) -> None:
    mine, service = pair.open()
    service.sendall(bytes(PIECE))
    assert mine.recv(1) == b"\0"
    mine.close()
    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        while True:
            service.sendall(bytes(PIECE))
    service.close()


def test_what_came_before_a_cut_is_still_delivered() -> None:
    (source, there), (unread, sink) = os.pipe(), os.pipe()
    here = TunnelChannels(source, sink, lambda *_: None)
    mine, carried = socket.socketpair()
    mine.settimeout(10)
    here.carry(7, carried, halves=True)
    os.write(there, frame_of(FrameKind.DATA, 7, b"last") + frame_of(FrameKind.CUT, 7))
    run = threading.Thread(target=here.run, daemon=True)
    run.start()
    assert b"".join(iter(lambda: mine.recv(PIECE), b"")) == b"last"
    mine.close()
    os.close(there)
    run.join(5)
    for end in (source, sink, unread):
        os.close(end)
