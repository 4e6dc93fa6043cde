"""An authority and certificates for the tests: of this host, of another, out of date, of a client."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from node_agent.wire.clock import SystemClock

DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Pair:
    """Paths of a certificate and of its key."""

    cert: Path
    key: Path


class Authority:
    """One that issues; its own certificate is `ca`, what it issues lies beside."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        folder.mkdir(exist_ok=True)
        self._folder, self._key = folder, ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        ca = self._signed(self._name, self._key.public_key(), [], 0, authority=True)
        self.ca = folder / f"{name}.pem"
        self.ca.write_bytes(ca.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str, *hosts: str, days_ago: int = 1) -> Pair:
        """Valid for 30 days from so many days ago."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        made = self._signed(subject, key.public_key(), [_of(host) for host in hosts], days_ago)
        pair = Pair(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        pair.cert.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        plain = serialization.NoEncryption()
        form = serialization.PrivateFormat.PKCS8
        pair.key.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, plain))
        pair.key.chmod(0o600)
        return pair

    def _signed(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePublicKey,
        names: list[x509.GeneralName],
        days_ago: int,
        authority: bool = False,
    ) -> x509.Certificate:
        begins = datetime.fromtimestamp(SystemClock().wall_ms() / 1000, UTC) - max(1, days_ago) * DAY
        made = x509.CertificateBuilder().subject_name(subject).issuer_name(self._name).public_key(key)
        made = made.serial_number(x509.random_serial_number())
        made = made.not_valid_before(begins).not_valid_after(begins + 30 * DAY)
        made = made.add_extension(x509.BasicConstraints(authority, None), critical=True)
        if names:
            made = made.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return made.sign(self._key, hashes.SHA256())


def _of(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)
