"""The node's own client: a connection for each thread that asks; none that was ended, none once closed."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from node_agent.link.redisline import Access, Client, Subscription
from node_agent.link.resp import Lost, RedisError, Refused
from pancode.adapters.valkey.access import connect
from tests.contract.redis_servers import Server, open_server
from tests.crowd import crowded

PASSWORD = "pass word of a node"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    one = open_server("valkey", tmp_path)
    admin = connect(one.access)
    admin.execute_command("ACL", "SETUSER", "line", "reset", "on", f">{PASSWORD}", "~*", "&*", "+@all")
    admin.close()
    yield one
    one.discard()


def access(server: Server, password: str = PASSWORD, answer_s: float = 5.0) -> Access:
    return Access(server.place, "line", password, 2.0, answer_s)


def test_commands_go_together_and_a_refusal_leaves_the_connection_whole(server: Server) -> None:
    client = Client(access(server))
    assert client.ask(("SET", "k", "päge"), ("GET", "k"), ("GET", "none")) == [b"OK", "päge".encode(), None]
    with pytest.raises(Refused, match="WRONGTYPE"):
        client.ask(("LPUSH", "k", "x"), ("SET", "after", 1))
    assert client.ask(("GET", "after")) == [b"1"]  # what came behind it was done, and its answer not mixed up
    assert _connections(client) == 1
    client.close()


def test_threads_that_ask_at_once_have_a_connection_each(server: Server) -> None:
    client, began = Client(access(server)), threading.Barrier(4)
    heard: list[bytes] = []

    def ask(number: int) -> None:
        began.wait(5 * crowded())
        for at in range(50):
            (answer,) = client.ask(("ECHO", f"{number}-{at}"))
            assert answer == f"{number}-{at}".encode()
        heard.append(client.ask(("ECHO", number))[0])

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(20 * crowded())
    assert sorted(heard) == [b"0", b"1", b"2", b"3"]
    assert _connections(client) <= 4
    client.close()


def test_a_connection_that_the_server_ended_is_not_asked_again(server: Server) -> None:
    client = Client(access(server))
    number = client.ask(("CLIENT", "ID"))[0]
    other = Client(access(server))
    other.ask(("CLIENT", "KILL", "ID", number))
    assert client.ask(("CLIENT", "ID"))[0] != number
    client.close()
    other.close()


def test_who_says_back_what_it_hears_is_no_redis() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def parrot() -> None:
            heard, _ = listener.accept()
            with heard:
                while piece := heard.recv(1 << 16):
                    heard.sendall(piece)

        thread = threading.Thread(target=parrot)
        thread.start()
        with pytest.raises(Lost, match="does not speak as Redis does.* to a login"):
            Client(Access(listener.getsockname(), "line", PASSWORD, 2.0, 5.0)).ask(("PING",))
        thread.join(5 * crowded())
        assert not thread.is_alive()


def test_a_login_that_is_refused_and_a_server_that_is_away(server: Server) -> None:
    with pytest.raises(Refused) as caught:
        Client(access(server, "another")).ask(("PING",))
    assert caught.value.is_login
    nowhere = Access(f"{server.place}.not", "line", PASSWORD, 1.0, 1.0)
    with pytest.raises(Lost, match="cannot be reached"):
        Client(nowhere).ask(("PING",))


def test_closing_ends_the_wait_of_another_thread(server: Server) -> None:
    client, raised = Client(access(server, answer_s=60)), list[RedisError]()

    def ask() -> None:
        try:
            client.ask(("BLPOP", "nothing", 50))
        except RedisError as exc:
            raised.append(exc)

    thread = threading.Thread(target=ask)
    thread.start()
    watcher = Client(access(server))
    for _ in range(500):
        if b"cmd=blpop" in watcher.ask(("CLIENT", "LIST"))[0]:
            break
    client.close()
    thread.join(5 * crowded())
    assert not thread.is_alive() and isinstance(raised[0], Lost)
    with pytest.raises(Lost, match="was closed"):
        client.ask(("PING",))
    watcher.close()


def test_silence_is_told_in_time(server: Server) -> None:
    client = Client(access(server, answer_s=0.2))
    with pytest.raises(Lost, match="not answer in time"):
        client.ask(("BLPOP", "nothing", 3))
    assert client.ask(("PING",)) == [b"PONG"]
    client.close()


def test_a_subscription_hears_and_is_pinged(server: Server) -> None:
    client, heard = Client(access(server)), Subscription(access(server), "channel")
    assert heard.next(5) == b"subscribe"
    assert heard.next(0) is None
    client.ask(("PUBLISH", "channel", "1"), ("PUBLISH", "channel", "2"))
    assert [heard.next(5), heard.next(5)] == [b"message", b"message"]
    heard.ping()
    assert heard.next(5) == b"pong"
    client.ask(("ACL", "SETUSER", "line", "resetchannels"))
    refused = Subscription(access(server), "channel")
    with pytest.raises(Refused, match="NOPERM"):
        refused.next(5)
    for one in (refused, heard, client):
        one.close()


def _connections(client: Client) -> int:
    return len(client._idle) + len(client._busy)
