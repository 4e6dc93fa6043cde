"""What holds for each vendor's program: its task and its key are on no command line, and how it is found."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from node_agent.runtimes.registry import RUNTIMES
from node_agent.runtimes.starting import held_but_full_auto
from node_agent.wire.policy import Enforcement, Isolation, Mode, Safety
from tests.unit.node_agent.runtimes.asked import PLACE, ask


@dataclass(frozen=True)
class Program:
    """`says`: its `--version`, and the version in it. `newer`: one that was not measured. `login`: what the
    fix names where it is not logged in, and `package` where it is missing."""

    says: str
    version: str
    newer: str
    login: str
    package: str


PROGRAMS = {
    "claude": Program("2.1.328 (Claude Code)", "2.1.328", "3.0.0", "ANTHROPIC_API_KEY", "claude"),
    "codex": Program("codex-cli 0.169.4", "0.169.4", "1.0.0", "OPENAI_API_KEY", "@openai/codex@latest"),
    "copilot": Program(
        *("GitHub Copilot CLI 1.0.102.", "1.0.102", "1.1.0"),
        *("COPILOT_PROVIDER_BASE_URL", "@github/copilot@latest"),
    ),
    "gemini": Program("0.61.0", "0.61.0", "0.70.1", "GEMINI_API_KEY", "@google/gemini-cli@latest"),
    "opencode": Program("1.18.33", "1.18.33", "2.0.0", "OPENAI_BASE_URL", "opencode-ai@latest"),
}


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("task", ["/help", "--version", "", "a\n\nb", "$(id) 'q' \"r\" 😀", "\udcff"])
def test_the_task_is_on_standard_input_behind_a_line_of_ours(name: str, task: str) -> None:
    made = RUNTIMES[name].launch(ask(task=task, prompt=task), PLACE)
    assert made.stdin == b"Task:\n" + task.encode("utf-8", "surrogateescape") + b"\n"
    assert task == "" or task not in made.argv


@pytest.mark.parametrize("name", PROGRAMS)
def test_how_it_is_found(name: str) -> None:
    one = PROGRAMS[name]
    yes, no = (0, ""), (1, "")
    for results, state, version, fix in (
        ([], "missing", None, one.package),
        ([(None, ""), yes], "missing", None, one.package),
        ([(1, "boom"), no], "missing", None, one.package),
        ([(0, "huh"), yes], "unknown_version", None, one.package),
        ([(0, f"{one.says}\n"), no], "not_logged_in", one.version, one.login),
        ([(0, f"{one.says}\n")], "not_logged_in", one.version, one.login),
        ([(0, f"{one.says}\n"), yes], "ok", one.version, ""),
        ([(0, one.version), yes], "ok", one.version, ""),
        ([(0, one.newer), yes], "ok", one.newer, "tested with "),
    ):
        fact = RUNTIMES[name].probe.read(results)
        assert (fact.state, fact.version) == (state, version), results
        assert fix in fact.fix and bool(fact.fix) is bool(fix), (results, fact.fix)


def test_full_auto_is_told_only_without_a_wall() -> None:
    def grade(safety: Safety, isolation: Isolation = Isolation.NONE) -> Enforcement:
        return held_but_full_auto(Mode.BUILD, safety, False, isolation)

    assert grade(Safety.SUGGEST) is grade(Safety.AUTO_EDIT) is Enforcement.RUNTIME
    assert grade(Safety.FULL_AUTO) is Enforcement.TOLD_ONLY
    assert grade(Safety.FULL_AUTO, Isolation.SANDBOX) is Enforcement.SANDBOX
