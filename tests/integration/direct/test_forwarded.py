"""Nodes behind a router that forwards a port of its own to the coordinator's, by the kernel's own NAT."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from pancode.fleet.place import ListenAddress
from tests.integration.direct.conftest import House, Visitor
from tests.integration.direct.test_told import Trial

pytestmark = pytest.mark.slow
PORT = 443


@dataclass(frozen=True, slots=True)
class Street:
    """The coordinator here, a router in one network namespace, and the node in another behind it."""

    net: str
    name: str

    @property
    def here(self) -> str:
        return f"{self.net}.1"

    @property
    def shown(self) -> str:
        """The router, as nodes see it."""
        return f"{self.net}.9"

    def build(self) -> None:
        for end, mine, theirs in (("c", 1, 2), ("n", 10, 9)):
            side = [] if end == "c" else ["netns", f"{self.name}n"]
            ip("link", "add", f"{self.name}{end}", *side, "type", "veth", "peer", "name", f"r{end}",
               "netns", f"{self.name}r")  # fmt: skip
            where = [] if end == "c" else ["-n", f"{self.name}n"]
            for at, dev, last in (
                (where, f"{self.name}{end}", mine),
                (["-n", f"{self.name}r"], f"r{end}", theirs),
            ):
                ip(*at, "address", "add", f"{self.net}.{last}/29", "dev", dev)
                ip(*at, "link", "set", dev, "up")
        self.router("tee", "/proc/sys/net/ipv4/ip_forward", text="1")
        self.router("iptables", "-t", "nat", "-A", "POSTROUTING", "-o", "rc", "-j", "MASQUERADE")

    def forward(self, place: ListenAddress) -> None:
        rule = (
            "-d",
            self.shown,
            "-p",
            "tcp",
            "--dport",
            str(PORT),
            "-j",
            "DNAT",
            "--to-destination",
            str(place),
        )
        self.router("iptables", "-t", "nat", "-A", "PREROUTING", *rule)

    def router(self, *argv: str, text: str = "") -> None:
        run("ip", "netns", "exec", f"{self.name}r", *argv, text=text)


def run(*argv: str, text: str = "") -> None:
    done = subprocess.run(argv, input=text, capture_output=True, text=True)
    assert done.returncode == 0, (argv, done.stderr)


def ip(*words: str) -> None:
    run("ip", *words)


@pytest.fixture
def street() -> Iterator[Street]:
    made = Street(f"10.254.{os.getpid() % 256}", f"pd{os.getpid()}")
    spaces = [f"{made.name}{one}" for one in "rn"]
    try:
        for space in spaces:
            ip("netns", "add", space)
        made.build()
        yield made
    finally:
        for space in spaces:
            subprocess.run(("ip", "netns", "del", space), check=False)


def test_by_a_forwarded_port_and_by_one_that_a_firewall_drops(
    house: House, anna: Visitor, street: Street
) -> None:
    """A node's own program tries three times, once into the void."""
    house.listens = replace(house.place, host=street.here)
    house.place = ListenAddress(street.shown, PORT, "x.yaml:3")
    street.forward(house.listens)
    assert house.open().trouble == ""
    trial = Trial(anna, ("ip", "netns", "exec", f"{street.name}n"))
    assert trial.run(by := trial.by()).status == 0, trial.run(by)
    straight = trial.told(replace(by, address=str(house.listens)), str(house.listens))
    assert "unreachable" in straight.why
    street.router("iptables", "-A", "FORWARD", "-p", "tcp", "--dport", str(house.listens.port), "-j", "DROP")
    dropped = trial.told(by)
    assert "Timeout" in dropped.why and "direct.advertise" in dropped.fix and "x.yaml:2" in dropped.fix
    assert f"openssl s_client -connect {street.shown}:{PORT}" in dropped.fix
