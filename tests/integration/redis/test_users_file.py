"""`pancode redis users` against Debian's redis-server: it will do; what the server wrote itself is kept."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from node_agent.wire.clock import SystemClock
from pancode.queue.queue import RedisBus
from pancode.queue.valkey.access import RedisAccess
from pancode.queue.valkey.external import check_external
from pancode.queue.valkey.process import wait_until
from tests.integration.redis.conftest import PASSWORD, TAG
from tests.ports import find_free_port


def printed(*words: str, known: str = "") -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "pancode", "redis", "users", *words]
    return subprocess.run(argv, input=known, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def access(tmp_path: Path) -> Iterator[RedisAccess]:
    """A server with the file that was printed, by the coordinator's login."""
    program = shutil.which("redis-server")
    assert program is not None, "redis-server is not installed: make system"
    (tmp_path / "password").write_text("s3cret\n")
    (tmp_path / "users.acl").write_text(printed("--password-file", str(tmp_path / "password")).stdout)
    port = find_free_port()
    argv = [program, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(tmp_path)]
    with subprocess.Popen([*argv, "--aclfile", f"{tmp_path}/users.acl"], stdout=subprocess.DEVNULL) as child:
        try:
            assert wait_until(SystemClock(), 10_000, lambda: _answers(port))
            yield check_external(f"redis://pancode:s3cret@127.0.0.1:{port}").access
        finally:
            child.terminate()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_the_server_will_do_and_what_it_writes_itself_is_kept(access: RedisAccess, tmp_path: Path) -> None:
    with closing(RedisBus(access, SystemClock())) as bus:
        bus.admit_node(TAG, PASSWORD)
    users = tmp_path / "users.acl"
    saved = users.read_text()
    assert f"user node-{TAG} " in saved, "the server has written the node into its file"
    password = ("--password-file", str(tmp_path / "password"))
    assert printed(*password, "--known", str(users)).stdout == saved
    (tmp_path / "password").write_text("another\n")
    changed = printed(*password, "--known", "-", known=saved).stdout
    assert changed != saved and f"user node-{TAG} " in changed and "another" not in changed


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--password-file", "/none/such"), 3, "cannot read --password-file /none/such"),
        (("--password-file", "/dev/null"), 3, "/dev/null is empty"),
        (
            ("--password-file", "/etc/hostname", "--user", "node-a"),
            2,
            "'node-a' is not a valid coordinator user",
        ),
        (
            ("--password-file", "/etc/hostname", "--user", "a b"),
            2,
            "'a b' is not a valid coordinator user",
        ),
    ],
)
def test_what_cannot_be_is_said_with_a_fix(words: tuple[str, ...], code: int, said: str) -> None:
    done = printed(*words)
    assert done.returncode == code and said in done.stderr and "fix:" in done.stderr, done.stderr
