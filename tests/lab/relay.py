"""Delays and loses frames between two interfaces, in user space (works without `tc netem`).

Started by Lab.slow as its own process; ends by itself when the interfaces disappear.
Arguments: interface, interface, delay ms, jitter ms, loss percent.
"""

from __future__ import annotations

import contextlib
import heapq
import random
import select
import socket
import struct
import sys
import time

SOL_PACKET, VNET_HDR, MEMBERSHIP, IGNORE_OUTGOING, ETH_P_ALL = 263, 15, 1, 23, 3
BATCH = 256


def port(name: str) -> socket.socket:
    """A raw socket that sees every frame the interface receives."""
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    s.setsockopt(SOL_PACKET, VNET_HDR, 1)  # keep checksum and segmentation state
    s.setsockopt(SOL_PACKET, IGNORE_OUTGOING, 1)  # kernel >= 4.20
    for buf in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        s.setsockopt(socket.SOL_SOCKET, buf, 8 << 20)
    s.bind((name, ETH_P_ALL))
    promiscuous = struct.pack("iHH8s", socket.if_nametoindex(name), 1, 0, b"")
    s.setsockopt(SOL_PACKET, MEMBERSHIP, promiscuous)
    s.setblocking(False)
    return s


class Relay:
    """Frames wait in one queue, ordered by the time they are due; each way keeps its job."""

    def __init__(self, a: socket.socket, b: socket.socket) -> None:
        self.ways = {a.fileno(): (a, b), b.fileno(): (b, a)}
        self.last = dict.fromkeys(self.ways, 0.0)
        self.queue: list[tuple[float, int, int, bytes]] = []
        self.count = 0

    def take(self, fd: int, delay: float, jitter: float, loss: float) -> None:
        """Queue what has arrived; raises OSError when the interface is gone."""
        for _ in range(BATCH):
            try:
                frame = self.ways[fd][0].recv(1 << 17)
            except BlockingIOError:
                return
            if loss and random.random() < loss:
                continue
            due = time.monotonic() + delay + random.uniform(-jitter, jitter)
            self.last[fd] = due = max(due, self.last[fd])  # never reorder
            self.count += 1
            heapq.heappush(self.queue, (due, self.count, fd, frame))

    def give(self) -> None:
        """Send on what is due."""
        while self.queue and self.queue[0][0] <= time.monotonic():
            _, _, fd, frame = heapq.heappop(self.queue)
            with contextlib.suppress(OSError):
                self.ways[fd][1].send(frame)

    def patience(self) -> float:
        """Seconds until the next frame is due; -1: none waits."""
        return max(0.0, self.queue[0][0] - time.monotonic()) if self.queue else -1


def main(name_a: str, name_b: str, delay: float, jitter: float, loss: float) -> None:
    relay = Relay(port(name_a), port(name_b))
    poll = select.epoll()
    for fd in relay.ways:
        poll.register(fd, select.EPOLLIN)
    print("ready", flush=True)
    with contextlib.suppress(OSError):  # the host is gone
        while True:
            for fd, _ in poll.poll(relay.patience()):
                relay.take(fd, delay / 1e3, jitter / 1e3, loss / 100)
            relay.give()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(float, sys.argv[3:6]))
