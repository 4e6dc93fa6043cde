"""Which bundles stay: those in use and the last one, and on a node what an attempt still runs from."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from pancode.app.doctor import run_checks
from pancode.fleet.bundle.store import BundleStore
from pancode.fleet.ssh.scripts.install import POINT
from tests.integration.ssh.test_bundle import HERE


def version(folder: Path, number: int) -> Path:
    """A node agent that differs from all others."""
    made = folder / f"v{number}" / "node_agent"
    made.mkdir(parents=True)
    (made / "__init__.py").write_text(f"NUMBER = {number}\n")
    return made


def test_of_many_versions_the_coordinator_keeps_the_newest_and_the_last(tmp_path: Path) -> None:
    folder, made = tmp_path / "bundles", []
    for number in range(4):
        store = BundleStore(folder, sources=[lambda platform: {}], agent=version(tmp_path, number), level=1)
        made.append(store.bundle_for([HERE])[1].path)
        os.utime(made[-1], (number, number))  # a file system may tell no times that are so near each other
    assert {*folder.glob("*.tar.gz")} == {*made[2:]}
    # Going back packs and removes nothing.
    again = BundleStore(folder, sources=[lambda platform: {}], agent=tmp_path / "v2" / "node_agent", level=1)
    assert again.bundle_for([HERE])[1].path == made[2] and made[3].exists()
    checks = run_checks(tmp_path, {"HOME": str(tmp_path)})
    told = next(check for check in checks if check["what"] == "node bundles")
    assert told["detail"].startswith("2 kept")


def test_a_node_keeps_what_an_attempt_still_runs_from(tmp_path: Path) -> None:
    names = [str(number) * 16 for number in range(5)]
    for number, name in enumerate(names):
        folder = tmp_path / "bundles" / name
        folder.mkdir(parents=True)
        os.utime(folder, (number, number))
    worker = [sys.executable, "-c", "import time; time.sleep(600)", f"{tmp_path}/bundles/{names[0]}/lib/x.py"]
    with subprocess.Popen(worker) as process:
        subprocess.run(["sh", "-c", POINT, "sh", str(tmp_path), names[4]], check=True)
        kept = sorted(os.listdir(tmp_path / "bundles"))
        process.kill()
    assert kept == [names[0], names[3], names[4]]
    subprocess.run(["sh", "-c", POINT, "sh", str(tmp_path), names[4]], check=True)
    assert sorted(os.listdir(tmp_path / "bundles")) == names[3:]
