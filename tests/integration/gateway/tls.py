"""A private authority, a server that it vouches for, and an HTTP proxy that leads every name to one port."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

BEGIN = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
END = datetime.datetime(2044, 1, 1, tzinfo=datetime.UTC)
Signed = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]


def signed(name: str, by: Signed | None, hosts: tuple[str, ...] = ()) -> Signed:
    """A certificate for this name: an authority's own, or one of a server on 127.0.0.1 and of these names."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    issuer, signer = (by[0].subject, by[1]) if by else (subject, key)
    builder = (
        x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(BEGIN)
        .not_valid_after(END)
        .add_extension(x509.BasicConstraints(ca=by is None, path_length=None), critical=True)
    )
    if by is not None:
        here = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        names = [here, *(x509.DNSName(host) for host in hosts)]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(signer, hashes.SHA256()), key


def pem(cert: x509.Certificate) -> bytes:
    return cert.public_bytes(serialization.Encoding.PEM)


def authority(folder: Path, *hosts: str) -> tuple[Path, ssl.SSLContext]:
    """(the authority's certificate, the context of a server with these names that it has signed)."""
    ours = signed("a private authority", None)
    cert, key = signed("model server", ours, hosts)
    plain = serialization.NoEncryption()
    text = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    (folder / "server.pem").write_bytes(pem(cert) + text)
    (folder / "ca.pem").write_bytes(pem(ours[0]))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    return folder / "ca.pem", context


class ConnectProxy:
    """An HTTP proxy: every CONNECT goes to `port` here. `heads`: what it was asked; `answer`: its line."""

    def __init__(self, port: int, answer: str = "HTTP/1.1 200 Connection established") -> None:
        self._to, self._answer = port, answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.heads: list[str] = []
        self._live: list[socket.socket] = []
        self._accepts = threading.Thread(target=self._serve, daemon=True)
        self._accepts.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    @property
    def asked(self) -> list[str]:
        """The names, in order."""
        return [head.split(" ")[1] for head in self.heads]

    def close(self) -> None:
        """Nobody is taken in any more before those that were are closed."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._accepts.join()
        self._listener.close()
        for one in self._live:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _serve(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            self._live.append(near)
            threading.Thread(target=self._one, args=(near,), daemon=True).start()

    def _one(self, near: socket.socket) -> None:
        with contextlib.suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                if not (piece := near.recv(4096)):
                    return
                head += piece
            self.heads.append(head.decode())
            near.sendall(f"{self._answer}\r\n\r\n".encode())
            if " 200 " not in self._answer:
                return near.close()
            far = socket.create_connection(("127.0.0.1", self._to))
            self._live.append(far)
            threading.Thread(target=_pour, args=(far, near), daemon=True).start()
            _pour(near, far)


def _pour(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(65536):
            sink.sendall(piece)
    for end in (source, sink):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def proxy_to(port: int, answer: str = "HTTP/1.1 200 Connection established") -> Iterator[ConnectProxy]:
    """One, for as long as the block lasts."""
    proxy = ConnectProxy(port, answer)
    try:
        yield proxy
    finally:
        proxy.close()
