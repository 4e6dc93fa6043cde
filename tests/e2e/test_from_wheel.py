"""The wheel, installed by `uv tool install` into a fresh home without a clone, brings up another node."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.clis.install import ROOT
from tests.e2e.fleets import add
from tests.e2e.owner import Owner, script, until
from tests.e2e.tidy import fleet_of, take_off
from tests.integration.packaging.ways import Installed, install
from tests.lab import Lab

pytestmark = [pytest.mark.slow, pytest.mark.bare_hosts]
TASK = script("write made.txt 'by the agent\\n'", "usage 100 20 0.03", "answer 'made it'")


class InstalledOwner(Owner):
    """Types the installed command, and has nothing of this clone in its environment."""

    def __init__(self, root: Path, factor: float, installed: Installed) -> None:
        super().__init__(root, factor)
        self.command = str(installed.command)

    def argv(self, *words: str) -> list[str]:
        return [self.command, *words]


def test_an_install_without_a_clone_works_on_another_machine(
    healed: Lab, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Over 30 s: the wheel is built and installed, and the node's bundle is packed of what it brought."""
    dist = tmp_path_factory.mktemp("dist")
    built = subprocess.run([ROOT / ".ci/dist", dist], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    root = Path(tempfile.mkdtemp(prefix="pw-"))
    installed = install("uv", root / "i", next(dist.glob("*.whl")))
    where = installed.call([str(installed.python), "-c", "import pancode; print(pancode.__file__)"])
    assert "site-packages" in where.stdout and not where.stdout.startswith(str(ROOT))
    owner = InstalledOwner(root / "o", 0.1, installed)
    owner.know(healed)
    try:
        add(owner, healed, 1)
        owner.run("fleet", "up", "node1", timeout_s=240).ok()
        until(lambda: owner.seen("node1") == "online", "it is online", told=owner.nodes)
        top = owner.repository("shop")
        words = ("--runtime", "scripted", "--node", "node1", "--verify", "test -f made.txt", TASK)
        run = owner.ask("dispatch", *words, cwd=top, timeout_s=150)
        assert (run["outcome"], run["files_changed"], run["node"]) == ("done", ["made.txt"], "node1"), run
        assert owner.ask("receipt", "verify", run["run"])["verdict"] == "PASS"
        owner.run("land", run["run"], cwd=top).ok()
        assert (top / "made.txt").read_text() == "by the agent\n"
        owner.run("node", "rm", "node1", "--yes", timeout_s=150).ok()
    finally:
        fleet = fleet_of(owner)
        owner.down()
        take_off(healed, [fleet] if fleet else [])
        shutil.rmtree(root, ignore_errors=True)
