"""Relays messages between an agent program and PanCode's program: `python -I -S relay.py FOLDER`, an MCP
server. It does not interpret them. PanCode's program listens on the socket in that folder."""

from __future__ import annotations

import os
import select
import socket
import sys

SOCKET = "fleet.sock"
PIECE = 1 << 16


def main(folder: str) -> int:
    os.chdir(folder)  # The socket's path may be too long for a socket address.
    with socket.socket(socket.AF_UNIX) as far:
        far.connect(SOCKET)
        ways = {0: far.fileno(), far.fileno(): 1}
        while True:
            for source in select.select(list(ways), [], [])[0]:
                data = os.read(source, PIECE)
                if not data:
                    return 0
                while data:
                    data = data[os.write(ways[source], data) :]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
