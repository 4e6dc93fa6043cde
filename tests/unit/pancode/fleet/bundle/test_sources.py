"""A bundle holds the node agent, its libraries and nothing of the coordinator; a source says why not."""

from __future__ import annotations

import json
import sys
import tarfile
import tomllib
import zipfile
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import pytest

from pancode.fleet.bundle import download, installation
from pancode.fleet.bundle.archive import Contents
from pancode.fleet.bundle.contents import is_needed
from pancode.fleet.bundle.errors import BundleError, NotHere
from pancode.fleet.bundle.platform import NodePlatform
from pancode.fleet.bundle.store import BundleStore

MINOR = 12 if sys.version_info[1] != 12 else 13
"""Not our own: no bytecode of ours fits there."""
NODE = NodePlatform((3, MINOR, 4), "x86_64", (2, 36))
OLD = NodePlatform((3, 11, 1), "x86_64", (2, 17))


def agent(folder: Path) -> Path:
    (folder / "agent/wire/__pycache__").mkdir(parents=True)
    (folder / "agent/__init__.py").write_text("")
    (folder / "agent/py.typed").write_text("")
    (folder / "agent/wire/job.py").write_text("x = 1\n")
    (folder / "agent/wire/__pycache__/job.pyc").write_text("no")
    return folder / "agent"


def store(folder: Path, *sources: object) -> BundleStore:
    return BundleStore(folder / "bundles", sources, agent(folder))  # type: ignore[arg-type]


def names(path: Path) -> list[str]:
    with tarfile.open(path) as tar:
        return tar.getnames()


def test_roots_are_those_of_our_own_distribution() -> None:
    project = tomllib.loads((Path(__file__).parents[5] / "pyproject.toml").read_text())["project"]
    listed = {r.split(">")[0].split("<")[0] for r in project["optional-dependencies"]["node"]}
    assert listed == set(installation.ROOTS)


def test_what_a_bundle_holds(tmp_path: Path) -> None:
    libraries = {"rq/__init__.py": b"", "rq-2.12.0.dist-info/METADATA": b"Name: rq\n"}
    platform, bundle = store(tmp_path, lambda p: libraries).bundle_for([NODE])
    assert platform is NODE and bundle.python == (3, MINOR) and len(bundle.name) == 16
    assert names(bundle.path) == [
        "MANIFEST",
        "bundle.json",
        "lib/node_agent/__init__.py",
        "lib/node_agent/py.typed",
        "lib/node_agent/wire/job.py",
        "lib/rq-2.12.0.dist-info/METADATA",
        "lib/rq/__init__.py",
        "start.py",
    ]
    with tarfile.open(bundle.path) as tar:
        about = json.load(tar.extractfile("bundle.json"))  # type: ignore[arg-type]
    assert about == {
        "machine": "x86_64",
        "packages": ["rq-2.12.0"],
        "python": f"3.{MINOR}",
        "version": bundle.version,
    }


def test_nodes_with_another_patch_level_of_python_get_the_libraries_that_it_needs(tmp_path: Path) -> None:
    """Each is told its own platform, by which the node's Python is found."""
    other = replace(NODE, python=(3, MINOR, 9))
    needed: dict[NodePlatform, Contents] = {NODE: {"async_timeout/__init__.py": b""}, other: {}}
    bundles = store(tmp_path, lambda p: needed[p])
    first, second = bundles.bundle_for([NODE]), bundles.bundle_for([other])
    assert (first[0], second[0]) == (NODE, other)
    assert "lib/async_timeout/__init__.py" in {*names(first[1].path)} - {*names(second[1].path)}


def test_the_first_source_is_tried_for_every_python_before_the_network(tmp_path: Path) -> None:
    asked: list[tuple[str, str]] = []

    def near(platform: NodePlatform) -> Contents:
        asked.append(("near", platform.key))
        if platform is NODE:
            raise NotHere("not ours")
        return {"a.py": b""}

    def far(platform: NodePlatform) -> Contents:
        asked.append(("far", platform.key))
        return {"b.py": b""}

    made = store(tmp_path, near, far)
    assert made.bundle_for([NODE, OLD])[0] is OLD
    assert made.bundle_for([NODE])[1].digest != made.bundle_for([NODE, OLD])[1].digest
    assert [a[0] for a in asked] == ["near", "near", "near", "far", "near"]


def test_no_source_says_every_reason_and_the_fix(tmp_path: Path) -> None:
    def no(platform: NodePlatform) -> Contents:
        raise NotHere(f"nothing for {platform.key}")

    with pytest.raises(BundleError) as caught:
        store(tmp_path, no).bundle_for([NODE, OLD])
    assert NODE.key in caught.value.why and OLD.key in caught.value.why and caught.value.fix


def test_installed_wheels_that_do_not_run_there_are_not_taken() -> None:
    with pytest.raises(NotHere, match="cp313-aarch64"):
        installation.collect_libraries(NodePlatform((3, 13, 0), "aarch64", (2, 36)), ("pydantic",))
    with pytest.raises(NotHere, match="not installed"):
        installation.collect_libraries(NODE, ("no-such-library-of-ours",))


def test_what_an_early_311_needs_is_judged_by_the_nodes_python() -> None:
    early = installation._list_requirements(metadata.distribution("redis"), OLD)
    late = installation._list_requirements(metadata.distribution("redis"), NODE)
    assert "async-timeout" in early and "async-timeout" not in late


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("rq/worker.py", True),
        ("rq/__pycache__/worker.cpython-311.pyc", False),
        ("../../bin/rq", False),
        ("redis-8.dist-info/METADATA", True),
        ("redis-8.dist-info/licenses/LICENSE", True),
        ("redis-8.dist-info/RECORD", False),
        ("pkg/tests/test_x.py", False),
        ("_cffi_backend.cpython-311-x86_64-linux-gnu.so", True),
        ("typing_extensions.py", True),
    ],
)
def test_which_files_travel(path: str, answer: bool) -> None:
    assert is_needed(path) is answer


def test_pip_takes_only_listed_wheels(tmp_path: Path) -> None:
    command = download.pip_command(NODE, Path("/r.txt"), tmp_path)
    for word in ("--require-hashes", "--only-binary=:all:", "--no-deps", "/r.txt"):
        assert word in command
    assert not [w for w in command if "index" in w or "://" in w]


def test_the_locked_list_is_found_and_covers_every_root() -> None:
    listed = download.requirements_file().read_text()
    for name in (*installation.ROOTS, "cffi", "pydantic-core"):
        assert f"\n{name}==" in "\n" + listed


def test_a_wheel_is_unpacked_to_what_is_imported(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "w.whl", "w") as wheel:
        for name in (
            "a/x.py",
            "w-1.data/platlib/b.so",
            "w-1.data/scripts/run",
            "w-1.dist-info/METADATA",
            "../evil.py",
        ):
            wheel.writestr(name, name)
    download.unpack_wheel(tmp_path / "w.whl", tmp_path / "lib")
    found = sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file())
    assert found == ["lib/a/x.py", "lib/b.so", "lib/w-1.dist-info/METADATA", "w.whl"]
