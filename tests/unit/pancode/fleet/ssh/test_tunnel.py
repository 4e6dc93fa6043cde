"""Socket paths fit into the system's limit, and the pointer names both ends."""

from __future__ import annotations

import json

from pancode.fleet.ssh.tunnel import PATH_LIMIT, Generation, choose_folders


def test_a_short_home_keeps_its_sockets() -> None:
    where = choose_folders("/home/ops/.pancode-node/f1", 1000)
    assert where.sockets == where.pointer == "/home/ops/.pancode-node/f1/s"


def test_a_long_home_gets_a_short_folder_of_its_own() -> None:
    homes = ["/very" * 20 + "/a", "/very" * 20 + "/b"]
    sockets = [choose_folders(home, 1000).sockets for home in homes]
    assert choose_folders(homes[0], 1000).pointer == homes[0] + "/s"
    assert len(set(sockets)) == 2 and all(s.startswith("/tmp/pancode-1000-") for s in sockets)
    assert all(len(s + "/XXXXXXXX/redis.sock") < PATH_LIMIT for s in sockets)


def test_the_limit_counts_bytes() -> None:
    home = "/" + "é" * 45
    assert choose_folders(home, 1).sockets.startswith("/tmp/")


def test_pointer() -> None:
    generation = Generation("abc", "/h/s/abc", "unix:/h/s/abc/redis.sock", "tcp:127.0.0.1:40001")
    assert json.loads(generation.pointer()) == {
        "generation": "abc",
        "redis": "unix:/h/s/abc/redis.sock",
        "depot": "tcp:127.0.0.1:40001",
    }
    assert "\n" not in generation.pointer()
