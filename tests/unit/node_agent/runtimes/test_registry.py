"""The registry: every runtime is whole, and no runtime imports another."""

from __future__ import annotations

import ast
import itertools
from pathlib import Path

import pytest

import node_agent.runtimes
from node_agent.runtimes.base import EndedBy, ExitInfo
from node_agent.runtimes.registry import RUNTIMES
from node_agent.wire.failure import Outcome
from node_agent.wire.policy import Enforcement, Isolation, Mode, Safety
from tests.unit.node_agent.runtimes.asked import PLACE, ask

ROOM = Path(node_agent.runtimes.__file__).parent
SHARED = set(
    "acp adapters hooks skills anthropic workers workerspec workerstream base limits lines logins outcome "
    "starting vendors".split()
)


def test_the_runtimes_of_today() -> None:
    assert sorted(RUNTIMES) == [
        "claude",
        "claude-sdk",
        "codex",
        "copilot",
        "gemini",
        "native",
        "openai-agents",
        "opencode",
        "scripted",
        "shell",
    ]
    assert RUNTIMES.get("claude") is RUNTIMES["claude"]
    assert RUNTIMES.get("cluade") is None


@pytest.mark.parametrize("name", sorted(RUNTIMES))
def test_each_launches_parses_and_grades(name: str) -> None:
    runtime = RUNTIMES[name]
    made = runtime.launch(ask(), PLACE)
    assert made.argv and all(isinstance(a, str) for a in made.argv)
    assert all(not path.startswith("/") and ".." not in path for path in made.files)
    parser = runtime.parser(ask())
    assert parser.feed(b"") == []
    assert parser.finish(ExitInfo(signal=9, ended_by=EndedBy.WALL)).outcome is Outcome.TIMEOUT
    for mode, safety, read_only in itertools.product(Mode, Safety, (True, False)):
        assert runtime.enforcement(mode, safety, read_only, Isolation.SANDBOX) is Enforcement.SANDBOX


@pytest.mark.parametrize("name", sorted(RUNTIMES))
def test_what_is_said_to_be_enforced_is_graded_so(name: str) -> None:
    runtime = RUNTIMES[name]
    grade = runtime.enforcement(Mode.BUILD, Safety.AUTO_EDIT, True, Isolation.NONE)
    assert (grade is Enforcement.RUNTIME) is runtime.capabilities.read_only_enforced


@pytest.mark.parametrize("name", sorted(RUNTIMES))
def test_output_without_an_end_is_never_done_but_for_the_shell(name: str) -> None:
    verdict = RUNTIMES[name].parser(ask()).finish(ExitInfo(status=0))
    assert (verdict.outcome is Outcome.DONE) is (name == "shell")


@pytest.mark.parametrize("path", sorted(ROOM.glob("*/*.py")), ids=lambda p: f"{p.parent.name}/{p.name}")
def test_a_runtime_imports_the_shared_files_its_own_and_the_wire(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("node_agent"):
            named = [node.module or ""]
            if named == ["node_agent.runtimes"]:
                named = [f"{node.module}.{one.name}" for one in node.names]
            for parts in (one.split(".") for one in named):
                assert parts[1] in ("wire", "policy") or parts[2] in SHARED | {path.parent.name}, node.module


def test_the_reason_has_the_first_line_that_an_unreadable_program_wrote_for_users() -> None:
    said = b"\nerror: unknown option '--permission-prompts'\n(try --help)\n"
    verdict = RUNTIMES["claude"].parser(ask()).finish(ExitInfo(status=1, complaints=said))
    assert verdict.reason.endswith("readable event: error: unknown option '--permission-prompts'")


def test_a_program_older_than_our_flags_is_too_old_with_a_command_that_needs_no_root() -> None:
    program = RUNTIMES["claude"].program
    assert program is not None and program.lowest
    fact = program.fact((0, "2.1.197 (Claude Code)"), logged_in=True)
    assert (fact.state, fact.version) == ("too_old", "2.1.197")
    assert "npm install -g --prefix ~/.local @anthropic-ai/claude-code@latest" in fact.fix
    assert program.fact((0, program.lowest), logged_in=True).state == "ok"
    assert program.fact((0, "2.10.0"), logged_in=True).state == "ok", "numbers, not letters"
