"""Addresses of Redis as users write them, and errors as users read them."""

from __future__ import annotations

import pytest
from redis import exceptions as raised

from pancode.kernel.errors import UnavailableError
from pancode.queue.node_rights import node_rules
from pancode.queue.valkey.access import RedisAccess, access_from_url
from pancode.queue.valkey.faults import translate_redis_errors, unavailable_error
from pancode.queue.valkey.layout import quote_word


@pytest.mark.parametrize(
    ("url", "access"),
    [
        ("redis://h", RedisAccess("S", host="h")),
        ("valkey://h:7/3", RedisAccess("S", host="h", port=7, db=3)),
        ("rediss://h/", RedisAccess("S", host="h", tls=True)),
        ("redis://:p%40%2F@[::1]:7/0", RedisAccess("S", host="::1", port=7, password="p@/")),
        ("redis://u:@h", RedisAccess("S", host="h", user="u", password="")),
        ("unix:///a%20b/s.sock?db=2", RedisAccess("S", socket="/a b/s.sock", db=2)),
        ("unix://u:p@/s", RedisAccess("S", socket="/s", user="u", password="p")),
    ],
)
def test_addresses(url: str, access: RedisAccess) -> None:
    assert access_from_url(url, "S") == access


def test_the_command_to_try_has_no_password() -> None:
    access = RedisAccess("S", host="h", tls=True, user="u", password="hunter2")
    assert access.probe() == "redis-cli -h h -p 6379 --tls -n 0 --user u --askpass ping"
    assert "hunter2" not in repr(access) + access.probe() + access.place
    assert RedisAccess("S", socket="/s").probe() == "redis-cli -s /s -n 0 ping"


@pytest.mark.parametrize(
    ("raised_by_redis", "message"),
    [
        (raised.AuthenticationError("WRONGPASS"), "Redis refuses our password."),
        (raised.ResponseError("NOAUTH Authentication required."), "Redis refuses our password."),
        (
            raised.NoPermissionError("this user has no permissions"),
            "the Redis user lacks permissions",
        ),
        (raised.OutOfMemoryError("command not allowed"), "Redis is out of memory."),
        (raised.ReadOnlyError("You can't write"), "this Redis is a read-only replica"),
        (raised.ResponseError("MISCONF Errors writing to the AOF file"), "Redis cannot write to its disk."),
        (
            raised.ResponseError("Command # 1 (SET a b) of pipeline caused error: MISCONF Errors writing"),
            "Redis cannot write to its disk.",
        ),
        (raised.BusyLoadingError("loading"), "Redis is still loading its data."),
        (raised.TimeoutError("Timeout reading"), "Redis does not answer."),
        (raised.ConnectionError("Error 111"), "Redis cannot be reached."),
        (ConnectionResetError(), "Redis cannot be reached."),
        (raised.ResponseError("WRONGTYPE"), "Redis refuses a command."),
    ],
)
def test_errors_say_what_why_and_what_to_do(raised_by_redis: Exception, message: str) -> None:
    access = RedisAccess("PANCODE_REDIS_URL", host="h", password="hunter2")
    error = unavailable_error(access, "push_job", raised_by_redis)
    assert str(error) == message
    assert error.why.startswith("push_job at h:6379/0: ") and error.fix
    assert "hunter2" not in f"{error} {error.why} {error.fix}"


def test_an_error_keeps_its_cause_and_others_pass() -> None:
    cause = raised.TimeoutError("slow")
    with pytest.raises(UnavailableError) as caught, translate_redis_errors(RedisAccess("S"), "x"):
        raise cause
    assert caught.value.__cause__ is cause
    with pytest.raises(KeyError), translate_redis_errors(RedisAccess("S"), "x"):
        raise KeyError


def test_a_path_is_one_word_of_the_configuration() -> None:
    assert quote_word("/a b/c") == '"/a b/c"'
    assert quote_word('"\\\n\x01') == '"\\"\\\\\\x0a\\x01"'


def test_the_rules_of_a_node_hold_no_password_and_no_pattern_for_all() -> None:
    rules = node_rules("0a1b2c3d4e", "hunter2")
    assert rules[:2] == ["reset", "on"]
    assert not [rule for rule in rules if "hunter2" in rule]
    assert not {"~*", "&*", "allkeys", "allchannels", "nopass", "+@all"} & set(" ".join(rules).split())
    patterns = [word.strip("()") for rule in rules for word in rule.split() if "~" in word or "&" in word]
    shared = {"~rq:workers", "&pancode:hint:up"}
    assert [pattern for pattern in patterns if "0a1b2c3d4e" not in pattern and pattern not in shared] == []
