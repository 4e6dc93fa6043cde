"""Redis by TLS: who is believed, what we show, and what is said when something will not do."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pancode.app.doctor import run_checks
from pancode.kernel.errors import ConfigError, PancodeError, UnavailableError
from pancode.queue.valkey import access as access_module
from pancode.queue.valkey.access import Beside, TlsFiles, access_from_url, connect
from pancode.queue.valkey.external import check_external
from pancode.queue.valkey.faults import translate_redis_errors
from tests.contract.certificates import Authority, Pair
from tests.contract.redis_servers import DebianRedis, TlsRedis

PLACE = "/h/pancode.yaml:3"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def here(authority: Authority) -> Pair:
    return authority.issue("here", "127.0.0.1", "localhost")


@pytest.fixture(scope="module")
def server(authority: Authority, here: Pair) -> Iterator[TlsRedis]:
    made = TlsRedis(authority, here)
    yield made
    made.discard()


@pytest.fixture(scope="module")
def strict(authority: Authority, here: Pair) -> Iterator[TlsRedis]:
    """Wants a certificate of each client."""
    made = TlsRedis(authority, here, clients=True)
    yield made
    made.discard()


def beside(ca: Path | None, pair: Pair | None = None, password: Path | None = None) -> Beside:
    files = TlsFiles(ca) if pair is None else TlsFiles(ca, pair.cert, pair.key)
    return Beside(files, password)


def refusal(url: str, more: Beside) -> PancodeError:
    with pytest.raises(PancodeError) as caught:
        check_external(url, PLACE, more)
    told = f"{caught.value} {caught.value.why} {caught.value.fix}"
    assert "first" not in told.replace("first ", "") and caught.value.why and caught.value.fix
    return caught.value


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_good_one(server: TlsRedis, authority: Authority, host: str) -> None:
    found = check_external(server.url(host), PLACE, beside(authority.ca))
    assert found.product == "redis" and found.access.tls
    assert f"--tls --cacert {authority.ca} -n 0 --user pancode --askpass" in found.access.probe()


def test_a_certificate_of_ours_where_one_is_wanted(strict: TlsRedis, authority: Authority) -> None:
    ours = authority.issue("coordinator")
    found = check_external(strict.url(), PLACE, beside(authority.ca, ours))
    assert f"--cert {ours.cert} --key {ours.key}" in found.access.probe()


@pytest.mark.parametrize("kind", ["none", "stranger", "old"])
def test_a_certificate_of_ours_that_it_does_not_accept(
    strict: TlsRedis, authority: Authority, tmp_path: Path, kind: str
) -> None:
    shown = {
        "none": None,
        "stranger": Authority(tmp_path / "other", "other").issue("coordinator"),
        "old": authority.issue("old", days_ago=60),
    }
    error = refusal(strict.url(), beside(authority.ca, shown[kind]))
    assert "our certificate" in str(error), error.why
    named = "not set" if kind == "none" else str(shown[kind].cert)  # type: ignore[union-attr]
    assert f"redis.cert_file ({named})" in error.fix or f"names ({named})" in error.fix
    assert "redis-cli" in error.fix and "--tls" in error.fix


def test_an_authority_that_we_do_not_know(server: TlsRedis, tmp_path: Path) -> None:
    other = Authority(tmp_path / "other", "other")
    for more in (beside(None), beside(other.ca)):
        error = refusal(server.url(), more)
        assert "an unknown authority" in str(error), error.why
        assert f"redis.ca_file ({more.files.ca or 'not set'})" in error.fix
        assert f"openssl s_client -connect 127.0.0.1:{server.port}" in error.fix


@pytest.mark.parametrize(
    ("hosts", "days_ago", "message"),
    [
        (["127.0.0.1"], 60, "The certificate of Redis has expired."),
        (["redis.example"], 1, "The certificate of Redis is for another host."),
        (["10.9.9.9"], 1, "The certificate of Redis is for another host."),
    ],
)
def test_a_certificate_that_will_not_do(
    authority: Authority, hosts: list[str], days_ago: int, message: str
) -> None:
    odd = TlsRedis(authority, authority.issue("odd", *hosts, days_ago=days_ago))
    try:
        error = refusal(odd.url(), beside(authority.ca))
    finally:
        odd.discard()
    assert isinstance(error, UnavailableError) and str(error) == message, error.why
    assert "openssl" in error.fix


@pytest.mark.slow
def test_tls_where_there_is_none_and_none_where_there_is(
    server: TlsRedis, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access_module, "CONNECT_S", 1.0)
    plain = refusal(f"redis://pancode:first@127.0.0.1:{server.port}", Beside())
    assert str(plain) == "Redis cannot be reached." and "rediss://" in plain.fix and PLACE in plain.fix
    folder = server.folder / "plain"
    folder.mkdir(exist_ok=True)
    other = DebianRedis(folder)
    try:
        error = refusal(f"rediss://127.0.0.1:{other.port}", beside(authority.ca))
    finally:
        other.discard()
    assert "the TLS handshake" in str(error), error.why


def test_files_that_cannot_be_used_are_named(authority: Authority, here: Pair, tmp_path: Path) -> None:
    nothing, junk = tmp_path / "nothing.pem", tmp_path / "junk.pem"
    junk.write_text("nonsense")
    stranger = authority.issue("stranger")
    wrong = {
        beside(nothing): f"cannot read {nothing}",
        beside(junk): f"{junk} contains no certificate",
        beside(authority.ca, Pair(junk, junk)): f"{junk} and {junk} are not a certificate",
        beside(authority.ca, Pair(here.cert, stranger.key)): f"{here.cert} and {stranger.key} are no",
    }
    for more, words in wrong.items():
        error = refusal("rediss://127.0.0.1:1", more)
        assert isinstance(error, ConfigError) and words in str(error), str(error)
    error = refusal("redis://127.0.0.1:1", beside(authority.ca))
    assert "does not use TLS" in str(error) and "rediss://" in error.fix


def test_a_password_in_a_file_is_read_for_each_connection(
    server: TlsRedis, authority: Authority, tmp_path: Path
) -> None:
    server.do("ACL", "SETUSER", "kept", "on", ">one", "~*", "&*", "+@all")
    secret = tmp_path / "password"
    secret.write_text("one\n")
    url, more = server.url(login="kept@"), beside(authority.ca, password=secret)
    access = check_external(url, PLACE, more).access
    server.do("ACL", "SETUSER", "kept", "resetpass", ">two")
    error = refusal(url, more)
    assert "password" in str(error) and str(secret) in error.fix and PLACE in error.fix
    secret.write_text("two\n")
    client = connect(access)
    assert client.ping()
    client.close()
    secret.unlink()
    with (
        pytest.raises(UnavailableError, match="cannot be read") as caught,
        translate_redis_errors(access, "PING"),
    ):
        client.ping()
    assert f"ls -l {secret}" in caught.value.fix
    with pytest.raises(ConfigError, match="password_file"):
        access_from_url(server.url(), PLACE, more)


def test_a_renewed_certificate_counts_from_the_next_connection(authority: Authority, here: Pair) -> None:
    """Of the server's and of our own authority, without a restart of ours."""
    moved = Authority(authority.ca.parent / "moved", "moved")
    believed = authority.ca.parent / "believed.pem"
    believed.write_bytes(authority.ca.read_bytes())
    made = TlsRedis(authority, here)
    try:
        access = check_external(made.url(), PLACE, beside(believed)).access
        client = connect(access)
        assert client.ping()
        made.stop()
        made.start(moved.issue("here", "127.0.0.1"))
        with pytest.raises(UnavailableError, match="authority"), translate_redis_errors(access, "PING"):
            client.ping()
        believed.write_bytes(moved.ca.read_bytes())
        assert client.ping()
        client.close()
    finally:
        made.discard()


def test_doctor_tries_it_as_it_is_configured(server: TlsRedis, authority: Authority, tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("first")
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    text = f"redis:\n  url: {server.url(login='pancode@')}\n  ca_file: {authority.ca}\n"
    (home / "pancode.yaml").write_text(text)
    variables = {"PANCODE_REDIS_PASSWORD_FILE": str(secret)}
    (check,) = [c for c in run_checks(home, {**os.environ, **variables}) if c["what"] == "Redis"]
    assert check["ok"] and "over TLS" in check["detail"], check
    assert f"({home}/pancode.yaml:2)" in check["detail"]
    secret.write_text("wrong")
    (check,) = [c for c in run_checks(home, {**os.environ, **variables}) if c["what"] == "Redis"]
    assert not check["ok"] and "refuses our password" in check["detail"], check
    assert f"{home}/pancode.yaml:2" in check["fix"] and str(secret) in check["fix"]
