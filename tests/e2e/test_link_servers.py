"""SSH servers that forbid things, refused keys, jump hosts and agents: fallback, or reason and fix."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import asyncssh
import pytest

from pancode.fleet.ssh import steps
from pancode.fleet.ssh.bringup import authorized_line, format_marker
from pancode.fleet.ssh.connection import open_session, presented_key
from pancode.fleet.ssh.credentials import SshLogin
from pancode.fleet.ssh.errors import ConnectError, LinkFault, TransferFailed
from pancode.fleet.ssh.home import make_key
from pancode.fleet.ssh.hostkey import HostKey
from pancode.fleet.ssh.probe import probe_node
from pancode.fleet.ssh.remote import Remote
from pancode.fleet.ssh.sshconfig import Overrides, SshPlaces
from pancode.fleet.ssh.step_runner import run_step
from pancode.fleet.ssh.target import in_session, resolve_target
from tests.crowd import crowded
from tests.e2e.link_lab import DOWN, STOPPED, UP, coordinator, generation, passes, timing
from tests.lab import Lab

pytestmark = pytest.mark.bare_hosts


def test_without_unix_forwarding_the_tunnels_use_loopback(healed: Lab, tmp_path: Path) -> None:
    healed.sshd([1], "restart", ["AllowStreamLocalForwarding no"])

    async def go() -> None:
        async with coordinator(healed, tmp_path) as it:
            (link,) = await it.up(1)
            assert generation(link).redis.startswith("tcp:") and await passes(link)

    asyncio.run(go())


def test_the_least_that_a_server_must_allow(healed: Lab, tmp_path: Path) -> None:
    healed.sshd([1], "restart", ["AllowTcpForwarding remote", "AllowStreamLocalForwarding remote"])

    async def go() -> None:
        async with coordinator(healed, tmp_path) as it:
            (link,) = await it.up(1)
            assert generation(link).redis.startswith("unix:") and await passes(link)

    asyncio.run(go())


@pytest.mark.parametrize("setting", ["DisableForwarding yes", "AllowTcpForwarding no"])
def test_without_any_forwarding_it_says_which_setting_and_heals(
    healed: Lab, tmp_path: Path, setting: str
) -> None:
    healed.sshd([1], "restart", [setting])

    async def go() -> None:
        async with coordinator(healed, tmp_path) as it:
            link = it.link(1)
            state = await link.wait(DOWN, 10 * crowded())
            assert state.error is not None and state.error.fault is LinkFault.FORWARDING_REFUSED
            assert "AllowTcpForwarding" in state.error.fix
            await asyncio.to_thread(healed.sshd, [1], "restart", [])
            assert (await link.wait(UP, 10 * crowded())).up

    asyncio.run(go())


def test_thirty_commands_where_the_server_allows_two(healed: Lab, tmp_path: Path) -> None:
    healed.sshd([2], "restart", ["MaxSessions 2"])

    async def go() -> None:
        async with coordinator(healed, tmp_path) as it, it.remote(2) as node:
            done = await asyncio.gather(*(node.run(["echo", str(n)], 20) for n in range(30)))
            assert [int(d.text) for d in done] == list(range(30))

    asyncio.run(go())


def test_a_server_without_sftp_is_named(healed: Lab, tmp_path: Path) -> None:
    healed.sshd([2], "restart", ["Subsystem sftp /bin/false"])

    async def go() -> None:
        async with coordinator(healed, tmp_path) as it, it.remote(2) as node:
            with pytest.raises(TransferFailed) as caught:
                await node.put("/home/ops/x", b"x")
            assert "sftp" in caught.value.fix
            assert (await node.run(["true"], 5)).status == 0

    asyncio.run(go())


def test_a_refused_login_is_tried_once_and_stops(lab: Lab, tmp_path: Path) -> None:
    async def go() -> None:
        async with coordinator(lab, tmp_path) as it:
            link = it.link(3, SshLogin(keys=(make_key(),), own_only=True))
            state = await link.wait(STOPPED, 10 * crowded())
            assert state.error is not None and state.error.fault is LinkFault.LOGIN_REFUSED
            await asyncio.sleep(0.5)
            assert it.dials == 1

    asyncio.run(go())


def test_a_stopped_link_that_starts_anew_is_not_judged_by_its_past(healed: Lab, tmp_path: Path) -> None:
    healed.sshd([3], "restart", ["AllowUsers nobody"])

    async def go() -> None:
        async with coordinator(healed, tmp_path) as it:
            link = it.link(3)
            assert (await link.wait(STOPPED, 10 * crowded())).error is not None
            await asyncio.to_thread(healed.sshd, [3], "restart", [])
            link.start()
            assert (await link.wait((*UP, *STOPPED), 10 * crowded())).up

    asyncio.run(go())


def test_the_first_look_at_a_host_key_is_the_one_that_ssh_keygen_prints(lab: Lab, tmp_path: Path) -> None:
    async def go() -> None:
        async with coordinator(lab, tmp_path) as it:
            shown = await presented_key(it.target(1), {}, SshLogin())
            path = Path(lab.path(1, "ssh", "ssh_host_ed25519_key.pub"))
            said = subprocess.run(
                ["ssh-keygen", "-lf", str(path)], capture_output=True, text=True, check=True
            )
            assert shown.fingerprint == said.stdout.split()[1] and shown == it.pins(1)[it.target(1).endpoint]

    asyncio.run(go())


def test_through_a_jump_host_both_keys_are_pinned(healed: Lab, tmp_path: Path) -> None:
    async def go() -> None:
        async with coordinator(healed, tmp_path) as it:
            target = it.target(2, hops=(it.target(1),))
            assert await presented_key(target, it.pins(1), SshLogin()) == it.pins(2)[it.target(2).endpoint]
            link = it.link(2, target=target)
            assert (await link.wait(UP, 10 * crowded())).up and await passes(link)
            assert (await it.back_door(2, "ss -Htn sport = :22")).count(healed.hosts[1]["addr"]) == 1
            for missing, pins in ((1, it.pins(2)), (2, it.pins(1))):
                with pytest.raises(ConnectError) as caught:
                    await open_session(target, pins, SshLogin(), timing())
                assert caught.value.fault is LinkFault.HOST_KEY_UNKNOWN
                assert it.target(missing).endpoint in str(caught.value)
            await asyncio.to_thread(healed.poweroff, [1], "crash")
            assert (await link.wait(DOWN, 10 * crowded())).error is not None

    asyncio.run(go())


PIPE = """import os, socket, sys, threading
s = socket.create_connection((sys.argv[1], int(sys.argv[2])))
print("through", sys.argv[1], file=sys.stderr, flush=True)
def up():
    while data := os.read(0, 65536): s.sendall(data)
    s.shutdown(socket.SHUT_WR)
