"""What callers' login sessions provide, from the newest to the next start; no process and no socket."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from pancode.fleet.ssh.errors import ConnectError, LinkFault
from pancode.fleet.ssh.link import LinkKind, LinkState
from pancode.fleet.ssh.links import Links
from pancode.fleet.ssh.login_session import LoginSession, find_variables
from pancode.fleet.ssh.target import Target, in_session, with_agent
from tests.fakes.node.clock import MemoryClock


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / ".ssh/config.d").mkdir(parents=True)
    (tmp_path / ".ssh/config").write_text("Host a\n IdentityFile ${KEYS}/id\n IdentityAgent $MY_AGENT\n")
    (tmp_path / ".ssh/config.d/work").write_text("Host b\n CertificateFile ${CERTS}/c\n Port ${HOME}\n")
    return tmp_path


def caller(home: Path, **more: str) -> dict[str, str]:
    return {"HOME": str(home), **more}


def in_use(own: dict[str, str]) -> dict[str, str]:
    """An empty proxy is not used."""
    return {name: value for name, value in own.items() if value}


def socket_at(home: Path, name: str) -> str:
    (home / name).touch()
    return str(home / name)


def test_the_names_of_the_ssh_settings(home: Path) -> None:
    assert {"KEYS", "MY_AGENT", "CERTS"} == set(find_variables(home)) - {"LANG"}


def test_the_newest_agent_that_exists_applies(home: Path) -> None:
    own = {"PATH": "/usr/bin", "HOME": "/own", "SSH_AUTH_SOCK": socket_at(home, "first")}
    session = LoginSession(own)
    changes = list[str]()
    session.changed = lambda: changes.append(own["SSH_AUTH_SOCK"])
    session.see(caller(home, SSH_AUTH_SOCK=socket_at(home, "second")))
    assert session.environ()["SSH_AUTH_SOCK"] == own["SSH_AUTH_SOCK"] == str(home / "second")
    assert changes == [str(home / "second")]
    session.see(caller(home))
    assert own["SSH_AUTH_SOCK"] == str(home / "second"), "a caller without an agent, such as cron"
    (home / "second").unlink()
    assert session.environ()["SSH_AUTH_SOCK"] == str(home / "first")
    (home / "first").unlink()
    assert session.environ()["SSH_AUTH_SOCK"] == str(home / "second"), "the one to name in the error"
    assert own["HOME"] == "/own" and own["PATH"] == "/usr/bin"


def test_a_proxy_that_the_newest_caller_lacks_no_longer_applies(home: Path) -> None:
    own = {"ALL_PROXY": "http://started-with"}
    session = LoginSession(own, borrowed=True)
    session.see(caller(home, HTTPS_PROXY="http://a"), whole=True)
    assert in_use(own) == {"HTTPS_PROXY": "http://a"}
    session.see(caller(home))
    assert in_use(own) == {"HTTPS_PROXY": "http://a"}, "these variables were not all of the caller's"
    session.see(caller(home), whole=True)
    assert in_use(own) == {}
    service = {"ALL_PROXY": "http://of-the-unit"}
    session = LoginSession(service)
    session.see(caller(home, all_proxy="http://b"), whole=True)
    assert in_use(service) == {"all_proxy": "http://b"}
    session.see(caller(home), whole=True)
    assert in_use(service) == {"ALL_PROXY": "http://of-the-unit"}


def test_the_programs_of_all_callers_are_found(home: Path) -> None:
    own = {"PATH": "/usr/bin:/bin"}
    session = LoginSession(own)
    session.see(caller(home, PATH="/of/a/request"))
    assert own["PATH"] == "/usr/bin:/bin", "a request may come from another machine"
    session.see(caller(home, PATH=".:/home/me/bin:/bin"), whole=True)
    assert own["PATH"] == "/usr/bin:/bin:/home/me/bin"


@pytest.mark.parametrize("name", ["LD_PRELOAD", "GIT_SSH_COMMAND", "PYTHONPATH", "BASH_ENV", "PANCODE_HOME"])
def test_no_caller_sets_what_could_run_other_code(home: Path, name: str) -> None:
    (home / ".ssh/config").write_text(f"IdentityFile ${{{name}}}/id\nIdentityFile ${{KEYS}}/id\n")
    own: dict[str, str] = {}
    LoginSession(own).see(caller(home, **{name: "/evil", "KEYS": "/keys"}), whole=True)
    assert name not in own and own["KEYS"] == "/keys"


def test_a_runtime_folder_that_is_gone_is_not_taken(home: Path) -> None:
    own = {"XDG_RUNTIME_DIR": str(home)}
    session = LoginSession(own)
    session.see(caller(home, XDG_RUNTIME_DIR=str(home / "gone")))
    assert own["XDG_RUNTIME_DIR"] == str(home)
    session.see(caller(home, XDG_RUNTIME_DIR=str(home / ".ssh")))
    assert own["XDG_RUNTIME_DIR"] == str(home / ".ssh")


def test_the_next_start_knows_the_session_and_no_secret(home: Path) -> None:
    file, clock = home / "run/login.json", MemoryClock()
    agent = socket_at(home, "agent")
    session = LoginSession({"PATH": "/bin"}, clock, file)
    given = caller(home, SSH_AUTH_SOCK=agent, KEYS="/keys", TOKEN="secret", https_proxy="http://u:p@x")
    session.see(given, whole=True)
    assert session.environ()["TOKEN"] == "secret", "a ProxyCommand gets it"
    stored = json.loads(file.read_text())
    assert {"SSH_AUTH_SOCK", "KEYS", "PATH"} == set(stored) and file.stat().st_mode & 0o077 == 0
    later = LoginSession({"PATH": "/usr/bin"}, clock, file)
    assert (later.environ()["SSH_AUTH_SOCK"], later.environ()["KEYS"]) == (agent, "/keys")
    assert "(it did at " in later.date(f"the SSH agent's socket {agent} does not exist")
    file.write_text("[")
    assert LoginSession({}, clock, file).environ() == {}


NEW = Target("a", "a", 22, "me", ("${KEYS}/id", "/plain"), refers=True, agent_path="$SSH_AUTH_SOCK")


def test_references_follow_the_session(home: Path) -> None:
    agent = socket_at(home, "agent")
    target = in_session(NEW, {"KEYS": "/k", "SSH_AUTH_SOCK": agent})
    assert (target.identities, target.agent_path, target.lacks) == (("/k/id", "/plain"), agent, ())
    gone = in_session(NEW, {"SSH_AUTH_SOCK": "/gone"})
    assert gone.identities == ("/plain",)
    assert "/gone does not exist" in gone.lacks[0] and "KEYS is not set" in gone.lacks[1]
    hop = in_session(Target("b", "b", 22, "me", hops=(NEW,), refers=True), {"KEYS": "/k"}).hops[0]
    assert hop.identities[0] == "/k/id" and hop.agent_path is None


def test_an_agent_of_the_ssh_settings_comes_before_the_sessions(home: Path) -> None:
    own, theirs = socket_at(home, "own"), socket_at(home, "theirs")
    for path, used in ((own, own), ("${AT}/own", own), (None, None)):
        target = with_agent(Target("a", "a", 22, "me", agent_path=path, refers=True), theirs)
        assert in_session(target, {"SSH_AUTH_SOCK": theirs, "AT": str(home)}).agent_path == used


def test_an_older_record_uses_its_path_while_it_exists(home: Path) -> None:
    old, new = Target("a", "a", 22, "me", agent_path=socket_at(home, "old")), socket_at(home, "new")
    assert in_session(old, {"SSH_AUTH_SOCK": new}).agent_path == str(home / "old")
    assert with_agent(old, new).agent_path == new, "the agent of this call"
    (home / "old").unlink()
    assert in_session(old, {"SSH_AUTH_SOCK": new}).agent_path == new
    alone = in_session(old, {})
    assert alone.agent_path == str(home / "old") and "does not exist" in alone.lacks[0]
    without = Target("a", "a", 22, "me")
    assert in_session(without, {"SSH_AUTH_SOCK": new}).agent_path == new
    assert in_session(without, {}).lacks == ()


class StoppedLink:
    """A link that has stopped with this fault."""

    def __init__(self, fault: LinkFault, kind: LinkKind = LinkKind.STOPPED) -> None:
        self.state, self.starts = LinkState(kind, error=ConnectError(fault, "why")), 0

    def start(self) -> None:
        self.starts += 1


@pytest.mark.parametrize(
    ("link", "starts"),
    [
        (StoppedLink(LinkFault.BAD_CREDENTIALS), 1),
        (StoppedLink(LinkFault.LOGIN_REFUSED), 1),
        (StoppedLink(LinkFault.HOST_KEY_CHANGED), 0),
        (StoppedLink(LinkFault.BAD_CREDENTIALS, LinkKind.CLOSED), 0),
    ],
)
def test_a_later_session_revives_links_that_lacked_a_login(link: StoppedLink, starts: int) -> None:
    links = Links.__new__(Links)
    links._links = {"far": link}  # type: ignore[dict-item]
    asyncio.run(links.revive())
    assert link.starts == starts
