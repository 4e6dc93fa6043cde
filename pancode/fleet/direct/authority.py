"""The fleet's own certificate authority, created at first use: signs for the coordinator and each node."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from node_agent.wire.clock import Clock
from node_agent.wire.signing import PublicKey
from pancode.kernel.errors import ConfigError
from pancode.kernel.host.files import write_durable

DAY = timedelta(days=1)
LASTS, AUTHORITY_LASTS = 30 * DAY, 3650 * DAY
RENEW, AUTHORITY_RENEW = 10 * DAY, 365 * DAY
"""A certificate of the authority is replaced when its remaining validity is shorter than this."""
EARLIER = DAY
"""Maximum time by which a node's clock may be behind the coordinator's."""


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate and its key."""

    cert: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def text(self) -> bytes:
        key = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return key + self.cert.public_bytes(Encoding.PEM)

    @classmethod
    def read(cls, path: Path) -> KeyPair | None:
        """Read the pair from a file; None if there is no file. ConfigError for an unusable pair."""
        try:
            text = path.read_bytes()
            key = load_pem_private_key(text, None)
            if not isinstance(key, ec.EllipticCurvePrivateKey):
                raise ValueError("the file's key was not made by this fleet")
            return cls(x509.load_pem_x509_certificate(text), key)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as exc:
            raise ConfigError(
                f"cannot use {path} for direct links to nodes",
                why=str(exc),
                fix=f"remove the file and restart the coordinator, which creates a new one (rm {path})",
            ) from exc


@dataclass(frozen=True, slots=True)
class Issued:
    """A node's certificate, its expiry, and the time of its renewal (wall ms)."""

    cert: str
    until_ms: int
    renew_ms: int


class Authority:
    """The certificate authority of direct links, in `folder`, which only its owner may read. Only one process
    may use it at a time."""

    def __init__(self, folder: Path, fleet: str, clock: Clock) -> None:
        self._folder, self._fleet, self._clock = folder, fleet, clock
        self._ca: KeyPair | None = None

    @property
    def ca(self) -> str:
        """Return the authority's certificate, the only one that nodes trust."""
        return _dump_pem(self._load_authority().cert)

    def server(self, host: str) -> Path:
        """Return the file with the coordinator's certificate for that address, renewed before expiry."""
        path = self._folder / "server.pem"
        ca, found = self._load_authority(), KeyPair.read(path)
        if found is None or not self._serves_host(found, host, ca):
            key = ec.generate_private_key(ec.SECP256R1())
            names = x509.SubjectAlternativeName([_name(host)])
            usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
            made = self._begin_certificate("coordinator", LASTS).public_key(key.public_key())
            made = made.add_extension(names, critical=False).add_extension(usage, critical=False)
            issue_server = KeyPair(_sign_certificate(made, key.public_key(), ca.cert.subject, ca.key), key)
            write_durable(path, issue_server.text())
        return path

    def node(self, tag: str, key: PublicKey) -> Issued:
        """Return a certificate for the key that the node already has, so that no secret is sent."""
        ca = self._load_authority()
        public = Ed25519PublicKey.from_public_bytes(key.raw)
        made = self._begin_certificate(f"node-{tag}", LASTS).public_key(public)
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
        cert = _sign_certificate(made.add_extension(usage, critical=False), public, ca.cert.subject, ca.key)
        until = cert.not_valid_after_utc
        return Issued(_dump_pem(cert), _convert_ms(until), _convert_ms(until - RENEW))

    # -- internals

    def _load_authority(self) -> KeyPair:
        if self._ca is None:
            self._ca = KeyPair.read(self._folder / "authority.pem")
        if self._ca is None or not self._is_valid_for(self._ca, AUTHORITY_RENEW):
            key = ec.generate_private_key(ec.SECP256R1())
            made = self._begin_certificate(f"PanCode {self._fleet}", AUTHORITY_LASTS).public_key(
                key.public_key()
            )
            self._ca = KeyPair(
                _sign_certificate(made, key.public_key(), _make_name(f"PanCode {self._fleet}"), key, True),
                key,
            )
            write_durable(self._folder / "authority.pem", self._ca.text())
        return self._ca

    def _serves_host(self, found: KeyPair, host: str, ca: KeyPair) -> bool:
        try:
            found.cert.verify_directly_issued_by(ca.cert)
            names = found.cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        # whatever the reason: the certificate is not from this authority, or not for a server
        except Exception:
            return False
        return _name(host) in list(names) and self._is_valid_for(found, RENEW)

    def _is_valid_for(self, pair: KeyPair, time: timedelta) -> bool:
        """Whether the pair is valid now and for `time` from now; False if made while the clock was ahead."""
        now = self._read_time()
        return pair.cert.not_valid_before_utc <= now <= pair.cert.not_valid_after_utc - time

    def _read_time(self) -> datetime:
        return datetime.fromtimestamp(self._clock.wall_ms() // 1000, UTC)

    def _begin_certificate(self, name: str, lasts: timedelta) -> x509.CertificateBuilder:
        made = x509.CertificateBuilder().serial_number(x509.random_serial_number())
        now = self._read_time()
        made = made.subject_name(_make_name(name))
        return made.not_valid_before(now - EARLIER).not_valid_after(now + lasts)


Public = ec.EllipticCurvePublicKey | Ed25519PublicKey


def _make_name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _sign_certificate(
    made: x509.CertificateBuilder,
    public: Public,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    authority: bool = False,
) -> x509.Certificate:
    """Sign the certificate, with all extensions that strict readers require."""
    usage = x509.KeyUsage(not authority, False, False, False, False, authority, authority, False, False)
    made = made.issuer_name(issuer)
    made = made.add_extension(x509.BasicConstraints(authority, 0 if authority else None), critical=True)
    made = made.add_extension(usage, critical=True)
    made = made.add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    by = x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
    return made.add_extension(by, critical=False).sign(key, hashes.SHA256())


def key_of(der: bytes) -> PublicKey | None:
    """Return the node's public key in a certificate; None if the key has another type."""
    key = x509.load_der_x509_certificate(der).public_key()
    return PublicKey(key.public_bytes_raw()) if isinstance(key, Ed25519PublicKey) else None


def _name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _dump_pem(cert: x509.Certificate) -> str:
    return cert.public_bytes(Encoding.PEM).decode()


def _convert_ms(when: datetime) -> int:
    return int(when.timestamp() * 1000)
