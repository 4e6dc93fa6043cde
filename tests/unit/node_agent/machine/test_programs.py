"""The version of a program is read where its package says it, and only where the program could start."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from node_agent.machine.programs import (
    environment_of,
    found_environment,
    installed_version,
    version_in,
    written_version,
)
from node_agent.runtimes.openai_agents.runtime import PROGRAM
from node_agent.sandbox.policy import System
from node_agent.sandbox.shown import Programs


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """As `python3 -m venv` and pip make one, and a link to its Python in a folder of the PATH."""
    base, made = tmp_path / "base/one/bin/python3.11", tmp_path / "sdk/env"
    for folder in (base.parent, made / "bin", tmp_path / "path"):
        folder.mkdir(parents=True)
    base.write_text("")
    base.chmod(0o755)
    (made / "bin/python3").symlink_to(base)
    (made / "bin/python").symlink_to("python3")
    (made / "pyvenv.cfg").write_text("home = /usr/bin\n")
    (made / "lib/python3.11/site-packages/openai_agents-0.24.0.dist-info").mkdir(parents=True)
    (tmp_path / "path/openai-agents").symlink_to(made / "bin/python")
    return made


def test_it_is_found_by_where_the_link_leads_and_not_by_where_all_of_them_end(
    environment: Path, tmp_path: Path
) -> None:
    path = str(tmp_path / "path")
    assert found_environment("openai-agents", path) == str(environment)
    (tmp_path / "path/again").symlink_to("openai-agents")
    assert environment_of(f"{path}/again") is None, "a sandbox would not show the link between"
    assert environment_of(f"{environment}/bin/python") == str(environment)
    assert found_environment("no-such", path) is None


def test_a_program_without_an_environment_and_links_without_an_end_have_none(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/plain").write_text("")
    (tmp_path / "bin/round").symlink_to("round")
    assert environment_of(str(tmp_path / "bin/plain")) is None
    assert environment_of(str(tmp_path / "bin/round")) is None


def test_the_version_is_the_one_that_pip_wrote_down(environment: Path, tmp_path: Path) -> None:
    assert version_in(str(environment), "openai-agents") == "0.24.0"
    assert version_in(str(environment), "openai") is None and version_in("/nowhere", "x") is None
    assert written_version(PROGRAM, str(tmp_path / "path")) == "0.24.0"
    assert written_version(PROGRAM, str(tmp_path)) is None


def test_a_sandbox_shows_the_environment_and_what_its_python_was_made_from(
    environment: Path, tmp_path: Path
) -> None:
    shown = Programs(str(tmp_path / "path"), str(tmp_path / "home"), System()).shown()
    assert {str(environment), str(tmp_path / "base/one"), str(tmp_path / "path")} <= set(shown)


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
