"""This machine as a node: commands, bytes, files and trust behave as with a real SSH server."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from pathlib import Path

import pytest

from pancode.fleet.ssh.connection import open_session, presented_key
from pancode.fleet.ssh.credentials import SshLogin
from pancode.fleet.ssh.errors import ConnectError, LinkFault, LinkLost, TransferFailed
from pancode.fleet.ssh.home import LoopbackKeys, make_key
from pancode.fleet.ssh.hostkey import HostKey
from pancode.fleet.ssh.probe import probe_node
from pancode.fleet.ssh.target import Target
from tests.crowd import crowded
from tests.integration.ssh.world import KEYS, TIMING, remote, world


def test_output_of_any_bytes_and_status_come_back(tmp_path: Path) -> None:
    async def go() -> None:
        async with world(tmp_path) as it, remote(it) as node:
            done = await node.run(["sh", "-c", "printf 'a\\377b'; echo no >&2; exit 3"], 5)
            assert (done.status, done.stdout, done.stderr, done.timed_out) == (3, b"a\xffb", b"no\n", False)
            assert done.text == "a\ufffdb"
            assert (await node.run(["true"], 5)).status == 0
            killed = await node.run(["sh", "-c", "kill -KILL $$"], 5)
            assert killed.status in (None, 137)
            assert (await node.run(["no-such-program"], 5)).status == 127

    asyncio.run(go())


def test_arguments_are_never_read_by_a_shell(tmp_path: Path) -> None:
    odd = ["a b", "$HOME", "`id`", "'", '"', "", "é", ";rm -rf /", "line\nbreak", "-n", "\\", "*", "!x"]

    async def go() -> None:
        async with world(tmp_path) as it, remote(it) as node:
            done = await node.run(["printf", "%s\\0", *odd], 5)
            assert done.stdout.decode().split("\0")[:-1] == odd

    asyncio.run(go())


def test_stdin_and_large_output(tmp_path: Path) -> None:
    async def go() -> None:
        async with world(tmp_path) as it, remote(it) as node:
            data = bytes(range(256)) * 8000
            assert (await node.run(["cat"], 10, stdin=data)).stdout == data
            done = await node.run(["head", "-c", "3000000", "/dev/zero"], 10, limit=1000)
            assert (len(done.stdout), done.truncated, done.status) == (1000, True, 0)

    asyncio.run(go())


def test_a_command_out_of_time_is_killed_on_the_node(tmp_path: Path) -> None:
    async def go() -> None:
        async with world(tmp_path) as it, remote(it) as node:
            done = await node.run(["sh", "-c", "echo $$ > pid; exec sleep 60"], crowded())
            assert done.timed_out and done.status == 124
            assert not os.path.exists(f"/proc/{int((it.home / 'pid').read_text())}")
            assert not (await node.run(["sh", "-c", "exit 124"], 5)).timed_out

    asyncio.run(go())


def test_a_burst_of_thirty(tmp_path: Path) -> None:
    async def go() -> None:
        async with world(tmp_path) as it, remote(it) as node:
            all_done = await asyncio.gather(*(node.run(["seq", "1", "20000"], 20) for _ in range(30)))
            assert {(d.status, len(d.stdout)) for d in all_done} == {(0, 108894)}

    asyncio.run(go())


def test_a_command_whose_link_dies_is_lost_and_not_done(tmp_path: Path) -> None:
    async def go() -> None:
        async with world(tmp_path) as it, remote(it) as node:
            running = asyncio.ensure_future(node.run(["sleep", "3"], 5))
            await asyncio.sleep(0.2)
            await it.server.drop()
            with pytest.raises(LinkLost):
                await running
            with pytest.raises(LinkLost):
                await node.run(["true"], 5)

    asyncio.run(go())


def test_files_are_put_whole(tmp_path: Path) -> None:
    async def go() -> None:
        async with world(tmp_path) as it, remote(it) as node:
            big = tmp_path / "big"
            big.write_bytes(os.urandom(3 << 20))
            await node.put(str(it.home / "f"), b"one", 0o640)
            await node.put(str(it.home / "f"), big, 0o600)
            assert (it.home / "f").read_bytes() == big.read_bytes()
            assert (it.home / "f").stat().st_mode & 0o777 == 0o600
            (it.home / "folder").mkdir()
            with pytest.raises(TransferFailed):
                await node.put(str(it.home / "folder"), b"x")
            with pytest.raises(TransferFailed):
                await node.put("/proc/nothing/here", b"x")
            assert sorted(p.name for p in it.home.iterdir()) == ["f", "folder"]

    asyncio.run(go())


def test_the_probe_reads_this_machine(tmp_path: Path) -> None:
    async def go() -> None:
        async with world(tmp_path) as it, remote(it) as node:
            found = await probe_node(node, "f1")
            assert (found.os, found.uid, found.home) == ("Linux", os.getuid(), str(it.home))
            assert found.node_home == f"{it.home}/.pancode-node/f1" and found.agent == "absent"
            assert found.boot_id == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
            assert found.tool("timeout") and found.disk_free and found.git
            assert any(p.minor >= (3, 11) for p in found.pythons)
            assert list(it.home.iterdir()) == []
            assert (await probe_node(node, "f1", "/else where")).node_home == "/else where"

    asyncio.run(go())


def test_only_the_pinned_key_is_talked_to(tmp_path: Path) -> None:
    async def go() -> None:
        async with world(tmp_path) as it:
            shown = await presented_key(it.server.target, {}, SshLogin())
            assert shown == it.server.host_key
            other = HostKey.parse(
                "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
            )
            for pins, fault in (
                ({}, LinkFault.HOST_KEY_UNKNOWN),
                ({it.server.target.endpoint: other}, LinkFault.HOST_KEY_CHANGED),
            ):
                with pytest.raises(ConnectError) as caught:
                    await open_session(it.server.target, pins, it.server.login, TIMING)
                error = caught.value
                assert error.fault is fault and error.permanent and error.fix
                assert not error.why or (shown.fingerprint in error.why and other.fingerprint in error.why)

    asyncio.run(go())


def test_only_our_key_and_our_user_log_in(tmp_path: Path) -> None:
    async def go() -> None:
        async with world(tmp_path) as it:
            ours, right = it.server.target, it.server.login
            other_key = SshLogin(keys=(make_key(),), own_only=True)
            for target, login in ((ours, other_key), (replace(ours, user="root"), right)):
                with pytest.raises(ConnectError) as caught:
                    await open_session(target, it.pins, login, TIMING)
                assert caught.value.fault is LinkFault.LOGIN_REFUSED and caught.value.permanent
            await (await open_session(ours, it.pins, right, TIMING)).close()

    asyncio.run(go())


def test_a_new_host_key_of_the_same_address_is_a_change(tmp_path: Path) -> None:
    async def go() -> None:
        async with world(tmp_path) as it:
            await it.restart(LoopbackKeys(make_key(), KEYS.client))
            with pytest.raises(ConnectError) as caught:
                await it.dial()
            assert caught.value.fault is LinkFault.HOST_KEY_CHANGED

    asyncio.run(go())


def test_the_environment_of_commands_is_the_nodes_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OUR_SECRET", "x")

    async def go() -> None:
        async with world(tmp_path) as it, remote(it) as node:
            done = await node.run(["env"], 5)
            names = dict(line.partition("=")[::2] for line in done.text.splitlines())
            assert names["HOME"] == str(it.home) and names["USER"] == "me" and "OUR_SECRET" not in names
            assert (await node.run(["pwd"], 5)).text.strip() == str(it.home)

    asyncio.run(go())


@pytest.mark.parametrize(
    ("proxy", "why", "fix"),
    [
        ((), "127.0.0.1:1: ", "Port in ~"),
        (("sh", "-c", "exit 3"), "127.0.0.1:1: ", "run the ProxyCommand by hand: sh -c 'exit 3'"),
    ],
)
def test_no_connection_names_the_machine_and_a_broken_proxy_command(
    proxy: tuple[str, ...], why: str, fix: str
) -> None:
    with pytest.raises(ConnectError) as caught:
        asyncio.run(presented_key(Target("far", "127.0.0.1", 1, "ann", proxy=proxy), {}, SshLogin()))
    assert caught.value.why.startswith(why) and fix in caught.value.fix


def test_the_words_that_connect_by_hand() -> None:
    target = Target("far", "10.0.0.5", 2200, "ann")
    assert target.by_hand == "ssh -p 2200 ann@10.0.0.5"
    assert replace(target, proxy=("nc",)).by_hand == "ssh far"
