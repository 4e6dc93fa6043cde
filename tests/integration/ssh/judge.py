"""Draws SSH configurations, and asks the real ssh and PanCode whether `ssh HOST true` works.

Run as a program in network and mount namespaces of its own: `judge.py FOLDER FIRST COUNT DEAD`. It prints one
JSON line for each draw. `DEAD` is 1 if a draw may have an address that swallows all packets.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pancode.fleet.acts import NodeSpec
from pancode.fleet.ssh.connection import open_session
from pancode.fleet.ssh.errors import ConnectError, LinkFault, TargetError
from pancode.fleet.ssh.loop import LoopThread
from pancode.fleet.ssh.machines import look_at_host
from pancode.fleet.ssh.reach import login_for, pins_of, reach_to, target_of
from pancode.fleet.ssh.remote import Remote
from pancode.fleet.ssh.sshconfig import SshPlaces
from tests.crowd import until
from tests.integration.ssh.security_key import serve_security_key

DEAD4, DEAD6 = "10.91.0.9", "2001:db8:91::9"
PORTS = {
    "plain": 2201,
    "no forwarding": 2202,
    "no tcp": 2203,
    "one session": 2204,
    "certificate": 2205,
    "many keys": 2206,
}
"""The servers, by what is special about them."""
_SETTINGS = {
    "no forwarding": ["DisableForwarding yes"],
    "no tcp": ["AllowTcpForwarding no"],
    "one session": ["MaxSessions 1"],
}
NAMES = {
    "name": ["127.0.0.1"],
    "six": ["::1"],
    "both": ["::1", "127.0.0.1"],
    "many": ["127.0.0.7", "127.0.0.1"],
}
DEAD_NAMES = {"dead6": [DEAD6, "127.0.0.1"], "dead4": [DEAD4, "127.0.0.1"]}
KEYS = ("file", "default", "locked", "held", "signed")
IDENTITIES = (
    "file",
    "file",
    "default",
    "locked",
    "held",
    "any",
    "security key",
    "certificate",
    "none",
    "cold",
)
TRUST = ("plain", "plain", "hashed", "old and right", "other type", "pattern", "authority", "alias", "token")
DOUBT = ("absent", "wrong", "revoked")


@dataclass(frozen=True)
class Role:
    """One server of a draw: a jump host or the target, and how the user's files describe it."""

    alias: str
    server: str
    host: str
    trust: str
    identity: str
    only: bool
    family: str
    own_file: bool
    match: bool
    strict: str
    canonical: bool
    """Whether the host has no HostName, and is found by CanonicalDomains."""


@dataclass
class Draw:
    seed: int
    roles: list[Role]
    include: bool
    agent: str
    """Whether the SSH agent is named by the variable, or by IdentityAgent, also with a blank in its path."""
    timeout_s: int | None
    crowded: bool
    """Whether the agent has more keys than a server lets one try; then only the named ones are used."""
    lines: list[str] = field(default_factory=list)


def make_draw(seed: int, may_be_dead: bool) -> Draw:
    """Return the situation of this seed. Most parts are usual ones, so that most draws work."""
    r = random.Random(seed)
    hops = r.choice((0, 0, 0, 1, 1, 2))
    roles = [_make_role(r, f"hop{number}", may_be_dead) for number in range(hops)]
    roles.append(_make_role(r, "target", may_be_dead))
    timeout_s = 2 if may_be_dead or r.random() < 0.2 else None
    agent = r.choice(("variable", "setting", "quoted"))
    return Draw(seed, roles, r.random() < 0.3, agent, timeout_s, r.random() < 0.2)


def _make_role(r: random.Random, alias: str, may_be_dead: bool) -> Role:
    trust = r.choice(DOUBT) if r.random() < 0.12 else r.choice(TRUST)
    server = "certificate" if trust == "authority" else "many keys" if trust == "other type" else ""
    hosts = [*NAMES, *NAMES, "v4", "v6", *(DEAD_NAMES if may_be_dead else ())]
    return Role(
        alias,
        server
        or r.choice(("plain", "plain", "plain", "one session", "no forwarding", "no tcp", "many keys")),
        r.choice(hosts),
        trust,
        r.choice(IDENTITIES),
        r.random() < 0.4,
        r.choice(("any", "any", "any", "inet", "inet6")),
        r.random() < 0.3,
        r.random() < 0.2,
        # With `no`, ssh connects even to a host whose key is revoked, which PanCode never does.
        r.choice(("", "", "", "", "accept-new", "no" if trust != "revoked" else "")),
        alias == "target" and r.random() < 0.1,
    )


