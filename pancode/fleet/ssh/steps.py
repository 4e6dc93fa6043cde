"""The steps of bring-up and removal as data: named steps of files and constant scripts (pure)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pancode.fleet.bundle.archive import Bundle
from pancode.fleet.ssh.probe import NodeProbe, Python
from pancode.fleet.ssh.scripts import checks, removal
from pancode.fleet.ssh.scripts import install as scripts
from pancode.fleet.ssh.tunnel import choose_folders
from pancode.fleet.ssh.unit import Unit


class StepName(StrEnum):
    """The steps, in the order in which `fleet up` and `node rm` show them."""

    CONNECT = "connect"
    PROBE = "probe"
    HOME = "home"
    BUNDLE = "bundle"
    KEY = "key"
    ENROL = "enrol"
    UNIT = "unit"
    START = "start"
    HEARTBEAT = "heartbeat"
    STOP = "stop"
    REMOVE = "remove"
    PROVE = "prove"


_TUNNEL = (
    "import sys; sys.path.insert(0, sys.argv[1]); from node_agent.link.session_tunnel import main; main()"
)
RESTARTING = frozenset({StepName.BUNDLE, StepName.ENROL, StepName.UNIT})
"""Steps whose changes require a restart of a running node agent."""


@dataclass(frozen=True, slots=True)
class Put:
    """A file to put on the node if its content differs. `keep`: leave an existing file unchanged."""

    path: str
    source: bytes | Path
    mode: int = 0o600
    keep: bool = False

    @property
    def sha256(self) -> str:
        if isinstance(self.source, bytes):
            return hashlib.sha256(self.source).hexdigest()
        with self.source.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True, slots=True)
class RemoteScript:
    """A constant script to run: idempotent; it prints `changed=yes|no` and other key=value lines."""

    text: str
    args: tuple[str, ...]
    timeout_s: float = 60
    look: str = ""
    """A script that, with the same arguments, only reports whether `text` would change anything."""


@dataclass(frozen=True, slots=True)
class Command:
    """An argument list to run; its output goes into `StepDone.output`."""

    argv: tuple[str, ...]
    timeout_s: float = 60


Act = Put | RemoteScript | Command


@dataclass(frozen=True, slots=True)
class BringUpStep:
    """One step. `acts`: empty if the probe shows that the step is already done."""

    name: StepName
    says: str
    acts: tuple[Act, ...] = ()
    changes: tuple[str, ...] = ()
    """Paths on the node that the step may create or change; removal deletes them all."""
    there: bool = False
    """Whether the probe shows that everything is already as the step would make it."""


@dataclass(frozen=True, slots=True)
class HomeFile:
    """A file of the node home, e.g. `key/coordinator.pub`, `node.json`."""

    path: str
    content: bytes
    mode: int = 0o600
    keep: bool = False


@dataclass(frozen=True, slots=True)
class NodeLocation:
    """The folder of one fleet on one node."""

    fleet: str
    home: str
    """The home folder of the login user."""
    node_home: str
    uid: int

    @classmethod
    def of(cls, fleet: str, probe: NodeProbe) -> NodeLocation:
        return cls(fleet, probe.home, probe.node_home, probe.uid)

    @property
    def sockets(self) -> str:
        return choose_folders(self.node_home, self.uid).sockets

    def command(self, python: str, *words: str) -> tuple[str, ...]:
        """Return the command `pancode-node WORDS --home H` of the current bundle, without the node's own
        packages. It runs without docstrings, which would cost 2 MB of an idle node agent's memory."""
        start = f"{self.node_home}/current/start.py"
        return (python, "-I", "-S", "-B", "-OO", start, *words, "--home", self.node_home)

    def tunnel_command(self, python: str) -> tuple[str, ...]:
        """Return the command of the node's end of a tunnel in one SSH session, which stays: it loads only
        its own few modules."""
        return (python, "-I", "-S", "-B", "-OO", "-c", _TUNNEL, f"{self.node_home}/current/lib")

    def unit(self, python: str) -> Unit:
        return Unit(self.fleet, self.node_home, self.command(python, "run"))


def home_step(place: NodeLocation) -> BringUpStep:
    """Return the step that makes the node home's folders private to the login; refuses another user's
    folder."""
    act = RemoteScript(scripts.MAKE_HOME, (place.node_home, place.fleet), 20, checks.HOME)
    return BringUpStep(StepName.HOME, f"folders in {place.node_home}", (act,), (place.node_home,))


def bundle_step(place: NodeLocation, probe: NodeProbe, bundle: Bundle, python: Python) -> BringUpStep:
    """Return the step that uploads, checks, unpacks, tries and selects the bundle; empty if it is current."""
    folder = f"{place.node_home}/bundles/{bundle.name}"
    there = bundle.name in probe.bundles
    if there and (probe.current or "").rstrip("/").rpartition("/")[2] == bundle.name:
        return BringUpStep(StepName.BUNDLE, f"{bundle.version} ({bundle.name}) is there", there=True)
    archive = f"{folder}.tar.gz"
    args = (place.node_home, bundle.name, python.path, bundle.sha256)
    unpack = RemoteScript(scripts.UNPACK, args, 300)
    acts: tuple[Act, ...] = () if there else (Put(archive, bundle.path), unpack)
    point = RemoteScript(scripts.POINT, (place.node_home, bundle.name), 20, checks.POINT)
    return BringUpStep(StepName.BUNDLE, f"{bundle.version} ({bundle.name})", (*acts, point), (folder,))


