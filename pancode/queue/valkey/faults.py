"""Translates errors of redis-py into UnavailableError: what happened, the evidence, and the fix."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from redis import exceptions as raised

from pancode.kernel.errors import UnavailableError
from pancode.queue.valkey.access import SILENT, NoPasswordError, RedisAccess


@contextmanager
def translate_redis_errors(access: RedisAccess, operation: str) -> Iterator[None]:
    """Turn every error of redis-py in the block into UnavailableError, `from` the original."""
    try:
        yield
    except (raised.RedisError, OSError) as exc:
        raise unavailable_error(access, operation, exc) from exc


def unavailable_error(access: RedisAccess, operation: str, exc: Exception) -> UnavailableError:
    """Return the error for a failed operation; its `why` never contains a password."""
    verdict = _judge(exc)
    beside = access.beside
    fix = verdict.fix.format(
        origin=access.origin,
        probe=access.probe(),
        rights=access.rights(),
        secret=beside.password_file or access.origin,
        ca=beside.files.ca or "not set",
        cert=beside.files.cert or "not set",
        look=_look(access),
    )
    return UnavailableError(
        verdict.message, why=f"{operation} at {access.place}: {_format_message(exc)}", fix=fix
    )


@dataclass(frozen=True, slots=True)
class _Verdict:
    """A kind of failure, recognized by the exception's class or by the first word of the server's error."""

    kinds: tuple[type[Exception], ...]
    words: tuple[str, ...]
    message: str
    fix: str


_AGAIN = "try: {probe}"
_IN_PIPELINE = re.compile(r"\ACommand # \d+ \(.*?\) of pipeline caused error: ", re.DOTALL)
"""The text that redis-py puts before the server's error when commands are sent in a pipeline."""
_VERDICTS = (
    _Verdict(
        (NoPasswordError,),
        (),
        "The Redis password file cannot be read.",
        "make it readable, or correct redis.password_file: ls -l {secret}",
    ),
    _Verdict(
        (raised.AuthenticationError,),
        ("NOAUTH", "WRONGPASS"),
        "Redis refuses our password.",
        "correct the user in {origin} and the password in {secret}; " + _AGAIN,
    ),
    _Verdict((raised.NoPermissionError,), ("NOPERM",), "the Redis user lacks permissions", "{rights}"),
    _Verdict(
        (raised.OutOfMemoryError,),
        ("OOM",),
        "Redis is out of memory.",
        "remove other data from it, or raise its `maxmemory`; pancode doctor shows its use",
    ),
    _Verdict(
        (raised.ReadOnlyError,),
        ("READONLY",),
        "this Redis is a read-only replica",
        "set {origin} to the primary",
    ),
    _Verdict(
        (raised.AskError, raised.ClusterDownError, raised.ClusterCrossSlotError),
        (),
        "this Redis is a node of a cluster",
        "set {origin} to a Redis without cluster mode (cluster-enabled no)",
    ),
    _Verdict(
        (), ("MISCONF",), "Redis cannot write to its disk.", "free space on its disk; see the log of Redis"
    ),
    _Verdict(
        (raised.BusyLoadingError,),
        ("LOADING",),
        "Redis is still loading its data.",
        "wait; PanCode tries again",
    ),
    _Verdict((raised.TimeoutError,), (), "Redis does not answer.", _AGAIN),
    _Verdict(
        (raised.ConnectionError, OSError),
        (),
        "Redis cannot be reached.",
        "check that it runs at the address in {origin}, and whether it requires TLS (rediss://); " + _AGAIN,
    ),
)
_OTHER = _Verdict(
    (), (), "Redis refuses a command.", "check that it is Redis 7.0 or Valkey 7.2, or newer; " + _AGAIN
)


_TLS = (
    (
        "certificate has expired",
        "The certificate of Redis has expired.",
        "renew it on the server; its dates: {look}",
    ),
    (
        "not yet valid",
        "The certificate of Redis is not valid yet.",
        "check the clock of this computer; the certificate's dates: {look}",
    ),
    (
        ("mismatch", "not valid for"),
        "The certificate of Redis is for another host.",
        "set the host in {origin} to one that the certificate names: {look}",
    ),
    (
        ("issuer certificate", "self-signed", "self signed", "unable to verify"),
        "The certificate of Redis is from an unknown authority.",
        "set redis.ca_file ({ca}) to a file with that authority; the issuer: {look}",
    ),
    (
        ("CERTIFICATE_REQUIRED", "ALERT_UNKNOWN_CA", "ALERT_BAD_CERTIFICATE", "HANDSHAKE_FAILURE"),
        "Redis does not accept our certificate.",
        "set redis.cert_file ({cert}) and redis.key_file to one that its authority has issued; " + _AGAIN,
    ),
    (
        ("ALERT_CERTIFICATE_EXPIRED", "CERTIFICATE_UNKNOWN"),
        "Redis does not accept our certificate.",
        "renew the certificate in redis.cert_file ({cert}); " + _AGAIN,
    ),
    (
        SILENT,
        "Redis did not answer the TLS handshake.",
        "correct the port in {origin}, or use redis:// without TLS; " + _AGAIN,
    ),
    (
        ("WRONG_VERSION_NUMBER", "RECORD_LAYER"),
        "The server at this address does not use TLS.",
        "correct the port in {origin}, or use redis:// without TLS; " + _AGAIN,
    ),
)
"""The meaning of OpenSSL's error texts; the first match counts."""
_TLS_OTHER = (
    "The TLS connection to Redis failed.",
    "check that the server uses TLS and accepts the client certificate: pancode doctor; " + _AGAIN,
)


def _look(access: RedisAccess) -> str:
    """Return the shell command that shows the server's certificate."""
    show = "openssl x509 -noout -dates -issuer -ext subjectAltName"
    return f"openssl s_client -connect {access.host}:{access.port} </dev/null | {show}"


def _of_tls(exc: BaseException | None) -> ssl.SSLError | None:
    """Return the OpenSSL error in the causes of redis-py's error; None: no TLS error."""
    while exc is not None and not isinstance(exc, ssl.SSLError):
        exc = exc.__cause__ or exc.__context__
    return exc


def _judge(exc: Exception) -> _Verdict:
    """Return the first kind of failure that matches; most errors are also ConnectionErrors."""
    of_tls = _of_tls(exc)
    if of_tls is not None:
        text = str(of_tls)
        for words, message, fix in _TLS:
            if any(word in text for word in ((words,) if isinstance(words, str) else words)):
                return _Verdict((), (), message, fix)
        return _Verdict((), (), *_TLS_OTHER)
    text = _IN_PIPELINE.sub("", str(exc), count=1)
    return next((v for v in _VERDICTS if isinstance(exc, v.kinds) or text.startswith(v.words)), _OTHER)


def _format_message(exc: Exception) -> str:
    """Return the server's words, without the arguments of the command, which may be binary."""
    text = _IN_PIPELINE.sub("", str(exc), count=1)
    return " ".join(text.split())[:300] or type(exc).__name__