threading.Thread(target=up, daemon=True).start()
while data := s.recv(65536): os.write(1, data)
"""


def test_through_a_proxy_command_the_key_is_pinned(healed: Lab, tmp_path: Path) -> None:
    """The command's own words, on standard error, are no part of the conversation; its end ends the link."""
    (tmp_path / "pipe.py").write_text(PIPE)
    (tmp_path / "config").write_text(
        f"Host box\n HostName {healed.hosts[2]['addr']}\n User ops\n IdentityFile {healed.dir}/id_ed25519\n"
        f" ProxyCommand '{sys.executable}' -S {tmp_path}/pipe.py %h %p\n"
    )
    target = resolve_target("box", Overrides(), SshPlaces.of({"HOME": str(tmp_path)}, tmp_path / "config"))

    async def go() -> None:
        async with coordinator(healed, tmp_path) as it:
            assert await presented_key(target, {}, SshLogin()) == it.pins(2)[it.target(2).endpoint]
            assert _pipes(tmp_path) == []
            link = it.link(2, target=target)
            assert (await link.wait(UP, 10 * crowded())).up and await passes(link)
            (pipe,) = _pipes(tmp_path)
            os.kill(pipe, signal.SIGKILL)
            assert (await link.wait(DOWN, 10 * crowded())).error is not None
            assert (await link.wait(UP, 10 * crowded())).up and await passes(link)
            await link.close()
            assert _pipes(tmp_path) == []
            wrong = {target.endpoint: it.pins(1)[it.target(1).endpoint]}
            with pytest.raises(ConnectError) as caught:
                await open_session(target, wrong, SshLogin(), timing())
            assert caught.value.fault is LinkFault.HOST_KEY_CHANGED
            for command, words in (
                (("/no/such/program",), "cannot start the ProxyCommand"),
                (("ls", "/no/such"), "No such file"),
            ):
                with pytest.raises(ConnectError) as caught:
                    await open_session(replace(target, proxy=command), wrong, SshLogin(), timing())
                assert words in f"{caught.value} {caught.value.why}" and caught.value.fix
            assert _pipes(tmp_path) == []

    asyncio.run(go())


