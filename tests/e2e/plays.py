"""Runs the real ansible-playbook with the collection of this checkout against the lab's hosts."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.crowd import crowded
from tests.e2e.owner import Owner
from tests.lab import Lab

ROOT = Path(__file__).resolve().parents[2]
BIN = ROOT / ".venv" / "ansible" / "bin"
RECAP = re.compile(r"^(\S+)\s+: ok=(\d+)\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Recap:
    """How a playbook ended for one host."""

    ok: int
    changed: int
    unreachable: int
    failed: int


@dataclass(frozen=True, slots=True)
class Played:
    """How a playbook ended."""

    code: int
    text: str

    @property
    def recap(self) -> dict[str, Recap]:
        return {name: Recap(*map(int, counts)) for name, *counts in RECAP.findall(self.text)}

    @property
    def changed(self) -> int:
        return sum(host.changed for host in self.recap.values())

    def fine(self) -> Played:
        assert self.code == 0 and self.recap, self.text
        return self


class Plays:
    """Playbooks of one fleet's owner; what Ansible keeps is below the owner's home."""

    def __init__(self, owner: Owner, lab: Lab, hosts: tuple[int, ...]) -> None:
        self.owner, self.lab = owner, lab
        self.groups: dict[str, dict[str, dict[str, Any]]] = {}
        """Beside the nodes: hosts with their variables, by the group's name."""
        self.inventory = owner.home / "inventory.yml"
        self.hosts: dict[str, dict[str, Any]] = {
            f"node{k}": {"ansible_host": lab.hosts[k]["addr"]} for k in hosts
        }
        self.write(self.hosts)
        place = owner.home / "collections" / "ansible_collections" / "pancode"
        place.mkdir(parents=True)
        (place / "fleet").symlink_to(ROOT / "ansible")

    def write(self, hosts: Mapping[str, Mapping[str, Any]], **more: object) -> None:
        """The inventory; JSON is YAML."""
        common = {
            "ansible_user": "ops",
            "ansible_ssh_common_args": f"-F {self.lab.dir}/ssh_config",
            "ansible_ssh_private_key_file": f"{self.lab.dir}/id_ed25519",
            "ansible_python_interpreter": "/usr/bin/python3",
            "node_packages": [],
        }
        group = {"hosts": hosts, "vars": {**common, **more}}
        own = {name: {"hosts": hosts, "vars": common} for name, hosts in self.groups.items()}
        children = {"pancode_nodes": group, **own}
        told = {"children": children, "vars": {"pancode_command": self.owner.argv()}}
        self.inventory.write_text(json.dumps({"all": told}))

    def environ(self) -> dict[str, str]:
        home = self.owner.home
        return {
            **self.owner.env,
            "ANSIBLE_HOME": str(home / ".ansible"),
            "ANSIBLE_COLLECTIONS_PATH": str(home / "collections"),
            "ANSIBLE_LOCALHOST_WARNING": "false",
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(home / "cp"),
        }

    def again(self, name: str, *words: str) -> Played:
        """A playbook once more: it sends its modules the short way, which changes nothing but its time."""
        return self.play(name, *words, "-e", "ansible_pipelining=true")

    def play(self, name: str, *words: str, timeout_s: float = 180) -> Played:
        """A playbook of the collection, by its name."""
        argv = [str(BIN / "ansible-playbook"), "-i", str(self.inventory), f"pancode.fleet.{name}", *words]
        return self.run(argv, timeout_s)

    def run(self, argv: list[str], timeout_s: float = 180) -> Played:
        done = subprocess.run(
            argv,
            cwd=self.owner.home,
            env=self.environ(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout_s * crowded(),
        )
        return Played(done.returncode, done.stdout)
