"""Who does not come in: no certificate, another authority's, one out of date, another node, put out."""

from __future__ import annotations

import contextlib
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
from cryptography.x509 import Certificate
from hiredis import pack_command
from redis.exceptions import NoPermissionError, RedisError

from node_agent.link.direct import NotLetInError, dial
from node_agent.wire import keys
from pancode.fleet.direct.authority import Authority, KeyPair
from pancode.queue.valkey.access import connect
from tests.contract.certificates import Authority as Others
from tests.integration.direct.conftest import Asking, House, Shifted, Visitor
from tests.integration.git.depot_world import until


def test_nothing_is_said_to_who_shows_no_certificate_of_ours(house: House, tmp_path: Path) -> None:
    house.open()
    strangers = Others(tmp_path / "strangers")
    pair = strangers.issue("node-x")
    for shown in (None, pair):
        context = ssl.create_default_context(cadata=house.authority().ca)
        context.set_alpn_protocols(["pancode-redis"])
        if shown is not None:
            context.load_cert_chain(shown.cert, shown.key)
        with (
            socket.create_connection((house.place.host, house.place.port), 5) as plain,
            pytest.raises(OSError),
            context.wrap_socket(plain, server_hostname=house.place.host) as tls,
        ):
            assert tls.recv(10) == b""
            raise ConnectionError("closed without a word")
    with socket.create_connection((house.place.host, house.place.port), 5) as plain:
        plain.sendall(b"*1\r\n$4\r\nPING\r\n")
        assert b"PONG" not in plain.recv(100)


def test_a_certificate_of_another_authority_or_of_yesterday(house: House, anna: Visitor) -> None:
    house.open()
    another = house.authority(name="another")
    with pytest.raises(OSError, match=r"(?i)unknown ca|reset|eof|closed"):
        dial(anna.end(by=another), 5)
    old = house.authority(Shifted(-40))
    with pytest.raises(OSError, match="our certificate"):
        dial(anna.end(by=old), 5)


def test_the_node_believes_its_own_coordinator_alone(house: House, anna: Visitor) -> None:
    house.open()
    with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
        dial(anna.end(ca=house.authority(name="another").ca), 5)


def test_a_certificate_of_the_coordinator_that_has_run_out_is_named(house: House, anna: Visitor) -> None:
    ran_out = house.authority(Shifted(-40))
    house.open(authority=ran_out)
    with pytest.raises(OSError, match="certificate has expired"):
        dial(anna.end(), 5)


def test_a_node_s_certificate_is_none_of_a_coordinator(house: House, anna: Visitor, tmp_path: Path) -> None:
    """Whoever has a node's key cannot be the coordinator to another node."""

    class Posing(Authority):
        def server(self, host: str) -> Path:
            path = tmp_path / "posing.pem"
            path.write_text(anna.key.pem() + self.node(anna.tag, anna.key.public).cert)
            return path

    house.open(authority=Posing(house.folder / "direct", "f-test", house.clock))
    with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
        dial(anna.end(), 5)


def test_a_stranger_with_our_certificate_and_one_in_quarantine(house: House, anna: Visitor) -> None:
    house.open()
    house.out["anna"] = "anna is quarantined: it flooded Redis"
    with pytest.raises(NotLetInError, match="it flooded Redis"):
        dial(anna.end(), 5)
    house.known.clear()
    with pytest.raises(NotLetInError, match="no node of the fleet has that key"):
        dial(anna.end("depot"), 5)


def test_who_may_be_here_no_longer_is_put_out(house: House, anna: Visitor, boris: Visitor) -> None:
    house.open()
    out, stays = (Asking(one.end(), f"node-{one.tag}", one.password).line() for one in (anna, boris))
    house.out["anna"] = "quarantined"
    with pytest.raises(RedisError):
        out.can_read(40)
        out.read_response()
    stays.send_command("PING")
    assert stays.read_response() == b"PONG"
    for line in (out, stays):
        line.disconnect()


def test_another_s_password_and_another_s_login(house: House, anna: Visitor, boris: Visitor) -> None:
    house.open()
    mine = f"node-{anna.tag}"
    with (
        Asking(anna.end(), mine, boris.password) as client,
        pytest.raises(RedisError, match="invalid user"),
    ):
        client.ask(("PING",))
    with (
        Asking(anna.end(), f"node-{boris.tag}", boris.password) as client,
        pytest.raises(RedisError, match="this certificate"),
    ):
        client.ask(("PING",))
    with (
        Asking(anna.end(), "coordinator", "x") as client,
        pytest.raises(RedisError, match="this certificate"),
    ):
        client.ask(("PING",))