def key_step(place: NodeLocation, python: str) -> BringUpStep:
    """Return the step in which the node makes its own key, if it has none, and prints the public half."""
    act = Command(place.command(python, "key"), 60)
    return BringUpStep(StepName.KEY, "the node's own key", (act,), (f"{place.node_home}/key/node.key",))


def enrol_step(place: NodeLocation, files: Sequence[HomeFile]) -> BringUpStep:
    """Return the step that puts the coordinator's public key and the settings, and a ceiling if missing."""
    acts = tuple(Put(f"{place.node_home}/{f.path}", f.content, f.mode, f.keep) for f in files)
    return BringUpStep(
        StepName.ENROL, "settings and the coordinator's public key", acts, tuple(a.path for a in acts)
    )


def unit_step(place: NodeLocation, probe: NodeProbe, python: str) -> BringUpStep:
    """Return the step that installs the systemd user unit if a user manager answers; else an empty one."""
    if not probe.services_usable:
        return BringUpStep(StepName.UNIT, "no user services on this node")
    unit = place.unit(python)
    path = unit.path(place.home)
    folder = RemoteScript(scripts.MAKE_FOLDERS, (path.rpartition("/")[0],), 20, checks.FOLDERS)
    return BringUpStep(StepName.UNIT, unit.name, (folder, Put(path, unit.text().encode(), 0o644)), (path,))


def start_step(place: NodeLocation, probe: NodeProbe, python: str, restart: bool) -> BringUpStep:
    """Return the step that starts the agent so that it outlives SSH; `restart`: files that it uses
    changed."""
    again = "restart" if restart else "keep"
    if probe.services_usable:
        unit = place.unit(python)
        act = RemoteScript(scripts.START_UNIT, (place.node_home, unit.name, again), 60, checks.STARTED)
        return BringUpStep(StepName.START, f"user unit {unit.name}", (act,))
    argv = place.command(python, "run")
    act = RemoteScript(scripts.START_DETACHED, (place.node_home, again, *argv), 60, checks.STARTED)
    return BringUpStep(StepName.START, "detached process (no user services on this node)", (act,))


def first_steps(
    place: NodeLocation, probe: NodeProbe, bundle: Bundle, python: Python
) -> tuple[BringUpStep, ...]:
    """Return the steps up to the node's own key, which the fleet must trust before it continues."""
    return (home_step(place), bundle_step(place, probe, bundle, python), key_step(place, python.path))


def enrolled_steps(
    place: NodeLocation, probe: NodeProbe, python: str, files: Sequence[HomeFile]
) -> tuple[BringUpStep, ...]:
    """Return the steps for the files that must exist before the node agent starts, and for its start."""
    return (enrol_step(place, files), unit_step(place, probe, python))


def stop_step(place: NodeLocation) -> BringUpStep:
    """Return the step that stops only the node agent; attempts belong to their shims and continue."""
    unit = f"pancode-node-{place.fleet}.service"
    act = RemoteScript(scripts.STOP_AGENT, (place.node_home, unit), 60)
    return BringUpStep(StepName.STOP, "the node agent (its attempts continue)", (act,))


def install_key_step(line: str, marker: str) -> BringUpStep:
    """Return the step that installs the fleet's key, limited to forwarding and commands; `marker` allows its
    removal."""
    act = RemoteScript(scripts.ADD_FLEET_KEY, (line, marker), 20, checks.FLEET_KEY)
    return BringUpStep(StepName.ENROL, "fleet key in authorized_keys", (act,), (".ssh/authorized_keys",))


def remove_steps(place: NodeLocation, marker: str) -> tuple[BringUpStep, ...]:
    """Return the steps that remove every process, unit, key and file of this fleet, then check for
    leftovers."""
    unit = f"pancode-node-{place.fleet}.service"
    args = (place.node_home, place.fleet, unit, place.sockets)
    return (
        BringUpStep(
            StepName.STOP,
            "the node agent and all processes in its home",
            (RemoteScript(removal.STOP_ALL, args, 90, checks.AT_WORK),),
        ),
        BringUpStep(
            StepName.REMOVE,
            "unit, fleet key, sockets, node home",
            (RemoteScript(removal.REMOVE_ALL, (*args, marker), 300, removal.LEFTOVERS),),
        ),
        prove_step(place, marker),
    )


def prove_step(place: NodeLocation, marker: str) -> BringUpStep:
    """Return the step that lists what is left of this fleet on the node; an empty list proves the removal."""
    unit = f"pancode-node-{place.fleet}.service"
    args = (place.node_home, place.fleet, unit, place.sockets, marker)
    return BringUpStep(
        StepName.PROVE, "nothing of PanCode is left", (RemoteScript(removal.LEFTOVERS, args, 60),)
    )
