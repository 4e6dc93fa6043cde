"""A model server behind TLS: known by the machine's certificates, or by those that the node names."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.fakemodel import FakeModel, preset
from tests.integration.gateway.gateways import KEY, Lab, order_of
from tests.integration.test_fakemodel import request

BEGIN = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
END = datetime.datetime(2044, 1, 1, tzinfo=datetime.UTC)
Signed = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]


def signed(name: str, by: Signed | None) -> Signed:
    """A certificate for this name: an authority's own, or one of a server on 127.0.0.1."""
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
        builder = builder.add_extension(x509.SubjectAlternativeName([here]), critical=False)
    return builder.sign(signer, hashes.SHA256()), key


def pem(cert: x509.Certificate) -> bytes:
    return cert.public_bytes(serialization.Encoding.PEM)


@pytest.fixture
def authority(tmp_path: Path) -> tuple[Path, ssl.SSLContext]:
    """(the authority's certificate, a server's context that it has signed)."""
    ours = signed("a private authority", None)
    cert, key = signed("model server", ours)
    plain = serialization.NoEncryption()
    text = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    (tmp_path / "server.pem").write_bytes(pem(cert) + text)
    (tmp_path / "ca.pem").write_bytes(pem(ours[0]))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem")
    return tmp_path / "ca.pem", context


def test_a_private_authority_counts_when_the_node_names_it_and_else_not(
    lab: Lab, authority: tuple[Path, ssl.SSLContext]
) -> None:
    ca, context = authority
    model = FakeModel({**preset("text"), "api_key": KEY})
    model.httpd.socket = context.wrap_socket(model.httpd.socket, server_side=True)
    path, body = request("chat", True)
    with model:
        lab.point("opencode", f"https://127.0.0.1:{model.port}")
        stranger = lab.open(order_of("opencode"), "stranger")
        status, said = stranger.post(path, body)
        assert status == 502 and b"certificate verify failed" in said
        assert stranger.counted().calls.failed == 1
        lab.values["SSL_CERT_FILE"] = str(ca)
        agent = lab.open(order_of("opencode"))
        assert [agent.post(path, body)[0] for _ in range(3)] == [200, 200, 200]
        assert agent.counted().usage.output_tokens == 3 * 34
