"""Somebody else's Redis: what is checked, and what is said when it will not do."""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pancode.kernel.errors import ConfigError, UnavailableError
from pancode.queue.valkey.access import connect
from pancode.queue.valkey.external import ORIGIN, check_external
from tests.contract.redis_servers import DebianRedis
from tests.crowd import crowded
from tests.ports import find_free_port

SECRET = "s3 cret/?@:"


@pytest.fixture
def debian(tmp_path: Path) -> Iterator[DebianRedis]:
    server = DebianRedis(tmp_path)
    yield server
    server.discard()


def at(server: DebianRedis, login: str) -> str:
    return f"redis://{login}@127.0.0.1:{server.port}/0"


def refusal(url: str) -> UnavailableError:
    with pytest.raises(UnavailableError) as caught:
        check_external(url)
    error = caught.value
    assert error.why and ORIGIN in error.fix
    assert (
        SECRET not in f"{error} {error.why} {error.fix}"
        and "hunter2" not in f"{error} {error.why} {error.fix}"
    )
    return error


def test_a_good_one(debian: DebianRedis) -> None:
    found = check_external(debian.url)
    assert found.product == "redis" and found.version.startswith("7.")
    assert SECRET not in repr(found)
    client = connect(found.access)
    assert client.dbsize() == 0 and client.acl_users() == ["default"], "looking changed something"
    client.close()


def test_one_that_lets_everybody_in_is_seen(debian: DebianRedis) -> None:
    """A node that leaves its login out would come in as that user."""
    found = check_external(debian.url)
    assert found.open_as == ""
    client = connect(found.access)
    client.execute_command("ACL", "SETUSER", "app", "on", ">hunter2", "~*", "&*", "+@all")
    client.execute_command("ACL", "SETUSER", "default", "nopass")
    client.close()
    assert check_external(at(debian, "app:hunter2")).open_as == "default"


def test_a_wrong_password(debian: DebianRedis) -> None:
    error = refusal(at(debian, "default:hunter2"))
    assert "password" in str(error)
    assert f"redis-cli -h 127.0.0.1 -p {debian.port} -n 0 --user default --askpass ping" in error.fix


def test_no_password(debian: DebianRedis) -> None:
    assert "password" in str(refusal(f"redis://127.0.0.1:{debian.port}/0"))


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ("~* &* +@all -acl", "the Redis user cannot create users for nodes"),
        ("~app:* &* +@all", "the Redis user lacks permissions"),
        ("~* &* +@all -evalsha", "the Redis user lacks permissions"),
        ("~* resetchannels +@all", "the Redis user lacks permissions"),
        ("~* &* +@all -info", "the Redis user lacks permissions"),
    ],
)
def test_too_few_rights(debian: DebianRedis, rules: str, message: str) -> None:
    client = connect(check_external(debian.url).access)
    client.execute_command("ACL", "SETUSER", "app", "on", ">hunter2", *rules.split())
    client.close()
    error = refusal(at(debian, "app:hunter2"))
    assert str(error) == message
    assert "+@all" in error.fix
    assert "--user app --askpass acl getuser app" in error.fix, "the command that shows what it has"


def test_nobody_listens(debian: DebianRedis) -> None:
    debian.stop()
    error = refusal(debian.url)
    assert str(error) == "Redis cannot be reached." and "redis-cli" in error.fix
    assert str(refusal("unix:///nowhere/redis.sock")) == "Redis cannot be reached."


def _answer_as_old(listener: socket.socket) -> None:
    """An old server, for one client: every command gets the same INFO."""
    info = b"# Server\r\nredis_version:6.2.7\r\n"
    with listener.accept()[0] as client:
        while client.recv(4096):
            client.sendall(b"$%d\r\n%s\r\n" % (len(info), info))


def test_too_old() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_answer_as_old, args=(listener,))
        thread.start()
        error = refusal(f"redis://127.0.0.1:{listener.getsockname()[1]}/0")
        thread.join(5 * crowded())
    assert "6.2.7" in str(error) and "7.0" in error.why


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:6379",
        "http://h/0",
        "redis://",
        "redis://h:x/0",
        "redis://h/a",
        "unix://rel",
        "redis://u:hunter2@",
    ],
)
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_external(url, "redis.url in pancode.yaml")
    assert "redis.url in pancode.yaml" in str(caught.value)
    assert "hunter2" not in f"{caught.value} {caught.value.why} {caught.value.fix}"


def test_debian_redis_is_there() -> None:
    assert shutil.which("redis-server") is not None


def test_a_replica_is_refused(debian: DebianRedis) -> None:
    client = connect(debian.access)
    client.execute_command("REPLICAOF", "127.0.0.1", "1")
    client.close()
    assert "read-only replica" in str(refusal(debian.url))


def test_a_node_of_a_cluster_is_refused(debian: DebianRedis) -> None:
    debian.stop()
    # Unnamed, the port of the bus is 10,000 above, which does not exist for each free port.
    debian.more = ("--cluster-enabled", "yes", "--cluster-port", str(find_free_port()))
    with pytest.raises(UnavailableError, match="node of a cluster"):
        debian.start()
