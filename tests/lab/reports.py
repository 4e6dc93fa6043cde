"""Tells how to reach the hosts and how they are, and runs programs inside them."""

from __future__ import annotations

import json
import shlex
import subprocess
from typing import Any

from .state import Hosts, Stateful, dns_name, ipv6_of
from .system import Fail, alive, banner, read, which, write

FORMS = ("json", "ansible", "ssh_config", "known_hosts", "env")
LINES = {
    "known_hosts": "{host},{name}.lab.example {host_key}\n",
    "ssh_config": "Host {name} {host}\n  HostName {host}\n  User {user}\n  IdentityFile {key}\n"
    "  IdentitiesOnly yes\n  UserKnownHostsFile {known_hosts}\n"
    "  GlobalKnownHostsFile /dev/null\n  StrictHostKeyChecking yes\n",
    "ansible": "{name} ansible_host={host} ansible_user={user}\n",
}


class Reports(Stateful):
    """The verbs of a Lab that only look, and running programs inside hosts."""

    def enter(self, k: int, root: bool = False) -> list[str]:
        """The argv prefix that runs a program inside host k."""
        h = self.hosts[k]
        if not alive(h["pid"], h["start"]):
            raise Fail(f"node{k} is off")
        ids = [] if root else ["-S", str(h["uid"]), "-G", str(h["uid"])]
        return [which("nsenter"), "-t", str(h["pid"]), "-m", "-n", "-u", "-i", "-p", *ids, "--"]

    def run(self, k: int, script: str) -> subprocess.CompletedProcess[str]:
        """A shell script as root inside host k (a back listener for asserts; a failure is no exception)."""
        argv = [*self.enter(k, root=True), "/bin/sh", "-c", script]
        return subprocess.run(argv, text=True, capture_output=True, check=False)

    def exec(self, ks: Hosts, argv: list[str], root: bool = False) -> int:
        """Run argv inside hosts on our own streams; the highest exit status."""
        home = "/root" if root else "/home/" + self.state["user"]
        script = f"cd {home}; export HOME={home}; exec {shlex.join(argv)}"
        runs = (subprocess.run([*self.enter(k, root), "/bin/sh", "-c", script], check=False) for k in ks)
        return max(p.returncode for p in runs)

    def status(self) -> list[dict[str, Any]]:
        """One dictionary per host: state, whether sshd answers, and every fault."""
        out: list[dict[str, Any]] = []
        for h in self.hosts.values():
            state = h["state"] if h["state"] == "off" or alive(h["pid"], h["start"]) else "dead"
            answers = state == "up" and not h["cut"] and bool(banner(h["addr"]))
            same = {key: h[key] for key in ("name", "addr", "cut", "slow", "faults")}
            out.append({**same, "state": state, "sshd": answers, "extra": h["sshd"]})
        return out

    def inventory(self) -> dict[str, Any]:
        """How to reach the lab: paths of key, known_hosts, ssh_config; `nodes` (name, host, port, user)."""
        st = self.state
        files = {"key": "id_ed25519", "known_hosts": "known_hosts", "ssh_config": "ssh_config"}
        nodes = [
            {"name": h["name"], "host": h["addr"], "port": 22, "user": st["user"], "host_key": h["host_key"]}
            for h in self.hosts.values()
        ]
        paths = {k: f"{self.dir}/{f}" for k, f in {**files, "ansible": "ansible.ini"}.items()}
        return {"lab": self.name, "coordinator": st["coordinator"], **paths, "nodes": nodes}

    def hosts_file(self) -> str:
        """This machine's /etc/hosts and the names of the hosts: of every second one with IPv6 alone."""
        lines = [
            f"{ipv6_of(h['addr']) if k % 2 == 0 else h['addr']} {dns_name(k)}\n"
            for k, h in self.hosts.items()
        ]
        return read("/etc/hosts") + "".join(lines)

    def render(self, form: str) -> str:
        """The inventory as text in one of FORMS."""
        inv = self.inventory()
        if form == "json":
            return json.dumps(inv, indent=2) + "\n"
        if form == "env":
            return "".join(f"PANCODE_LAB_{k.upper()}={v}\n" for k, v in inv.items() if k != "nodes")
        body = "".join(LINES[form].format(**{**inv, **n}) for n in inv["nodes"])
        if form != "ansible":
            return body
        return (
            f"[nodes]\n{body}\n[nodes:vars]\nansible_python_interpreter=/usr/bin/python3\n"
            f"ansible_ssh_common_args='-F {inv['ssh_config']}'\n"
        )

    def _write_files(self, known_hosts: bool = True) -> None:
        for name, form in (
            ("inventory.json", "json"),
            ("ssh_config", "ssh_config"),
            ("ansible.ini", "ansible"),
            ("known_hosts", "known_hosts"),
        ):
            if form != "known_hosts" or known_hosts:
                write(f"{self.dir}/{name}", self.render(form), 0o600)