def _pipes(folder: Path) -> list[int]:
    """Processes that run the test's ProxyCommand."""
    found = subprocess.run(["pgrep", "-f", f"{folder}/pipe.py"], capture_output=True, text=True, check=False)
    return [int(pid) for pid in found.stdout.split()]


def test_an_alias_with_jump_and_agent_from_ssh_config(lab: Lab, tmp_path: Path) -> None:
    """The key is only in the caller's own ssh-agent; host, user and jump are only in its ssh_config."""
    agent = subprocess.Popen(
        ["ssh-agent", "-D", "-a", str(tmp_path / "agent")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _load(tmp_path, lab)
        (tmp_path / "config").write_text(
            f"Host box\n HostName {lab.hosts[2]['addr']}\n ProxyJump bridge\n"
            f"Host bridge\n HostName {lab.hosts[1]['addr']}\nHost box bridge\n User ops\n"
        )
        places = SshPlaces.of(
            {"HOME": str(tmp_path), "SSH_AUTH_SOCK": str(tmp_path / "agent")}, tmp_path / "config"
        )
        target = in_session(resolve_target("box", Overrides(), places), places.environ)
        login = SshLogin(home=str(tmp_path), environ=places.environ)

        async def go() -> None:
            async with coordinator(lab, tmp_path) as it:
                session = await open_session(target, it.pins(1, 2), login, timing())
                assert (await Remote(session).run(["hostname"], 5)).text.strip() == "node2"
                await session.close()

        asyncio.run(go())
    finally:
        agent.terminate()
        agent.wait(10 * crowded())


def _load(folder: Path, lab: Lab) -> None:
    environment = {"SSH_AUTH_SOCK": str(folder / "agent"), "PATH": "/usr/bin:/bin", "HOME": str(folder)}
    for _ in range(50):
        add = ["ssh-add", "-q", f"{lab.dir}/id_ed25519"]
        if (
            subprocess.run(
                add, env=environment, capture_output=True, timeout=10 * crowded(), check=False
            ).returncode
            == 0
        ):
            return
        subprocess.run(["sleep", "0.1"], check=True)
    raise AssertionError("ssh-agent did not take the key")


def test_the_fleet_key_opens_links_and_nothing_more_until_it_is_taken_out(
    healed: Lab, tmp_path: Path
) -> None:
    async def go() -> None:
        async with coordinator(healed, tmp_path) as it, it.remote(3) as node:
            private = make_key()
            before = await it.back_door(3, "cat /home/ops/.ssh/authorized_keys")
            place = steps.NodeLocation.of("e2e", await probe_node(node, "e2e"))
            await run_step(node, steps.home_step(place))
            step = steps.install_key_step(
                authorized_line(_public(private, tmp_path), "e2e"), format_marker("e2e")
            )
            assert (await run_step(node, step)).changed and not (await run_step(node, step)).changed
            fleet = SshLogin(keys=(private,), own_only=True)
            link = it.link(3, fleet)
            assert (await link.wait(UP, 10 * crowded())).up and await passes(link)
            with pytest.raises(asyncssh.ChannelOpenError):
                await link.remote().conn.create_process("tty", term_type="xterm", encoding=None)
            await link.close()
            done = [await run_step(node, s) for s in steps.remove_steps(place, format_marker("e2e"))]
            assert done[-1].values("left") == () and done[-1].value("looked") == "yes"
            assert await it.back_door(3, "cat /home/ops/.ssh/authorized_keys") == before
            assert ".pancode" not in await it.back_door(3, "ls -A /home/ops")
            state = await it.link(3, fleet).wait(STOPPED, 10 * crowded())
            assert state.error is not None and state.error.fault is LinkFault.LOGIN_REFUSED

    asyncio.run(go())


def _public(private: str, folder: Path) -> str:
    path = folder / "fleet"
    path.write_text(private)
    path.chmod(0o600)
    done = subprocess.run(["ssh-keygen", "-yf", str(path)], capture_output=True, text=True, check=True)
    return HostKey.parse(done.stdout).line
