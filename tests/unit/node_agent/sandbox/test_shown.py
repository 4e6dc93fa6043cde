"""What must be shown so that a program runs: its package, its interpreter, never somebody's home."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from node_agent.sandbox.policy import Network, System
from node_agent.sandbox.shown import Programs, is_begun_by_us, list_guarded, this_system
from node_agent.shim.spool import StepKind
from node_agent.workspace.folders import AttemptFolders, write_below
from node_agent.workspace.homes import store_files
from tests.unit.node_agent.shim.test_spool import PLAN, STEP

SYSTEM = System(("/usr",), {"/bin": "usr/bin"})


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home" / "me"


def program(path: Path, text: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def link(path: Path, target: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)
    return path


def shown(home: Path, path: str, *programs: str) -> set[str]:
    return set(Programs(path, str(home), SYSTEM).shown(*programs))


def test_what_is_of_the_system_needs_no_showing(home: Path) -> None:
    assert shown(home, "/usr/bin:/bin", "sh", "/bin/sh", "no-such-program") == set()


def test_a_package_of_npm_is_shown_with_all_beside_it(home: Path) -> None:
    real = program(home / ".npm/lib/node_modules/@v/agent/cli.js", "#!/usr/bin/env sh\n")
    folder = link(home / ".npm/bin/agent", real).parent
    assert shown(home, f"{folder}:/usr/bin", "agent") == {
        *(str(folder), str(home / ".npm/lib/node_modules")),
    }


def test_what_others_in_the_same_folder_lead_to_is_shown_too(home: Path) -> None:
    """The agent's shell looks there as well."""
    link(home / ".local/bin/tool", program(home / ".local/share/tools/tool/bin/tool"))
    assert shown(home, f"{home}/.local/bin") == {f"{home}/.local/bin", f"{home}/.local/share/tools/tool"}


def test_an_interpreter_comes_with_its_program(home: Path) -> None:
    python = program(home / ".local/share/python/3.13/bin/python3")
    tool = program(home / "work/tool", f"#!{python} -I\n")
    assert shown(home, "/usr/bin", str(tool)) == {str(tool), str(python.parents[1])}


def test_tokens_that_lie_beside_a_bin_stay_out(home: Path) -> None:
    program(home / ".cargo/bin/cargo")
    program(home / ".cargo/credentials.toml", "secret")
    assert shown(home, f"{home}/.cargo/bin", "cargo") == {f"{home}/.cargo/bin"}


@pytest.mark.parametrize("path", ["{home}", "/", "{home}/..", ".", "bin", ""])
def test_a_path_that_names_a_home_shows_nothing(home: Path, path: str) -> None:
    program(home / "tool")
    assert shown(home, path.format(home=home)) == set()


def test_a_machine_that_has_programs_outside_of_usr(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "bin").symlink_to("usr/bin")
    top = [str(tmp_path / name) for name in ("bin", "lib", "lib64")]
    assert this_system(top, ()) == System(("/usr", top[1]), {top[0]: "usr/bin"})


def test_what_programs_need_of_etc_is_found_and_only_what_anybody_may_read(tmp_path: Path) -> None:
    for name, mode in (("java-17", 0o755), ("java-21", 0o700), ("java-22", 0o754), ("other", 0o755)):
        (tmp_path / name).mkdir(mode=mode)
    (tmp_path / "locale.alias").write_text("x")
    (tmp_path / "maven").write_text("password")
    (tmp_path / "maven").chmod(0o640)
    link(tmp_path / "java-gone", tmp_path / "nowhere")
    found = this_system((), [str(tmp_path / name) for name in ("java*", "maven", "locale.alias", "php")])
    assert found.etc == (str(tmp_path / "java-17"), str(tmp_path / "locale.alias"))


@pytest.mark.parametrize("path", ["{0}/x/../tools", "//{0}/tools/", "{0}/tools/.", "rel:{0}/tools:../x:"])
def test_what_is_shown_is_always_clean_and_absolute(home: Path, path: str) -> None:
    program(home / "tools/tool")
    assert shown(home, path.format(home), "tool") == {f"{home}/tools"}


def test_a_program_is_named_by_a_clean_path_or_is_none(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = program(tmp_path / "srv/tools/tool", "#!../python\n")
    program(tmp_path / "srv/python")
    monkeypatch.chdir(tool.parent)
    assert shown(home, "/usr/bin", "./tool", "../tools/tool") == set()
    assert shown(home, "/usr/bin", f"{tool.parent}/../tools/tool") == {str(tool)}
    assert shown(home, "", "tool") == set()


def test_a_folder_of_path_that_cannot_be_listed_is_shown_as_it_is(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(folder: str) -> None:
        raise PermissionError(folder)

    program(tmp_path / "tools/tool")
    monkeypatch.setattr(os, "scandir", refused)
    assert shown(home, f"{tmp_path}/tools") == {f"{tmp_path}/tools"}


def test_what_a_version_manager_s_shims_lead_to_is_shown_with_them(home: Path) -> None:
    """As pyenv: a script of its own, the file that names the version, the versions; not what lies beside."""
    root = home / ".pyenv"
    shim = program(root / "shims/python3", "#!/usr/bin/env sh\n")
    program(root / "libexec/pyenv-exec")
    program(root / "versions/3.12/bin/python3")
    for name in ("version", "token"):
        (root / name).write_text("3.12")
    there = {f"{root}/{name}" for name in ("shims", "libexec", "version", "versions")}
    assert shown(home, f"{shim.parent}:/usr/bin", "python3") == there


@pytest.mark.parametrize(
    ("argv", "kind", "network", "ours"),
    [
        ((sys.executable, "-I", "worker.py"), StepKind.AGENT, Network.FULL, True),
        (("claude", "-p"), StepKind.AGENT, Network.MODEL, True),
        (("claude", "-p"), StepKind.AGENT, Network.FULL, False),
        ((sys.executable, "-m", "pytest"), StepKind.GATE, Network.NONE, False),
    ],
)
def test_our_worker_and_a_model_behind_the_gateway_begin_behind_a_process_of_ours(
    argv: tuple[str, ...], kind: StepKind, network: Network, ours: bool
) -> None:
    plan = replace(PLAN, steps=(replace(STEP, argv=argv, kind=kind),))
    assert is_begun_by_us(plan, network) is ours


def test_skills_are_shown_read_only_as_whole_folders(tmp_path: Path) -> None:
    names = (".agents/skills/deploy/SKILL.md", ".agents/skills/deploy/skills/a.md", "codex/AGENTS.md")
    home = tmp_path / "a" / "home"
    for name in names:
        write_below(home, name, b"x")
    store_files(AttemptFolders(tmp_path / "a"), dict.fromkeys(names, b"x"))
    assert set(list_guarded(str(home))) == {f"{home}/.agents/skills", f"{home}/codex/AGENTS.md"}
    assert set(list_guarded(str(home), of_agent=False)) == set()


def test_a_script_may_be_run_and_nothing_else(tmp_path: Path) -> None:
    write_below(tmp_path, "go.sh", b"#!/bin/sh\n")
    write_below(tmp_path, "SKILL.md", b"x")
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("go.sh", "SKILL.md")] == [0o700, 0o600]