class Ground:
    """The servers, keys and agents that all draws use."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home, self.ssh = folder, folder / "home", folder / "home/.ssh"
        self.ended: list[subprocess.Popen[bytes]] = []
        self.loop = LoopThread("ssh")

    def begin(self, dead: bool) -> None:
        """Prepare the namespaces, make the keys and start the servers and the agents."""
        quietly("ip", "link", "set", "lo", "up")
        if dead:
            quietly("ip", "link", "add", "judgea", "type", "veth", "peer", "name", "judgeb")
            for name in ("judgea", "judgeb"):
                quietly("ip", "link", "set", name, "up")
            for address, gone in (("10.91.0.1/24", DEAD4), ("2001:db8:91::1/64", DEAD6)):
                more = ["nodad"] if ":" in address else []
                quietly("ip", "addr", "add", address, "dev", "judgea", *more)
                quietly("ip", "neigh", "add", gone, "lladdr", "02:00:00:00:00:09", "dev", "judgea")
        hosts = ["127.0.0.1 localhost"]
        hosts.append("127.0.0.1 target.example")
        hosts += [f"{one} {name}.example" for name, many in (NAMES | DEAD_NAMES).items() for one in many]
        (self.folder / "hosts").write_text("\n".join(hosts) + "\n")
        self.home.mkdir(mode=0o700)
        (self.folder / "passwd").write_text(
            f"root:x:0:0:root:{self.home}:/bin/sh\nsshd:x:101:65534::/run/sshd:/usr/sbin/nologin\n"
        )
        for name in ("hosts", "passwd"):
            quietly("mount", "--bind", str(self.folder / name), f"/etc/{name}")
        for name in (*KEYS, "user_ca", "host_ca", "old"):
            self.keygen(name, "secret" if name == "locked" else "")
        quietly(
            "ssh-keygen", "-q", "-s", self.path("user_ca"), "-I", "u", "-n", "root", self.path("signed.pub")
        )
        self._start_agents()
        trusted = [self.text(f"{name}.pub") for name in ("file", "default", "locked", "held", "security")]
        trusted.append(f"cert-authority {self.text('user_ca.pub')}")
        (self.folder / "authorized").write_text("\n".join(trusted) + "\n")
        for name, port in PORTS.items():
            self._start_server(name, port)

    def end(self) -> None:
        self.loop.stop()
        for one in self.ended:
            one.terminate()
            one.wait(10)

    def path(self, name: str) -> str:
        return str(self.folder / name.replace(" ", "_"))

    def text(self, name: str) -> str:
        return Path(self.path(name)).read_text().strip()

    def keygen(self, name: str, passphrase: str = "", kind: str = "ed25519") -> None:
        quietly("ssh-keygen", "-qt", kind, "-N", passphrase, "-f", self.path(name))

    def _start_agents(self) -> None:
        self.agents = {name: self.path(f"{name}.sock") for name in ("usual", "crowded", "security")}
        asked = self.folder / "askpass"
        asked.write_text("#!/bin/sh\necho secret\n")
        asked.chmod(0o700)
        for number in range(7):
            self.keygen(f"other{number}")
        others = [f"other{number}" for number in range(7)]
        for agent, names in (("usual", ["locked", "held"]), ("crowded", [*others, "locked", "held"])):
            argv = ["ssh-agent", "-D", "-a", self.agents[agent]]
            self.ended.append(subprocess.Popen(argv, stdout=subprocess.PIPE))
            until(Path(self.agents[agent]).exists, "the agent listens")
            environ = {**os.environ, "SSH_AUTH_SOCK": self.agents[agent], "SSH_ASKPASS": str(asked)}
            environ["SSH_ASKPASS_REQUIRE"] = "force"
            argv = ["ssh-add", "-q", *map(self.path, names)]
            subprocess.run(argv, env=environ, check=True, stderr=subprocess.DEVNULL)
        serve_security_key(self.agents["security"], Path(self.path("security")))

    def _start_server(self, name: str, port: int) -> None:
        kinds = ["ed25519"] if name != "many keys" else ["ed25519", "ecdsa", "rsa"]
        lines = [f"Port {port}", "ListenAddress 0.0.0.0", "ListenAddress ::", "UsePAM no", "StrictModes no"]
        lines += [f"AuthorizedKeysFile {self.folder}/authorized", "PidFile none", "PermitRootLogin yes"]
        lines += _SETTINGS.get(name, [])
        for kind in kinds:
            self.keygen(f"{name}.{kind}", kind=kind)
            lines.append(f"HostKey {self.path(f'{name}.{kind}')}")
        if name == "certificate":
            key = self.path(f"{name}.ed25519")
            hosts = ",".join(f"{one}.example" for one in [*NAMES, *DEAD_NAMES, "target"]) + ",127.0.0.1,::1"
            quietly(
                "ssh-keygen", "-q", "-s", self.path("host_ca"), "-I", "h", "-h", "-n", hosts, f"{key}.pub"
            )
            lines.append(f"HostCertificate {key}-cert.pub")
        config = self.folder / f"sshd{port}"
        config.write_text("\n".join(lines) + "\n")
        program = shutil.which("sshd", path="/usr/sbin:/usr/bin:/bin")
        assert program is not None
        Path("/run/sshd").mkdir(exist_ok=True)
        self.ended.append(subprocess.Popen([program, "-D", "-f", str(config)], stderr=subprocess.DEVNULL))
        until(lambda: _listens(port), f"the server {name} listens")

    # -- one draw ----------------------------------------------------------------------------------

    def write_files(self, draw: Draw) -> dict[str, str]:
        """Write the user's files for the draw; return the variables of the login session."""
        shutil.rmtree(self.ssh, ignore_errors=True)
        self.ssh.mkdir(mode=0o700)
        draw.lines, known = [], dict[str, list[str]]()
        if any(role.identity == "default" for role in draw.roles):
            shutil.copy(self.path("default"), self.ssh / "id_ed25519")
        before = ""
        for role in draw.roles:
            draw.lines += self._describe(draw, role, before, known)
            before = role.alias
        for name, lines in known.items():
            path = self.ssh / name
            path.parent.mkdir(exist_ok=True)
            path.write_text("".join(f"{line}\n" for line in lines))
            if any(role.trust == "hashed" for role in draw.roles):
                quietly("ssh-keygen", "-q", "-H", "-f", str(path))
        config = "\n".join(draw.lines) + "\n"
        if draw.include:
            (self.ssh / "more").write_text(config)
            config = "Include more\n"
        (self.ssh / "config").write_text(config)
        own = {"SSH_AUTH_SOCK": self._agent_of(draw)} if draw.agent == "variable" else {}
        return {"HOME": str(self.home)} | own

    def _agent_of(self, draw: Draw) -> str:
        if any(role.identity == "security key" for role in draw.roles):
            return self.agents["security"]
        is_crowded = draw.crowded and all(role.identity not in ("any", "default") for role in draw.roles)
        return self.agents["crowded" if is_crowded else "usual"]

    def _describe(self, draw: Draw, role: Role, before: str, known: dict[str, list[str]]) -> list[str]:
        port = PORTS[role.server]
        host = {"v4": "127.0.0.1", "v6": "::1"}.get(role.host, f"{role.host}.example")
        host = f"{role.alias}.example" if role.canonical else host
        lines = [f"Match originalhost {role.alias}" if role.match else f"Host {role.alias}"]
        lines += ["CanonicalizeHostname always", "CanonicalDomains example"] if role.canonical else []
        lines += [*([] if role.canonical else [f"HostName {host}"]), f"Port {port}", "User root"]
        lines += [f"StrictHostKeyChecking {role.strict}"] if role.strict else []
        lines += [f"AddressFamily {role.family}"] if role.family != "any" else []
        lines += [f"ProxyJump {before}"] if before else []
        lines += [f"ConnectTimeout {draw.timeout_s}"] if draw.timeout_s else []
        lines += self._name_identity(draw, role)
        named = f"[{host}]:{port}"
        file = f"known.{role.alias}" if role.own_file else "known_hosts"
        if role.trust in ("alias", "token"):
            named = f"{role.alias}-key"
            lines.append(f"HostKeyAlias {named}")
        if role.trust == "token":
            file = f"kh.d/{named}"
            lines.append("UserKnownHostsFile ~/.ssh/kh.d/%k")
        elif role.own_file:
            lines.append(f"UserKnownHostsFile {self.ssh}/{file}")
        known.setdefault(file, []).extend(self._make_known(role, named, host))
        return [lines[0], *(f"  {line}" for line in lines[1:])]

    def _name_identity(self, draw: Draw, role: Role) -> list[str]:
        is_named = role.identity not in ("any", "default")
        lines = ["IdentitiesOnly yes"] if role.only or (draw.crowded and is_named) else []
        copied = {"file": "file", "cold": "locked", "locked": "locked", "certificate": "signed"}
        if role.identity in copied:
            name = copied[role.identity]
            shutil.copy(self.path(name), self.ssh / name)
            shutil.copy(self.path(f"{name}.pub"), self.ssh / f"{name}.pub")
            lines.append(f"IdentityFile ~/.ssh/{name}")
        if role.identity == "certificate":
            shutil.copy(self.path("signed-cert.pub"), self.ssh / "my-cert.pub")
            lines.append("CertificateFile ~/.ssh/my-cert.pub")
        if role.identity == "held":
            shutil.copy(self.path("held.pub"), self.ssh / "held.pub")
            lines.append("IdentityFile ~/.ssh/held" + (".pub" if draw.seed % 2 else ""))
        if role.identity == "security key":
            for end in ("", ".pub"):
                shutil.copy(self.path(f"security{end}"), self.ssh / f"security{end}")
            lines.append("IdentityFile ~/.ssh/security")
        if role.identity in ("none", "cold"):
            return [*lines, "IdentityAgent none", *(["IdentityFile none"] if role.identity == "none" else [])]
        if draw.agent != "variable":
            path = self._agent_of(draw)
            if draw.agent == "quoted":
                link = self.ssh / "my agent"
                link.unlink(missing_ok=True)
                link.symlink_to(path)
                path = '"~/.ssh/my agent"'
            lines.append(f"IdentityAgent {path}")
        return lines

    def _make_known(self, role: Role, named: str, host: str) -> list[str]:
        right = [f"{named} {self.text(f'{role.server}.ed25519.pub')}"]
        old = f"{named} {self.text('old.pub')}"
        if role.trust == "absent":
            return []
        if role.trust == "wrong":
            return [old]
        if role.trust == "revoked":
            return [*right, f"@revoked {right[0]}"]
        if role.trust == "old and right":
            return [old, *right]
        if role.trust == "other type":
            return [f"{named} {self.text(f'{role.server}.ecdsa.pub')}"]
        if role.trust == "pattern":
            pattern = f"[{host[:2]}*]:*" if named.startswith("[") else f"{named[:3]}*"
            return [f"{pattern} {right[0].partition(' ')[2]}"]
        if role.trust == "authority":
            return [f"@cert-authority {named} {self.text('host_ca.pub')}"]
        return right


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def quietly(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)}: {done.stderr}")


