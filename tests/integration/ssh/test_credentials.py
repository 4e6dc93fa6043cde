"""Keys made by ssh-keygen and held by a real ssh-agent: what can be used is used, the rest is named."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import asyncssh
import pytest

from node_agent.wire.clock import SystemClock
from pancode.fleet.ssh.connection import SshTiming, as_host_key, open_session
from pancode.fleet.ssh.credentials import OfferedKeys, SshLogin, find_keys, is_encrypted
from pancode.fleet.ssh.errors import ConnectError, LinkFault
from pancode.fleet.ssh.home import Home, make_key
from pancode.fleet.ssh.link import Backoff
from pancode.fleet.ssh.links import Links, LinkSettings
from pancode.fleet.ssh.login_session import LoginSession
from pancode.fleet.ssh.reach import reach_to
from pancode.fleet.ssh.target import Target
from pancode.fleet.ssh.tunnel import TunnelTargets
from pancode.kernel.declared import to_json
from pancode.kernel.records import Node
from tests.crowd import until


def keygen(path: Path, passphrase: str = "", *more: str) -> Path:
    subprocess.run(["ssh-keygen", "-q", "-N", passphrase, "-f", str(path), *more], check=True, timeout=30)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """plain, locked and locked_pem keys; a home with a default key."""
    where = tmp_path_factory.mktemp("keys")
    keygen(where / "plain", "", "-t", "ed25519")
    keygen(where / "locked", "secret", "-t", "ed25519")
    keygen(where / "locked_pem", "secret", "-t", "ecdsa", "-m", "PEM")
    (where / "home/.ssh").mkdir(parents=True)
    keygen(where / "home/.ssh/id_ed25519", "", "-t", "ed25519")
    yield where


def target(*identities: Path, only: bool = False, agent: str | None = None) -> Target:
    return Target("box", "h", 22, "me", tuple(map(str, identities)), identities_only=only, agent_path=agent)


def test_which_keys_need_a_passphrase(folder: Path) -> None:
    said = {n: is_encrypted((folder / n).read_text()) for n in ("plain", "locked", "locked_pem")}
    assert said == {"plain": False, "locked": True, "locked_pem": True}
    assert (
        not is_encrypted(make_key())
        and not is_encrypted("")
        and not is_encrypted("-----BEGIN OPENSSH PRIVATE KEY")
    )


def public(path: Path) -> bytes:
    return asyncssh.read_public_key(path).public_data


def files(one: OfferedKeys) -> list[bytes]:
    return [pair.public_data for pair in one.pairs]


def test_named_files_then_defaults(folder: Path) -> None:
    home = SshLogin(home=str(folder / "home"))
    plain, default = public(folder / "plain.pub"), public(folder / "home/.ssh/id_ed25519.pub")
    assert files(find_keys(target(folder / "plain"), home)) == [plain]
    assert files(find_keys(target(), home)) == [default]
    assert files(find_keys(target(folder / "locked", folder / "plain"), home)) == [plain]


def test_the_agent_holds_what_is_locked(folder: Path) -> None:
    chosen = find_keys(target(folder / "locked", agent="/a"), SshLogin())
    assert (chosen.pairs, chosen.agent_path, chosen.only_named, chosen.lack) == ((), "/a", False, None)
    for name in ("locked", "locked.pub"):
        only = find_keys(target(folder / name, only=True, agent="/a"), SshLogin())
        assert (only.named, only.only_named) == ((public(folder / "locked.pub"),), True)


def test_our_own_key_needs_nothing_of_the_user(folder: Path) -> None:
    chosen = find_keys(target(folder / "plain", agent="/a"), SshLogin(keys=(make_key(),), own_only=True))
    assert len(chosen.pairs) == 1 and chosen.agent_path is None


@pytest.mark.parametrize(
    ("name", "words", "fix"),
    [
        ("locked", "passphrase", "ssh-add"),
        ("missing", "no SSH key", "IdentityFile"),
        ("locked.pub", "passphrase", "ssh-add"),
    ],
)
def test_nothing_to_log_in_with_is_told_once_a_server_refuses(
    folder: Path, name: str, words: str, fix: str
) -> None:
    lack = find_keys(target(folder / name), SshLogin()).lack
    assert lack is not None and lack.fault is LinkFault.BAD_CREDENTIALS and lack.permanent
    assert words in str(lack) and fix in lack.fix


def test_only_the_named_identity_is_offered(folder: Path) -> None:
    chosen = find_keys(target(folder / "missing", only=True, agent="/a"), SshLogin())
    assert chosen.agent_path is None and chosen.lack is not None


class Strict(asyncssh.SSHServer):
    """A server that knows one key, and ends a login at the third that it does not know, as sshd does at the
    seventh. `seen` has the keys that were offered."""

    def __init__(self, known: bytes | None) -> None:
        self.known, self.seen = known, list[bytes]()

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self.conn = conn

    def begin_auth(self, username: str) -> bool:
        return self.known is not None

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        if key.public_data not in self.seen:
            self.seen.append(key.public_data)
        if key.public_data != self.known and len(self.seen) >= 3:
            raise asyncssh.ProtocolError("Too many authentication failures")
        return key.public_data == self.known


async def log_in(server: Strict, one: Target, hop: tuple[Strict, Target] | None = None) -> None:
    """Log in to a server, and before that to `hop`, a jump host, where one is given."""
    host_key = asyncssh.generate_private_key("ssh-ed25519")
    async with AsyncExitStack() as doors:

        async def at(server: Strict, one: Target) -> Target:
            """The target, where this server listens now."""
            listening = asyncssh.listen(
                "127.0.0.1", 0, server_factory=lambda: server, server_host_keys=[host_key]
            )
            listener = await doors.enter_async_context(listening)
            return replace(one, host="127.0.0.1", port=listener.get_port())

        hops = (await at(*hop),) if hop else ()
        there = replace(await at(server, one), hops=hops)
        pins = {each.endpoint: as_host_key(host_key) for each in (*hops, there)}
        session = await open_session(there, pins, SshLogin())
        await session.close()


@pytest.fixture
def full_agent(folder: Path, tmp_path: Path) -> Iterator[str]:
    """A real ssh-agent with five keys that no server knows, and behind them the locked one."""
    socket = str(tmp_path / "a")
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.DEVNULL)
    until(lambda: Path(socket).exists(), "the agent is there")
    junk = [keygen(tmp_path / f"junk{n}", "", "-t", "ed25519") for n in range(5)]
    bare = tmp_path / "bare"
    shutil.copy(folder / "locked", bare)
    bare.chmod(0o600)
    subprocess.run(["ssh-keygen", "-q", "-p", "-P", "secret", "-N", "", "-f", str(bare)], check=True)
    environ = {**os.environ, "SSH_AUTH_SOCK": socket}
    subprocess.run(["ssh-add", "-q", *map(str, junk), str(bare)], env=environ, check=True)
    try:
        yield socket
    finally:
        agent.terminate()
        agent.wait()


def test_a_node_is_reached_with_the_agent_of_a_later_login(folder: Path, full_agent: str) -> None:
    """The agent at the time of `node add` has ended: the error names it; a later caller has another one."""
    gone = str(folder / "ended")
    Path(gone).touch()
    session = LoginSession({"SSH_AUTH_SOCK": gone}, SystemClock())
    session.environ()
    Path(gone).unlink()

    async def go() -> None:
        server = Strict(public(folder / "locked.pub"))
        host_key = asyncssh.generate_private_key("ssh-ed25519")
        listening = asyncssh.listen(
            "127.0.0.1", 0, server_factory=lambda: server, server_host_keys=[host_key]
        )
        async with listening as listener:
            alias = Target("far", "127.0.0.1", listener.get_port(), "me", ("${KEYS}/locked",), refers=True)
            alias = replace(alias, agent_path="$SSH_AUTH_SOCK")
            reach = reach_to(alias, {alias.endpoint: as_host_key(host_key)})
            node = Node("far", 0, json.loads(json.dumps(to_json(reach))), {}, 4)
            links = Links(
                LinkSettings(
                    "f", Home(folder), folder / "nobody", TunnelTargets(folder, folder),
                    SshTiming(), Backoff(), lambda _: node, session=session,
                )
            )  # fmt: skip
            with pytest.raises(ConnectError) as caught:
                await links.dial("far")
            assert caught.value.fault is LinkFault.BAD_CREDENTIALS and not server.seen
            assert f"{gone} does not exist (it did at " in caught.value.why
            assert "KEYS is not set" in caught.value.why
            assert "pancode fleet up far" in caught.value.fix_at("far")
            session.see({"HOME": str(folder), "SSH_AUTH_SOCK": full_agent, "KEYS": str(folder)}, whole=True)
            await (await links.dial("far")).close()

    asyncio.run(go())


def test_named_keys_come_before_those_that_lie_in_an_agent(folder: Path, full_agent: str) -> None:
    file = Strict(public(folder / "plain.pub"))
    asyncio.run(log_in(file, target(folder / "plain", agent=full_agent)))
    held = Strict(public(folder / "locked.pub"))
    asyncio.run(log_in(held, target(folder / "locked", agent=full_agent)))
    assert (len(file.seen), len(held.seen)) == (1, 1)


class Hop(Strict):
    """A jump host that is as strict."""

    def connection_requested(self, *_: object) -> bool:
        return True


def test_named_keys_come_first_on_a_jump_host_and_behind_it(folder: Path, full_agent: str) -> None:
    hop, end = Hop(public(folder / "plain.pub")), Strict(public(folder / "locked.pub"))
    before = (hop, target(folder / "plain", agent=full_agent))
    asyncio.run(log_in(end, target(folder / "locked", agent=full_agent), before))
    assert (len(hop.seen), len(end.seen)) == (1, 1)


def test_settings_that_the_library_does_not_take_are_named_with_the_way_to_look_at_them(folder: Path) -> None:
    strange = replace(target(folder / "plain"), algorithms=(("kex_algs", "of-tomorrow@example.org"),))
    with pytest.raises(ConnectError) as caught:
        asyncio.run(log_in(Strict(public(folder / "plain.pub")), strange))
    assert caught.value.fault is LinkFault.BAD_CREDENTIALS and caught.value.permanent
    assert "of-tomorrow@example.org" in caught.value.why and caught.value.fix.endswith("ssh -G box")


def test_a_server_that_hangs_up_on_a_login_has_refused_it(folder: Path, full_agent: str) -> None:
    with pytest.raises(ConnectError) as caught:
        asyncio.run(log_in(Strict(b"nobody's"), target(agent=full_agent)))
    assert caught.value.fault is LinkFault.LOGIN_REFUSED and caught.value.permanent
    assert "ssh-add -d" in caught.value.fix


def test_a_server_that_wants_no_key_is_asked_before_one_is_missed(folder: Path, tmp_path: Path) -> None:
    nothing = target(folder / "missing", only=True)
    asyncio.run(log_in(Strict(None), nothing))
    with pytest.raises(ConnectError, match="no SSH key") as caught:
        asyncio.run(log_in(Strict(b"somebody's"), nothing))
    assert caught.value.fault is LinkFault.BAD_CREDENTIALS


class Asking(Strict):
    """It asks these questions after the key, or in its place."""

    def __init__(self, known: bytes | None, *prompts: str) -> None:
        super().__init__(known)
        self.prompts = [(prompt, False) for prompt in prompts]

    def begin_auth(self, username: str) -> bool:
        return True

    def kbdint_auth_supported(self) -> bool:
        return True

    def get_kbdint_challenge(self, *_: object) -> tuple[str, str, str, list[tuple[str, bool]]]:
        return "", "", "", self.prompts

    def validate_kbdint_response(self, username: str, responses: Sequence[str]) -> bool:
        return list(responses) == [""] * len(self.prompts)


def test_a_server_that_asks_no_question_lets_in_and_one_that_asks_a_user_is_named(folder: Path) -> None:
    nothing = target(folder / "missing", only=True)
    asyncio.run(log_in(Asking(None), nothing))
    with pytest.raises(ConnectError) as caught:
        asyncio.run(log_in(Asking(None, "Verification code: "), target(folder / "plain")))
    assert caught.value.fault is LinkFault.LOGIN_REFUSED and caught.value.permanent
    assert "Verification code:" in caught.value.why and "AuthenticationMethods publickey" in caught.value.fix


def test_a_key_that_an_authority_has_signed_lets_in(folder: Path, tmp_path: Path) -> None:
    authority = keygen(tmp_path / "authority", "", "-t", "ed25519")
    own = tmp_path / "own"
    shutil.copy(folder / "plain", own)
    own.chmod(0o600)
    shutil.copy(folder / "plain.pub", tmp_path / "own.pub")
    subprocess.run(
        ["ssh-keygen", "-q", "-s", str(authority), "-I", "me", "-n", "me", str(tmp_path / "own.pub")],
        check=True,
    )

    class Signed(Strict):
        def validate_ca_key(self, username: str, key: asyncssh.SSHKey) -> bool:
            return key.public_data == public(tmp_path / "authority.pub")

    asyncio.run(log_in(Signed(b"nobody's"), replace(target(own), user="me")))
