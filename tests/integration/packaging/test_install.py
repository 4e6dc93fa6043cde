"""The built wheel as users install it: a new home, a folder that is no clone, no network; then the demo."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pancode.commit import read_commit
from tests.clis.install import ROOT
from tests.e2e.leavings import left_in, no_network
from tests.integration.packaging.ways import WAYS, Installed, install
from tests.integration.packaging.wheelhouse import wheelhouse
from tests.pythons import python

pytestmark = pytest.mark.slow

BUNDLE = """
import platform, sys, pathlib
from pancode.fleet.bundle.download import requirements_file
from pancode.fleet.bundle.installation import collect_libraries
from pancode.fleet.bundle.platform import NodePlatform
from pancode.fleet.bundle.store import BundleStore
listing = requirements_file()
assert listing.is_relative_to(sys.prefix) and "--hash=sha256:" in listing.read_text(), listing
glibc = tuple(int(part) for part in platform.libc_ver()[1].split(".")[:2])
here = NodePlatform(sys.version_info[:3], platform.machine(), glibc)
made = BundleStore(pathlib.Path(sys.argv[1]), (collect_libraries,)).bundle_for([here])[1]
print(made.path)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    done = subprocess.run([ROOT / ".ci/dist", folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return next(folder.glob("*.whl"))


@contextmanager
def root() -> Iterator[Path]:
    """A short path: a fleet's sockets are in it."""
    made = Path(tempfile.mkdtemp(prefix="pi-"))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


@pytest.fixture(scope="module", params=list(WAYS))
def installed(request: pytest.FixtureRequest, wheel: Path) -> Iterator[Installed]:
    with root() as place:
        yield install(request.param, place, wheel)


@pytest.mark.parametrize(("way", "minor"), [("uv", "3.12"), ("pip", "3.13")])
def test_another_python_runs_it(wheel: Path, way: str, minor: str) -> None:
    """Over 30 s on a busy node: its libraries are fetched, and a fleet comes up from a bundle of them."""
    with root() as place:
        installed = install(way, place, wheel, python(minor))
        which = installed.call([str(installed.python), "-c", "import sys; print(sys.version)"])
        assert which.stdout.startswith(f"{minor}."), which
        test_it_is_the_installed_one_and_names_its_commit(installed)
        if minor == "3.13":  # what runs on the oldest and on the newest runs between them, too
            test_the_demo_passes_without_a_network(installed)
        assert "complete" in installed.run("completion", "bash").stdout


def test_it_is_the_installed_one_and_names_its_commit(installed: Installed) -> None:
    said = installed.run("--version")
    assert said.stdout.endswith(f"(commit {read_commit()})\n"), said
    where = installed.call([str(installed.python), "-c", "import pancode; print(pancode.__file__)"])
    assert where.returncode == 0 and not where.stdout.startswith(str(ROOT)), where
    assert "site-packages" in where.stdout
    assert (installed.python.parent.parent / "share/man/man1/pancode-runs.1").is_file()


@pytest.mark.parametrize("installed", ["pip"], indirect=True)
def test_the_demo_passes_without_a_network(installed: Installed) -> None:
    """Once: the files are the same whoever installs them. Over 30 s on a busy node: a whole fleet comes
    up, and one of its node agents is killed."""
    before = left_in(installed.env)[0]
    done = installed.call([*no_network(), str(installed.command), "fleet", "demo"])
    assert done.returncode == 0 and "checks held, all of them" in done.stdout, done.stdout + done.stderr
    assert left_in(installed.env) == (before, [])


@pytest.mark.parametrize("way", ["uv", "pip"])
@pytest.mark.parametrize("name", ["a b", "x" * 150])
def test_it_works_from_a_folder_with_a_space_or_a_long_name(wheel: Path, way: str, name: str) -> None:
    """A kernel takes no `#!` line with a space, or of more than 127 characters."""
    with root() as place, root() as home:
        installed = install(way, place / name, wheel)
        own = {"HOME": str(home), "PANCODE_HOME": str(home / "p")}  # sockets need a short path
        try:
            up = installed.run("fleet", "up", **own)
            assert up.returncode == 0, up.stdout + up.stderr
            words = ("dispatch", "--runtime", "shell", "--workspace", "none", "echo started")
            done = installed.run(*words, **own)
            assert done.returncode == 0, done.stdout + done.stderr
        finally:
            installed.run("fleet", "down", "--now", **own)


def test_a_bundle_for_nodes_is_made_of_it(installed: Installed) -> None:
    made = installed.call([str(installed.python), "-c", BUNDLE, str(installed.folder / "bundles")])
    assert made.returncode == 0, made.stderr
    assert Path(made.stdout.strip()).stat().st_size < 25 * 1024 * 1024


def test_a_missing_extra_is_named_with_the_command_that_brings_it(installed: Installed) -> None:
    """And that command, as it is printed, does: whatever installed us brought pip along."""
    config = {
        "PANCODE_HOME": str(installed.folder / "p"),
        "PANCODE_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
    }
    before = installed.run("serve", **config)
    fix = f"{installed.python} -m pip install 'psycopg[binary]>=3.2,<4'"
    assert before.returncode != 0 and f"fix: {fix}" in before.stderr, before.stderr
    offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheelhouse())}
    brought = installed.call(["sh", "-c", fix], **offline)
    assert brought.returncode == 0, brought.stderr
    after = installed.run("serve", **config)
    assert after.returncode != 0 and "driver is not installed" not in after.stderr
    assert "127.0.0.1:1" in after.stderr.replace("port 1", "127.0.0.1:1"), after.stderr
