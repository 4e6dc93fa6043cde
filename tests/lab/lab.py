"""A lab: N hosts on one bridge, and the verbs that start and remove them."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from . import host, systemd
from .faults import Faults
from .state import PREFIX, Hosts, HostState, ipv6_of
from .system import (
    Fail,
    alive,
    banner,
    in_namespace,
    ip,
    lock,
    read,
    require,
    send,
    sh,
    started,
    wait_for,
    which,
    write,
)

GATEWAY_MAC = "02:74:68:00:00:01"
BOOT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class Spec:
    """What the hosts are like.  home_mb: homes are a tmpfs of this size; share: paths they may read.

    systemd: PID 1 is a live one, the user lingers, and each SSH login is a session of its own.
    """

    user: str = "ops"
    shell: str = "/bin/bash"
    home_mb: int = 0
    share: tuple[str, ...] = ()
    systemd: bool = False


def own_name(prefix: str = "e") -> str:
    """A lab name that no other live process of this machine has (prefix: one letter)."""
    n, text = os.getpid(), ""
    while n:
        n, d = divmod(n, 36)
        text = DIGITS[d] + text
    return prefix + text


def reap() -> list[str]:
    """Take down the labs whose owner died without doing so; returns their names."""
    out = []
    for entry in os.listdir(tempfile.gettempdir()):
        if not entry.startswith(PREFIX):
            continue
        lab = Lab(entry.removeprefix(PREFIX))
        with contextlib.suppress(Fail), lab.locked():  # two sessions may begin at once
            owner = lab.state["owner"]
            if owner and not alive(*owner):
                lab.down()
                out.append(lab.name)
    return out


class Lab(Faults):
    """with Lab("t1").up(3) as lab: lab.inventory(); lab.drop([2]); lab.heal([2])"""

    def __init__(self, name: str = "lab", owned: bool = False) -> None:
        """owned: the lab may be reaped once this process is dead."""
        super().__init__(name)
        self._owned = owned

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.down()

    # ---- up
    def up(self, n: int, spec: Spec | None = None, replace: bool = False) -> Self:
        """Start n hosts and wait until each sshd answers; on any failure nothing is left."""
        spec = spec or Spec()
        require(systemd.lacks() if spec.systemd else [])
        if not 1 <= n <= 100:
            raise Fail("N must be 1..100")
        if os.path.exists(f"{self.dir}/state.json") and not replace:
            raise Fail(f"lab {self.name!r} is already up; `down` it first, or give --replace")
        self.down()  # leftovers of a lab of this name
        os.makedirs(self.dir, 0o700)
        with self._all_or_nothing(n):
            self._make(n, spec)
            self.boot(list(self.hosts))
        return self

    @contextlib.contextmanager
    def _all_or_nothing(self, n: int) -> Iterator[None]:
        try:
            yield
        except BaseException as e:
            logs = "".join(f"--- node{k}\n{read(self.path(k, 'boot.log'))[-1500:]}" for k in range(1, n + 1))
            self.down()
            if isinstance(e, Fail):
                raise Fail(f"{e}\n{logs}") from None
            raise

    def _make(self, n: int, spec: Spec) -> None:
        with lock("network"):
            net = _free_subnet()
            ip(
                f"link add {self.bridge} type bridge forward_delay 0 stp_state 0",
                f"link set {self.bridge} address {GATEWAY_MAC}",
                f"addr add {net[1]}/24 dev {self.bridge}",
                f"addr add {ipv6_of(str(net[1]))}/112 dev {self.bridge} nodad",
                f"link set {self.bridge} up",
            )
        self._state = {
            "name": self.name,
            "coordinator": str(net[1]),
            "user": spec.user,
            "shell": spec.shell,
            "share": [os.path.abspath(s) for s in spec.share],
            "home_mb": spec.home_mb,
            "systemd": spec.systemd,
            "owner": [os.getpid(), started(os.getpid())] if self._owned else None,
            "hosts": {str(k): _fresh(k, str(net[10 + k])) for k in range(1, n + 1)},
        }
        sh(
            *("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"lab-{self.name}"),
            *("-f", f"{self.dir}/id_ed25519"),
        )
        for k in self.hosts:
            self._make_disk(k)
            self._make_key(k)
        self._write_files()

    def _make_disk(self, k: int) -> None:
        st, uid, disk = self.state, self.hosts[k]["uid"], self.path(k, "disk")
        for d in (disk, self.path(k, "root"), self.path(k, "ssh")):
            os.makedirs(d)
        if st["home_mb"]:
            sh("mount", "-t", "tmpfs", "-o", f"mode=755,size={st['home_mb']}m", "tmpfs", disk)
        os.makedirs(disk + "/home/.ssh", 0o700)
        os.chmod(disk + "/home", 0o755)
        shutil.copy(f"{self.dir}/id_ed25519.pub", disk + "/home/.ssh/authorized_keys")
        for f in (".bashrc", ".profile"):
            write(f"{disk}/home/{f}", "# a lab host\n")
        for f in ("", "/.ssh", "/.ssh/authorized_keys", "/.bashrc", "/.profile"):
            os.chown(f"{disk}/home{f}", uid, uid)

    # ---- power
    def boot(self, ks: Hosts) -> None:
        """Power on: same address, home, host key and faults; /tmp is empty."""
        for k in ks:
            if self.hosts[k]["state"] != "off":
                raise Fail(f"node{k} is {self.hosts[k]['state']}")
            self._plug(k)
            self._write_inside(k)
            self._start_init(k)
        for k in ks:
            self._await_init(k)
        for k in ks:
            self._await_boot(k)

    def _plug(self, k: int) -> None:
        h, ns, gateway = self.hosts[k], self.link(k), self.state["coordinator"]
        self._cut_links(k)  # a crash leaves them
        ip(
            f"netns add {ns}",
            f"link add {ns} type veth peer name eth0 address {self.mac(k)} netns {ns}",
            f"link set {ns} master {self.bridge}",
            f"link set {ns} up",
            f"neigh replace {h['addr']} lladdr {self.mac(k)} dev {self.bridge} nud permanent",
            f"neigh replace {ipv6_of(h['addr'])} lladdr {self.mac(k)} dev {self.bridge} nud permanent",
        )
        ip(
            f"addr add {h['addr']}/24 dev eth0",
            f"addr add {ipv6_of(h['addr'])}/112 dev eth0 nodad",
            "link set eth0 up",
            f"neigh replace {gateway} lladdr {GATEWAY_MAC} dev eth0 nud permanent",
            f"neigh replace {ipv6_of(gateway)} lladdr {GATEWAY_MAC} dev eth0 nud permanent",
            netns=ns,
        )

    def _write_inside(self, k: int) -> None:
        h, st, d = self.hosts[k], self.state, self.path(k)
        who = host.Account(st["user"], h["uid"], st["shell"], st["systemd"])
        peers = [(o["addr"], o["name"]) for o in self.hosts.values() if o is not h]
        host.write_etc(d + "/etc", h["name"], who, [(st["coordinator"], "coordinator"), *peers])
        write(d + "/ssh/sshd_config", host.sshd_config(st["user"], h["sshd"], st["systemd"]), 0o600)
        if st["systemd"]:
            systemd.write_etc(d + "/etc", h["name"])
            write(d + "/boot.sh", systemd.boot_script(d, self._group(k)))
        write(d + "/init.sh", host.init_script(d, h["name"], who, st["share"], h["faults"]))

    def _group(self, k: int) -> str:
        """The control group of a host with a systemd of its own."""
        return f"{PREFIX}{self.link(k)}"

    def _start_init(self, k: int) -> None:
        d, first = self.path(k), "/boot.sh" if self.state["systemd"] else "/init.sh"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(d + "/pid")
        argv = [which("ip"), "netns", "exec", self.link(k), which("unshare"), "-m", "-u", "-i", "-p"]
        with open(d + "/boot.log", "ab") as log:
            p = subprocess.Popen(
                [*argv, "--fork", "--kill-child", "sh", d + first],
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={"PATH": BOOT_PATH},
            )
        self._children.append(p)

    def _await_init(self, k: int) -> None:
        h, pidfile = self.hosts[k], self.path(k, "pid")
        wait_for(lambda: read(pidfile).endswith("\n"), 10, f"node{k} did not start")
        pid = int(read(pidfile))
        h["pid"], h["start"], h["state"] = pid, started(pid), "up"
        h["pidns"] = os.stat(f"/proc/{pid}/ns/pid").st_ino
        self.save()

    def _await_boot(self, k: int) -> None:
        h = self.hosts[k]
        wait_for(lambda: not alive(h["pid"], h["start"]) or banner(h["addr"]), 15, f"node{k}: no sshd")
        if not alive(h["pid"], h["start"]):
            raise Fail(f"node{k} died while booting")

    def poweroff(self, ks: Hosts, how: str = "power") -> None:
        """power: peers see silence.  crash: the processes die, the network lives (FIN/RST)."""
        for k in ks:
            h = self.hosts[k]
            if h["state"] == "off":
                continue
            if how == "power":
                self.drop([k])
            self._kill(h)
            self._unslow(k)
            if how == "power":
                self._cut_links(k)
            h["state"], h["cut"] = "off", None
        self.save()

    def _kill(self, h: HostState) -> None:
        def gone() -> bool:
            return not alive(h["pid"], h["start"]) and not in_namespace("pid", h["pidns"])

        if alive(h["pid"], h["start"]):
            send([h["pid"]])  # PID 1 dies: the kernel kills the rest
        wait_for(gone, 10, f"{h['name']} still runs")
        self._children = [c for c in self._children if c.poll() is None]

    def _cut_links(self, k: int) -> None:
        sh("ip", "link", "del", self.link(k), check=False)
        sh("ip", "netns", "del", self.link(k), check=False)

    # ---- down
    def down(self) -> None:
        """Remove everything of this lab; works from the kernel's state if the files are lost."""
        with contextlib.suppress(Fail):
            for h in self.hosts.values():
                if alive(h["pid"], h["start"]):
                    send([h["pid"]])
        mine = re.compile(rf"{self.name}-\d+[ab]?$")
        nets = [n for n in _listdir("/run/netns") if mine.match(n)]
        _end_namespaces(nets)
        self._remove_links(mine, nets)
        systemd.remove_groups(f"{PREFIX}{self.name}-")
        for line in read("/proc/self/mountinfo").splitlines():
            if line.split()[4].startswith(self.dir + "/"):
                sh("umount", "-l", line.split()[4])
        shutil.rmtree(self.dir, ignore_errors=True)
        for c in self._children:
            c.wait(10)
        self._state, self._children = None, []

    def _remove_links(self, mine: re.Pattern[str], nets: list[str]) -> None:
        links = re.findall(r"^\d+: ([^:@\s]+)", sh("ip", "-o", "link", check=False).stdout, re.MULTILINE)
        with lock("network"):
            ip(
                *[f"link del {x}" for x in links if mine.match(x) or x == self.bridge],
                *[f"netns del {n}" for n in nets],
                check=False,
            )
            if os.path.ismount("/run/netns") and not os.listdir("/run/netns"):
                sh("umount", "/run/netns", check=False)
                with contextlib.suppress(OSError):
                    os.rmdir("/run/netns")


