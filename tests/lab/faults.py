"""What can go wrong with a host: its link, its processes, its sshd, its disk."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import IO, cast

from . import host
from .reports import Reports
from .state import Hosts, ipv6_of
from .system import Fail, alive, banner, in_namespace, ip, send, sh, started, wait_for, write

SSHD_KILL = "kill -KILL $(cat /run/sshd.pid) 2>/dev/null; "
SSHD_DO = {
    "stop": "touch /run/no-sshd; " + SSHD_KILL,
    "start": "rm -f /run/no-sshd",
    "restart": "rm -f /run/no-sshd; " + SSHD_KILL + "sleep 0.1",
}


class Faults(Reports):
    """The fault verbs of a Lab.  Each takes a list of host numbers."""

    def drop(self, ks: Hosts, how: str = "silent") -> None:
        """silent: packets vanish.  unplug: the carrier goes, connect says "no route to host"."""
        for k in ks:
            h = self.hosts[k]
            sh("ip", "link", "set", self._port(k), *(["nomaster"] if how == "silent" else ["down"]))
            if how == "unplug":
                for addr in (h["addr"], ipv6_of(h["addr"])):
                    sh("ip", "neigh", "del", addr, "dev", self.bridge, check=False)
            h["cut"] = how
        self.save()

    def heal(self, ks: Hosts) -> None:
        """Undo drop and slow."""
        for k in ks:
            h = self.hosts[k]
            self._unslow(k)
            if h["state"] != "off":
                there = f"lladdr {self.mac(k)} dev {self.bridge} nud permanent"
                ip(
                    f"link set {self.link(k)} master {self.bridge}",
                    f"link set {self.link(k)} up",
                    f"neigh replace {h['addr']} {there}",
                    f"neigh replace {ipv6_of(h['addr'])} {there}",
                )
            h["cut"] = None
        self.save()

    def _port(self, k: int) -> str:
        return self.link(k) + ("a" if self.hosts[k]["slow"] else "")

    def slow(self, ks: Hosts, delay: float = 0.0, jitter: float = 0.0, loss: float = 0.0) -> None:
        """Each way: milliseconds, milliseconds, percent.  Open connections survive."""
        for k in ks:
            h, a, b = self.hosts[k], self.link(k) + "a", self.link(k) + "b"
            if h["state"] == "off" or h["cut"]:
                raise Fail(f"node{k} is off or cut")
            self._unslow(k)
            ip(f"link add {a} type veth peer name {b}", f"link set {a} up", f"link set {b} up")
            pid = self._start_relay(k, [self.link(k), b, *(str(x) for x in (delay, jitter, loss))])
            h["relay"] = [pid, started(pid)]
            h["slow"] = {"delay": delay, "jitter": jitter, "loss": loss}
            ip(f"link set {self.link(k)} nomaster", f"link set {a} master {self.bridge}")
        self.save()

    def _start_relay(self, k: int, args: list[str]) -> int:
        relay = os.path.join(os.path.dirname(__file__), "relay.py")
        p = subprocess.Popen(
            [sys.executable, relay, *args],
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._children.append(p)
        out = cast("IO[bytes]", p.stdout)
        if out.readline() != b"ready\n":
            raise Fail(f"node{k}: the relay did not start")
        out.close()
        return p.pid

    def _unslow(self, k: int) -> None:
        h = self.hosts[k]
        if not h["slow"] or not h["relay"]:
            return
        pid, start = h["relay"]
        if alive(pid, start):
            send([pid])
        sh("ip", "link", "del", self.link(k) + "a", check=False)
        if not h["cut"]:
            sh("ip", "link", "set", self.link(k), "master", self.bridge, check=False)
        h["slow"] = h["relay"] = None

    def freeze(self, ks: Hosts) -> None:
        """SIGSTOP everything: TCP still connects, nothing answers."""
        self._signal_all(ks, signal.SIGSTOP, "frozen")

    def thaw(self, ks: Hosts) -> None:
        """SIGCONT everything."""
        self._signal_all(ks, signal.SIGCONT, "up")

    def _signal_all(self, ks: Hosts, sig: int, state: str) -> None:
        for k in ks:
            send(in_namespace("pid", self.hosts[k]["pidns"]), sig)
            self.hosts[k]["state"] = state
        self.save()

    def sshd(self, ks: Hosts, what: str, lines: Sequence[str] | None = None) -> None:
        """stop|start|restart the listener (sessions stay); `lines` replace the extra settings."""
        for k in ks:
            if lines is not None:
                self._configure(k, list(lines))
            self.run(k, SSHD_DO[what])
            if not self.hosts[k]["cut"]:
                self._await_sshd(k, what != "stop")
        self.save()

    def _await_sshd(self, k: int, answers: bool) -> None:
        addr = self.hosts[k]["addr"]
        wait_for(lambda: bool(banner(addr)) == answers, 10, f"node{k}: sshd answers: {answers}")

    def _configure(self, k: int, lines: list[str]) -> None:
        conf = self.path(k, "ssh", "sshd_config")
        write(conf + ".try", host.sshd_config(self.state["user"], lines, self.state["systemd"]), 0o600)
        p = self.run(k, "$(command -v sshd || echo /usr/sbin/sshd) -t -f /etc/ssh/sshd_config.try")
        if p.returncode:
            raise Fail(f"node{k}: sshd refuses these settings: {p.stderr.strip()}")
        os.replace(conf + ".try", conf)
        self.hosts[k]["sshd"] = lines

    def host_key(self, k: int) -> bytes:
        """The private key that host k proves itself with."""
        with open(self._key_file(k), "rb") as f:
            return f.read()

    def rekey(self, ks: Hosts, trust: bool = False, key: bytes | None = None) -> None:
        """Another host key (None: a new one); the lab's known_hosts keeps the old one unless `trust`."""
        for k in ks:
            self._make_key(k, key)
        self._write_files(known_hosts=trust)
        self.sshd(ks, "restart")

    def _key_file(self, k: int) -> str:
        return self.path(k, "ssh", "ssh_host_ed25519_key")

    def _make_key(self, k: int, key: bytes | None = None) -> None:
        f = self._key_file(k)
        for old in (f, f + ".pub"):
            if os.path.exists(old):
                os.unlink(old)
        if key is None:
            sh("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"node{k}", "-f", f)
        else:
            write(f, key.decode(), 0o600)
            write(f + ".pub", sh("ssh-keygen", "-y", "-f", f).stdout, 0o644)
        with open(f + ".pub") as pub:
            self.hosts[k]["host_key"] = " ".join(pub.read().split()[:2])

    def fault(self, ks: Hosts, name: str, on: bool = True) -> None:
        """Make or undo one of host.FAULTS; it survives poweroff and boot."""
        if name not in host.FAULTS:
            raise Fail(f"unknown fault {name!r}; have " + ", ".join(host.FAULTS))
        for k in ks:
            faults = self.hosts[k]["faults"]
            if on == (name in faults):
                continue
            (faults.append if on else faults.remove)(name)
            if name == "disk-full":
                self._fill(k, on)
            elif self.hosts[k]["state"] != "off":
                lines = host.fault_lines(name, "/home/" + self.state["user"], on)
                p = self.run(k, "\n".join(lines))
                if p.returncode:
                    raise Fail(f"node{k}: {name}: {p.stderr.strip()}")
        self.save()

    def _fill(self, k: int, on: bool) -> None:
        if not self.state["home_mb"]:
            raise Fail("disk-full needs `up --home-mb N`")
        ballast = self.path(k, "disk", "ballast")
        if not on:
            return os.unlink(ballast)
        with open(ballast, "wb") as f:
            for _ in range(100):  # what runs there may write between the look and the taking
                free = os.statvfs(self.path(k, "disk"))
                size = os.fstat(f.fileno()).st_size + free.f_bavail * free.f_frsize
                with contextlib.suppress(OSError):
                    return os.posix_fallocate(f.fileno(), 0, size)
        raise Fail(f"node{k}: its disk does not stand still")