def test_after_its_login_a_connection_stays_its_own(
    house: House, anna: Visitor, boris: Visitor, caplog: pytest.LogCaptureFixture
) -> None:
    """With another node's password, too: Redis itself lets anybody log in anew who has one."""
    house.open()
    with Asking(str(house.server.place), f"node-{anna.tag}", anna.password) as behind:
        # As it is where nobody stands before Redis.
        assert behind.ask(("PING",), ("AUTH", f"node-{boris.tag}", boris.password)) == [True, True]
    another = f"node-{boris.tag}", boris.password
    for words in (("AUTH", *another), ("auth", *another), ("HELLO", 2, "AUTH", *another), ("RESET",)):
        line = Asking(anna.end(), f"node-{anna.tag}", anna.password).line()
        for said in (("PING",), words, ("LRANGE", f"rq:queue:node.{boris.tag}", 0, -1)):
            with contextlib.suppress(RedisError):
                line.send_command(*said)
        with pytest.raises(RedisError, match="after the login|No permissions|closed|reset|pipe"):
            for _ in range(3):
                assert line.read_response() == b"PONG"
        line.disconnect()
    told = [one.getMessage() for one in caplog.records if "after the login" in one.getMessage()]
    assert told[0].startswith("direct links: anna in Redis is refused: AUTH")


def test_what_looks_like_a_login_in_a_value_passes(house: House, anna: Visitor) -> None:
    house.open()
    key = f"rq:job:{keys.job_prefix(anna.tag)}words"
    login: Any = pack_command(("AUTH", f"node-{anna.tag}", anna.password))  # type: ignore[arg-type]
    with Asking(anna.end(), f"node-{anna.tag}", anna.password) as client:
        for value in (login, b"AUTH", b"", login * 40_000):
            assert client.ask(("HSET", key, "data", value), ("HGET", key, "data"))[1] == value


def test_a_node_reads_no_other_s_queue(house: House, anna: Visitor, boris: Visitor) -> None:
    house.open()
    with Asking(anna.end(), f"node-{anna.tag}", anna.password) as client:
        for words in (("LRANGE", f"rq:queue:node.{boris.tag}", 0, -1), ("KEYS", "*"), ("ACL", "LIST")):
            with pytest.raises(NoPermissionError):
                client.ask(words)


def test_a_revoked_user_is_out_at_once(house: House, anna: Visitor) -> None:
    house.open()
    admin = connect(house.server.access)
    with Asking(anna.end(), f"node-{anna.tag}", anna.password) as client:
        assert client.ask(("PING",)) == [True]
        admin.acl_deluser(f"node-{anna.tag}")
        with pytest.raises(RedisError):
            client.ask(("PING",))
    admin.close()


def test_a_port_that_is_taken_is_said_and_tried_again(house: House, anna: Visitor) -> None:
    taken = socket.create_server((house.place.host, house.place.port))
    entrance = house.open()
    assert "in use" in entrance.trouble
    taken.close()
    until(lambda: entrance.trouble == "", timeout_s=40)
    dial(anna.end(), 5).close()


def test_an_authority_that_cannot_be_read_is_said_with_what_mends_it(house: House, anna: Visitor) -> None:
    path = house.folder / "direct" / "authority.pem"
    path.parent.mkdir()
    path.write_text("nonsense")
    entrance = house.open()
    assert str(path) in entrance.trouble and f"rm {path}" in entrance.fix
    path.unlink()
    until(lambda: entrance.trouble == entrance.fix == "", timeout_s=40)
    dial(anna.end(), 5).close()


@pytest.mark.slow
def test_another_authority_of_ours_counts_at_once(house: House, anna: Visitor) -> None:
    """The first is ten years old but for a while: it is made anew as the coordinator runs."""
    house.clock.days = -3290
    ours = house.authority()
    entrance, first = house.open(authority=ours), ours.ca
    house.clock.days = 0
    assert ours.ca != first
    place = anna.end(by=ours, ca=ours.ca)

    def comes_in() -> bool:
        with contextlib.suppress(OSError):
            dial(place, 5).close()
            return True
        return False

    until(comes_in, timeout_s=40)
    assert entrance.trouble == ""


def test_a_certificate_that_names_nobody_is_made_anew(house: House, anna: Visitor) -> None:
    ours = house.authority()
    path = ours.server(house.place.host)
    path.write_bytes((house.folder / "direct" / "authority.pem").read_bytes())
    assert house.open(authority=ours).trouble == ""
    dial(anna.end(by=ours, ca=ours.ca), 5).close()


def test_certificates_are_kept_and_made_anew_in_time(house: House) -> None:
    def shown(host: str = "127.0.0.1") -> Certificate:
        found = KeyPair.read(house.authority().server(host))
        assert found is not None
        return found.cert

    ca, first = house.authority().ca, shown()
    assert shown() == first
    house.clock.days = 21
    assert (later := shown()) != first and house.authority().ca == ca
    assert shown("10.0.0.5") != later, "for another address"
    house.clock.days = 3650 - 300
    assert house.authority().ca != ca
    for path in (house.folder / "direct").iterdir():
        assert path.stat().st_mode & 0o077 == 0
