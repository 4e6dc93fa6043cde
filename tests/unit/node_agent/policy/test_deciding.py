"""Which files decide what runs next."""

from __future__ import annotations

import pytest

from node_agent.policy.deciding import ALWAYS, WHEN_USED, why_it_decides
from node_agent.policy.globs import pattern_fault

COMMANDS = (("python3", "-m", "venv", ".venv"), ("sh", "tools/test.sh"), ("sh", "-c", "./a.sh && b/c.sh"))


@pytest.mark.parametrize(
    "path", ["pancode.yaml", ".github/workflows/x.yml", "sub/.envrc", ".husky/pre-commit", "tools/test.sh"]
)
def test_it_does(path: str) -> None:
    assert why_it_decides(path, COMMANDS)


@pytest.mark.parametrize("path", ["a.sh", "b/c.sh"])
def test_a_script_that_a_shell_line_names_does(path: str) -> None:
    assert why_it_decides(path, COMMANDS) == "set-up or a gate runs it"


@pytest.mark.parametrize(
    "path", ["src/a.py", "tests/test_a.py", "Makefile", "package.json", "doc/pancode.yaml"]
)
def test_it_does_not(path: str) -> None:
    assert why_it_decides(path, COMMANDS) == ""


@pytest.mark.parametrize(
    ("gate", "path"),
    [
        (("make", "test"), "Makefile"),
        (("npm", "test"), "package.json"),
        ((".venv/bin/python", "-m", "pytest"), "tests/conftest.py"),
        ((".venv/bin/pip", "install", "-e", "."), "setup.py"),
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
