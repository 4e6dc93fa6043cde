"""What an enemy on a node brings along to speak to Redis: source text, the standard library only.

It needs nothing of ours on the host, and keeps to none of the node agent's own limits.
"""

from __future__ import annotations

CLIENT = '''
import json, socket

class Refused(Exception):
    """The server's own error."""

class Client:
    """Redis' own language over a unix socket; OSError when the server has hung up."""

    def __init__(self, path, user=None, password=None):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(30)
        self.socket.connect(path)
        self.answers = self.socket.makefile("rb")
        if password is not None:
            self.ask("AUTH", user, password)

    def ask(self, *words):
        raw = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        parts = [b"$%d\\r\\n%s\\r\\n" % (len(word), word) for word in raw]
        self.socket.sendall(b"*%d\\r\\n" % len(raw) + b"".join(parts))
        return self.answer()

    def answer(self):
        line = self.answers.readline()
        if not line.endswith(b"\\r\\n"):
            raise ConnectionError("the server has hung up")
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            raise Refused(rest.decode())
        if kind == b"$":
            return None if rest == b"-1" else self.answers.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return None if rest == b"-1" else [self.answer() for _ in range(int(rest))]
        return int(rest) if kind == b":" else rest

def of_node(home):
    """The way to Redis that the node agent in this home has: socket, user, password."""
    settings = json.load(open(home + "/node.json"))["redis"]
    path = json.load(open(home + "/s/current"))["redis"].partition(":")[2]
    return path, settings["user"], open(home + "/" + settings["password_file"]).read().strip()
'''
