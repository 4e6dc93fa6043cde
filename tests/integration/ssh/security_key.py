"""An SSH agent with one security key (sk-ecdsa), as a device gives it: the touch is always given."""

from __future__ import annotations

import base64
import hashlib
import os
import socket
import struct
import threading
from contextlib import suppress
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

_KIND, _APPLICATION = b"sk-ecdsa-sha2-nistp256@openssh.com", b"ssh:"
_IDENTITIES, _SIGN, _FAILURE = 11, 13, b"\x05"


def _string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def _number(value: int) -> bytes:
    return _string(value.to_bytes((value.bit_length() + 8) // 8, "big"))


class _SecurityKey:
    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        point = self._key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        self.blob = b"".join(map(_string, (_KIND, b"nistp256", point, _APPLICATION)))
        self._point = point

    def write(self, path: Path) -> None:
        """Write the file of the key, which has a handle for the device and no private part, and its .pub."""
        check = os.urandom(4) * 2
        private = check + b"".join(map(_string, (_KIND, b"nistp256", self._point, _APPLICATION)))
        private += b"\x01" + b"".join(map(_string, (b"HANDLE", b"", b"me@desk")))
        private += bytes(range(1, 1 + -len(private) % 8))
        head = b"openssh-key-v1\0" + _string(b"none") + _string(b"none") + _string(b"")
        whole = base64.encodebytes(
            head + struct.pack(">I", 1) + _string(self.blob) + _string(private)
        ).decode()
        path.write_text(f"-----BEGIN OPENSSH PRIVATE KEY-----\n{whole}-----END OPENSSH PRIVATE KEY-----\n")
        path.chmod(0o600)
        text = f"{_KIND.decode()} {base64.b64encode(self.blob).decode()} me@desk\n"
        path.with_name(path.name + ".pub").write_text(text)

    def answer(self, body: bytes) -> bytes:
        """Answer one request of the agent's protocol."""
        if body[0] == _IDENTITIES:
            return b"\x0c" + struct.pack(">I", 1) + _string(self.blob) + _string(b"me@desk")
        if body[0] != _SIGN:
            return _FAILURE
        size = struct.unpack(">I", body[1:5])[0]
        if body[5 : 5 + size] != self.blob:
            return _FAILURE
        at = 5 + size
        more = struct.unpack(">I", body[at : at + 4])[0]
        return b"\x0e" + _string(self._sign(body[at + 4 : at + 4 + more]))

    def _sign(self, data: bytes) -> bytes:
        state = b"\x01" + struct.pack(">I", 7)
        message = hashlib.sha256(_APPLICATION).digest() + state + hashlib.sha256(data).digest()
        r, s = decode_dss_signature(self._key.sign(message, ec.ECDSA(hashes.SHA256())))
        return _string(_KIND) + _string(_number(r) + _number(s)) + state


def serve_security_key(socket_path: str, key_file: Path) -> None:
    """Write the key's files and serve an agent that signs with it, until the process ends."""
    key, server = _SecurityKey(), socket.socket(socket.AF_UNIX)
    key.write(key_file)
    server.bind(socket_path)
    server.listen(8)

    def serve(conn: socket.socket) -> None:
        with conn, conn.makefile("rb") as reader, suppress(OSError):
            while len(head := reader.read(4)) == 4:
                conn.sendall(_string(key.answer(reader.read(struct.unpack(">I", head)[0]))))

    def accept() -> None:
        while True:
            threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
