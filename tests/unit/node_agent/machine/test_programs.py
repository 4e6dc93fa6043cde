"""The version of a program is read where its package says it, and only where the program could start."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from node_agent.machine.programs import installed_version

PACKAGE = "@vendor/agent"
SCRIPT = "#!/usr/bin/env -S node --quiet\n"


def install(root: Path, script: str = SCRIPT, manifest: dict[str, object] | None = None) -> str:
    """As npm does: a link in a folder of the PATH to a file some folders deep in the package."""
    package = root / "lib" / "node_modules" / "@vendor" / "agent"
    (package / "dist" / "bin").mkdir(parents=True)
    (package / "dist" / "package.json").write_text('{"type": "module"}')
    (package / "package.json").write_text(
        json.dumps({"name": PACKAGE, "version": "1.2.3", **(manifest or {})})
    )
    program = package / "dist" / "bin" / "agent.js"
    program.write_text(script)
    program.chmod(0o755)
    (root / "bin").mkdir()
    (root / "bin" / "agent").symlink_to(program)
    node = root / "bin" / "node"
    node.write_text("")
    node.chmod(0o755)
    return str(root / "bin")


def test_the_version_of_the_package_around_it(tmp_path: Path) -> None:
    path = install(tmp_path)
    assert installed_version("agent", PACKAGE, path) == "1.2.3"
    assert installed_version("agent", "another", path) is None
    assert installed_version("no-such", PACKAGE, path) is None


@pytest.mark.parametrize("script", ["#!/no/such/python -I\n", "#!/usr/bin/env no-such-thing\n", "#!\n"])
def test_a_script_whose_starter_is_not_there_is_left_to_be_asked(tmp_path: Path, script: str) -> None:
    assert installed_version("agent", PACKAGE, install(tmp_path, script)) is None


def test_a_native_program_needs_no_starter(tmp_path: Path) -> None:
    assert installed_version("agent", PACKAGE, install(tmp_path, "\x7fELF")) == "1.2.3"


@pytest.mark.parametrize("manifest", [{"version": None}, {"version": 7}, {"name": 7}])
def test_a_package_that_does_not_say_is_left_to_be_asked(tmp_path: Path, manifest: dict[str, object]) -> None:
    assert installed_version("agent", PACKAGE, install(tmp_path, manifest=manifest)) is None


def test_a_damaged_manifest_is_no_version(tmp_path: Path) -> None:
    path = install(tmp_path)
    (tmp_path / "lib" / "node_modules" / "@vendor" / "agent" / "package.json").write_text("{")
    assert installed_version("agent", PACKAGE, path) is None
