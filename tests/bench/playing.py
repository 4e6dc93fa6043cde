"""Row n: `site.yml` of the Ansible collection with nothing to do, beside no-op tasks on the same hosts."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from tests.bench.figures import Goal, Row, median, paired
from tests.bench.ours import OurFleet
from tests.e2e.fleets import add
from tests.e2e.plays import BIN, Plays
from tests.lab import Lab, missing, own_name, reap

HOSTS = (1, 2, 3)
NODE_TASKS = 7
"""Of role `node`, with the check of its arguments."""
CARRIED_OUT = 2
"""Of these the ones that are not skipped with the defaults and no packages."""


def playing(tell: Callable[[str], None], rounds: int) -> list[Row]:
    """Needs what tests.lab needs, and `make setup`'s Ansible."""
    if lacks := missing():
        raise RuntimeError("real SSH hosts need: " + "; ".join(lacks))
    reap()
    with Lab(own_name("b"), owned=True).up(len(HOSTS)) as lab, OurFleet() as ours:
        ours.owner.know(lab)
        shutil.copy(f"{lab.dir}/known_hosts", ours.owner.home / ".ssh/known_hosts")
        plays = Plays(ours.owner, lab, HOSTS)
        for k in HOSTS:
            add(ours.owner, lab, k, "--fleet-key")
        plays.play("site").fine()
        samples: dict[str, list[float]] = {"site": [], "all": [], "few": []}
        for _ in range(rounds):
            samples["all"].append(_no_ops(plays, NODE_TASKS))
            samples["site"].append(_wall(lambda: _unchanged(plays)))
            samples["few"].append(_no_ops(plays, CARRIED_OUT))
    tell("n: " + ", ".join(f"{name} {median(all_):.2f} s" for name, all_ in samples.items()))
    return [
        _row("n", samples["site"], samples["all"], f"as many no-op tasks ({NODE_TASKS})", 1.5),
        _row("n carried", samples["site"], samples["few"], f"those not skipped ({CARRIED_OUT})", None),
    ]


def _row(key: str, ours: list[float], peer: list[float], name: str, most: float | None) -> Row:
    limit = "A probe and one module on each host, one command of ours for each, a look at the live link."
    return Row(
        key,
        "`site.yml` on 3 hosts, the second time",
        "s",
        median(ours),
        median(peer),
        name,
        Goal(most=most) if most else None,
        limit,
        paired(ours, peer),
    )


def _unchanged(plays: Plays) -> None:
    played = plays.play("site").fine()
    if played.changed:
        raise RuntimeError(f"it changed something:\n{played.text}")


def _no_ops(plays: Plays, count: int) -> float:
    ping: dict[str, object] = {"ansible.builtin.ping": {}}
    book: list[dict[str, object]] = [
        {"hosts": "pancode_nodes", "gather_facts": False, "tasks": [ping] * count},
    ]
    path = Path(plays.owner.home, "no-ops.yml")
    path.write_text(json.dumps(book))
    argv = [str(BIN / "ansible-playbook"), "-i", str(plays.inventory), str(path)]
    return _wall(lambda: plays.run(argv).fine())


def _wall(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began