def ask_ssh(alias: str, environ: Mapping[str, str]) -> tuple[str, str]:
    """Return ssh's verdict (works, trust, login, unreachable) and its words."""
    path = {"PATH": os.environ["PATH"], **environ}
    argv = ["ssh", "-T", "-o", "BatchMode=yes", alias, "true"]
    done = subprocess.run(
        argv, env=path, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    words = " ".join(done.stderr.split())[-300:]
    if done.returncode == 0:
        return "works", words
    if "ost key" in words or "HOST IDENTIFICATION" in words or "revoked" in words:
        return "trust", words
    if "Permission denied" in words or "Too many authentication" in words:
        return "login", words
    return "unreachable", words


def ask_pancode(alias: str, environ: Mapping[str, str], loop: LoopThread) -> tuple[str, str]:
    """Return PanCode's verdict in the same words: what `node add` and the first connection would do."""
    home = Path(environ["HOME"])
    try:
        offer = look_at_host(NodeSpec(alias), SshPlaces.of(environ), {}, home, loop)
        if not offer.known:
            return "trust", f"asks: {offer.question()['text']}"
        reach = reach_to(offer.target, offer.pins)

        async def login() -> int | None:
            session = await open_session(
                target_of(reach), pins_of(reach), login_for(reach, (), home, environ)
            )
            try:
                return (await Remote(session).run(["true"], 20)).status
            finally:
                await session.close()

        code = loop.call(login(), 60)
    except ConnectError as error:
        words = f"{error}; {error.why}; fix: {error.fix}"
        if error.fault in (LinkFault.HOST_KEY_CHANGED, LinkFault.HOST_KEY_UNKNOWN):
            return "trust", words
        if error.fault in (LinkFault.LOGIN_REFUSED, LinkFault.BAD_CREDENTIALS):
            return "login", words
        return "unreachable", words
    except TargetError as error:
        return "target", f"{error}; {error.why}"
    except Exception as error:  # a crash is a verdict, too
        return "crash", f"{type(error).__name__}: {error}"
    return ("works" if code == 0 else f"code {code}"), ""


def main(folder: str, first: str, count: str, dead: str) -> None:
    ground = Ground(Path(folder))
    try:
        ground.begin(dead == "1")
        for seed in range(int(first), int(first) + int(count)):
            draw = make_draw(seed, dead == "1")
            environ = ground.write_files(draw)
            theirs = ask_ssh(draw.roles[-1].alias, environ)
            ours = ask_pancode(draw.roles[-1].alias, environ, ground.loop)
            row = {"seed": seed, "ssh": theirs, "pancode": ours, "lines": draw.lines}
            row["roles"] = [asdict(role) for role in draw.roles]
            print(json.dumps(row), flush=True)
    finally:
        ground.end()


if __name__ == "__main__":
    main(*sys.argv[1:])