def _listdir(path: str) -> list[str]:
    return os.listdir(path) if os.path.isdir(path) else []


def _end_namespaces(nets: list[str]) -> None:
    inodes = [os.stat("/run/netns/" + n).st_ino for n in nets]
    for inode in inodes:
        send(in_namespace("net", inode))
    wait_for(lambda: not any(in_namespace("net", i) for i in inodes), 10, "a process of the lab does not die")


def _fresh(k: int, addr: str) -> HostState:
    return {
        "name": f"node{k}",
        "addr": addr,
        "uid": 21000 + k,
        "state": "off",
        "pid": 0,
        "start": 0,
        "pidns": 0,
        "cut": None,
        "slow": None,
        "relay": None,
        "sshd": [],
        "faults": [],
        "host_key": "",
    }


def _free_subnet() -> ipaddress.IPv4Network:
    routes = sh("ip", "-4", "route", "show", "table", "all").stdout
    found = re.findall(r"(\d+\.\d+\.\d+\.\d+(?:/\d+)?) ", routes)
    used = [ipaddress.IPv4Network(m) for m in found if not m.startswith("0.")]
    for x in range(1, 255):
        net = ipaddress.IPv4Network(f"10.201.{x}.0/24")
        if not any(net.overlaps(u) for u in used if u.prefixlen):
            return net
    raise Fail("no free 10.201.X.0/24")
