"""Fleets of a test's own on the lab's hosts, beside the session's: other paces, other Redis, own faults."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import node_agent
import pancode
from tests.e2e.kept import keep_bundles, lay_out_bundles
from tests.e2e.owner import Owner
from tests.e2e.tidy import fingerprint, fleet_of, plant, take_off
from tests.lab import Lab

IMPATIENT = {"suspect": "20s", "unreachable": "40s", "lost": "80s", "ask": "15s"}
"""Silence that means something soon: `lost` after 8 s with the factor of 0.1."""


@contextmanager
def own_fleet(
    lab: Lab,
    hosts: Sequence[int],
    factor: float = 0.1,
    timing: Mapping[str, str] | None = None,
    extra: Mapping[str, str] | None = None,
    fresh: Collection[int] = (),
    more: Mapping[str, object] | None = None,
    named: Collection[int] = (),
) -> Iterator[Owner]:
    """An owner with these hosts in the inventory, not yet brought up; everything ended afterwards.

    `more`: of its settings, beside the timing. `named`: hosts that are reached by their DNS names.

    A bundle that the hosts have had from another fleet is there already, but on those that are `fresh`.
    """
    root = Path(tempfile.mkdtemp(prefix="pf-"))
    owner = Owner(root, factor, extra)
    owner.know(lab, named)
    owner.fleet_home.mkdir(mode=0o700)
    settings = {**({"timing": dict(timing)} if timing else {}), **(more or {})}
    if settings:
        (owner.fleet_home / "pancode.yaml").write_text(json.dumps(settings))
    lay_out_bundles(owner.fleet_home / "bundles")
    try:
        for k in hosts:
            add(owner, lab, k)
        plant(lab, fleet_of(owner), set(hosts) - set(fresh))
        yield owner
    finally:
        keep_bundles(owner.fleet_home / "bundles")
        fleet = fleet_of(owner)
        owner.down()
        take_off(lab, [fleet] if fleet else [])
        shutil.rmtree(root, ignore_errors=True)


def add(owner: Owner, lab: Lab, k: int, *words: str) -> None:
    """`node add` of host k, whose key is known to be right."""
    pin = fingerprint(lab.hosts[k]["host_key"])
    owner.run("node", "add", f"node{k}", "--accept-fingerprint", pin, *words).ok()


def up(owner: Owner, *hosts: int, take_up: bool = False) -> None:
    """`fleet up` of these hosts and nothing else. `take_up`: the home was restored."""
    yes = ("--yes",) if take_up else ()
    owner.run("fleet", "up", *(f"node{k}" for k in hosts), *yes, timeout_s=180).ok()


def next_release(folder: Path) -> str:
    """Its version: a copy of the sources in `folder`, for PYTHONPATH, run by its own command line."""
    for package in (pancode, node_agent):
        source = Path(package.__file__ or "").parent
        shutil.copytree(source, folder / source.name, ignore=shutil.ignore_patterns("__pycache__"))
    beside = Path(pancode.__file__ or "").parents[1] / "requirements"
    if beside.is_dir():  # the locked list of what a node needs; an installed package carries it inside
        shutil.copytree(beside, folder / "requirements")
    version = folder / "pancode" / "__init__.py"
    version.write_text(version.read_text().replace(pancode.__version__, "99.0.0"))
    (folder / "node_agent" / "next_release.py").write_text('"""New in this release."""\n')
    return "99.0.0"
