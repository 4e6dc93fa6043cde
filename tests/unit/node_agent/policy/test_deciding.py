"""Which files decide what runs next."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from node_agent.policy.deciding import ALWAYS, READ_BY, WHEN_USED, why_it_decides
from node_agent.policy.patterns import pattern_fault
from node_agent.runtimes.registry import RUNTIMES
from pancode.agents.runtimes import RUNTIMES as KINDS
from tests.architecture.sources import ROOT

COMMANDS = (("python3", "-m", "venv", ".venv"), ("sh", "tools/test.sh"), ("sh", "-c", "./a.sh && b/c.sh"))


@pytest.mark.parametrize(
    "path",
    [
        *("pancode.yaml", ".github/workflows/x.yml", "sub/.envrc", ".husky/pre-commit", "tools/test.sh"),
        *(".pancode/workflows/review-loop.yaml", ".pancode/agents/builder.yaml", "sub/.pancode/x/y"),
        *("panagents.yaml", "sub/panpresets.yaml", "pansafety.yaml", "sub/safety-rules.yaml"),
        *(
            "sub/pancode.yaml",
            ".qwen/settings.json",
            "opencode.json",
            "opencode.jsonc",
            ".opencode/plugin/x.js",
        ),
        *(
            "AGENTS.md",
            "sub/AGENTS.md",
            "CLAUDE.md",
            "GEMINI.md",
            "QWEN.md",
            ".github/copilot-instructions.md",
        ),
        *(".cursor/mcp.json", ".zed/tasks.json", "lefthook.yaml", ".lefthook.yml", "lefthook-local.yml"),
        *(".mise/config.toml", ".config/mise.toml", "mise.local.toml", ".tool-versions", ".woodpecker.yml"),
        *(".drone.yml", "bitbucket-pipelines.yml", ".travis.yml", ".buildkite/pipeline.yml", "appveyor.yml"),
        *(".gitlab/ci.yml", ".exrc", ".nvim.lua", ".dir-locals.el", ".agents/skills/x", ".copilot/mcp.json"),
        *(".agent/skills/x/SKILL.md", ".factory/droids/x.md", "crush.json", ".helix/config.toml"),
        *(".Rprofile", ".pdbrc", "src/.gdbinit"),
        *("env/pyvenv.cfg", "sitecustomize.py", "src/usercustomize.py", ".python-version"),
        *(".ENVRC", ".Vscode/tasks.json", ".mcp.JSON", "agents.md", ".PANCODE/workflows/x.yaml", ".github"),
    ],
)
def test_it_does(path: str) -> None:
    assert why_it_decides(path, COMMANDS)


@pytest.mark.parametrize(
    ("path", "why"),
    [
        (".github/workflows/x.yml", "continuous integration runs it"),
        (".vscode/tasks.json", "an editor runs what it names"),
        ("AGENTS.md", "an agent program obeys it, or runs what it names"),
    ],
)
def test_a_person_is_told_who_runs_it(path: str, why: str) -> None:
    assert why_it_decides(path, ()) == why


@pytest.mark.parametrize("path", ["a.sh", "b/c.sh"])
def test_a_script_that_a_shell_line_names_does(path: str) -> None:
    assert why_it_decides(path, COMMANDS) == "set-up or a gate runs it"


@pytest.mark.parametrize(
    "path",
    [
        *("src/a.py", "tests/test_a.py", "Makefile", "package.json", "docs/agents.md.txt", "pancode/x.yaml"),
        *("Procfile", "docker-compose.yml", ".bazelrc"),
        *(".gitattributes", ".gitmodules"),
    ],
)
def test_it_does_not(path: str) -> None:
    """A person starts the program that reads it; a driver that git runs stands in no file that is landed."""
    assert why_it_decides(path, COMMANDS) == ""


@pytest.mark.parametrize(
    ("gate", "path"),
    [
        (("make", "test"), "Makefile"),
        (("npm", "test"), "package.json"),
        ((".venv/bin/python", "-m", "pytest"), "tests/conftest.py"),
        ((".venv/bin/pip", "install", "-e", "."), "setup.py"),
        (("docker", "compose", "up", "--wait"), "docker-compose.yml"),
        (("foreman", "check"), "Procfile"),
        (("bazel", "test", "//..."), ".bazelrc"),
    ],
)
def test_what_a_named_program_reads_does(gate: tuple[str, ...], path: str) -> None:
    assert gate[0] in why_it_decides(path, [gate]) or "uses" in why_it_decides(path, [gate])
    assert why_it_decides(path, [("true",)]) == ""


def test_a_file_that_a_gate_only_reads_does_not() -> None:
    gates = (("grep", "-q", "two", "a.txt"), ("cmp", "a.txt", "b.txt"), ("./check", "a.txt"))
    assert why_it_decides("a.txt", gates) == ""
    assert why_it_decides("check", gates) == "set-up or a gate runs it"
    assert why_it_decides("check.py", (("/usr/bin/python3.11", "-I", "check.py"),))
    assert why_it_decides("a", ((),)) == ""


def test_every_pattern_is_one() -> None:
    patterns = [*ALWAYS, *(one for several in WHEN_USED.values() for one in several)]
    assert [pattern_fault(one) for one in patterns] == [None] * len(patterns)


OURS = {
    ".git": "refused by its own rule",
    ".keep": "in a folder made for one run",
    ".new": "the end of a name, until the file is whole",
    ".local": "below the login user's home",
    ".pancode-node": "the node's home",
    "pnpm-lock.yaml": "no program runs it; its being there names a package manager",
    "config.yaml": "in the home that Hermes gets for a run",
    "NOTES.md": "written by the shipped example script",
    "SKILL.md": "of the skills that its order has, in its home",
}
"""Names in that code which are no files of a project on which a program acts."""
READERS = (
    *("node_agent/runtimes", "node_agent/native", "node_agent/sdk", "node_agent/hooks"),
    *("pancode/config", "pancode/workflows/files", "pancode/app/repository_proposal.py"),
)
_SUFFIXES = {".json", ".jsonl", ".ndjson", ".txt", ".yaml", ".yml"}
_NAME = re.compile(r"\.[a-z][a-z-]{2,}|[A-Z]{2,}\.md|[a-z-]+\.ya?ml")


def test_every_runtime_says_what_its_program_reads() -> None:
    assert set(READ_BY) == {"pancode", *RUNTIMES}, "READ_BY of policy/deciding.py names each runtime"
    assert [name for name, kind in KINDS.items() if not kind.own and not READ_BY[name]] == []


def test_every_name_in_the_code_of_what_reads_a_project_is_asked_about() -> None:
    found = {name for folder in READERS for name in _names(folder)}
    assert {".pancode", ".gemini", ".opencode", ".qwen", "QWEN.md", "pancode.yaml"} <= found, "it looks there"
    left = {name for name in found if not why_it_decides(name, ()) and not why_it_decides(f"sub/{name}", ())}
    assert left == set(OURS), "name it in READ_BY of policy/deciding.py; or here, with the reason"


def _names(folder: str) -> Iterator[str]:
    """Names of files and folders in its texts; docstrings are left out."""
    place = ROOT / folder
    files = [place] if place.is_file() else sorted(place.rglob("*.py"))
    assert files, folder
    for file in files:
        tree = ast.parse(file.read_text())
        docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        glued = {id(v) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for v in node.values}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
                parts = node.value.split("/")[id(node) in glued :]  # what is glued to a value is half a name
                yield from (part for part in parts if _NAME.fullmatch(part) and part not in _SUFFIXES)
