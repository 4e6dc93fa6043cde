"""TLS to Redis: which authority we trust, and which certificate we present."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from pancode.errors import ConfigError
from pancode.host.trusting import believing


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files. `ca` None: the authorities of this machine; else that one alone. `key` may be in `cert`."""

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None

    def context(self) -> ssl.SSLContext:
        """Made anew from the files, so that a renewed certificate counts from the next connection on.

        The server's name and chain are always checked. OSError or ssl.SSLError for files that will not do.
        """
        made = believing(self.ca)
        made.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.cert is not None:
            # A password, so that nobody is asked for one at a terminal that is not there.
            made.load_cert_chain(self.cert, self.key, password="")
        return made

    def check(self, origin: str) -> None:
        """ConfigError that names the file which cannot be used; `origin`: where the address was said."""
        for path in (self.ca, self.cert, self.key):
            if path is not None:
                _read(path, origin)
        try:
            TlsFiles(ca=self.ca).context()
        except (OSError, ssl.SSLError) as exc:
            raise _unusable(str(self.ca), "holds no certificate", exc, f"openssl x509 -in {self.ca}") from exc
        try:
            self.context()
        except (OSError, ssl.SSLError) as exc:
            both = " and ".join(str(path) for path in (self.cert, self.key) if path is not None)
            key = f"openssl pkey -noout -in {self.key or self.cert}"
            fix = f"openssl x509 -noout -subject -in {self.cert}; {key}"
            raise _unusable(both, "are no certificate with its own, unencrypted key", exc, fix) from exc

    def words(self) -> str:
        """The options in the form of `redis-cli`."""
        named = (("--cacert", self.ca), ("--cert", self.cert), ("--key", self.key or self.cert))
        return "".join(f" {name} {path}" for name, path in named if path is not None)


def _read(path: Path, origin: str) -> None:
    try:
        path.read_bytes()
    except OSError as exc:
        fix = f"correct the path beside {origin}, or make it readable: ls -l {path}"
        raise ConfigError(f"{path} cannot be read, for TLS to Redis", why=str(exc), fix=fix) from exc


def _unusable(what: str, wrong: str, exc: Exception, command: str) -> ConfigError:
    return ConfigError(f"{what} {wrong}, for TLS to Redis", why=str(exc), fix=f"look at it: {command}")
