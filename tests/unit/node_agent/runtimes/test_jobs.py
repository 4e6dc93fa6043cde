"""From a job to a launch request, and from a verdict to what a receipt mentions."""

from __future__ import annotations

import dataclasses

import pytest

from node_agent.runtimes.base import TOOLS, Denial, RuntimeVerdict
from node_agent.runtimes.jobs import fitted_guide, list_enforced, list_findings, request_of, with_guide
from node_agent.runtimes.registry import RUNTIMES
from node_agent.wire.identity import AttemptId
from node_agent.wire.job import AgentSpec, Job, Reasoning, Workspace
from node_agent.wire.model import FleetTime
from node_agent.wire.policy import ActionClass, Enforcement, Isolation, Mode, Safety, compile_policy
from node_agent.wire.receipt import Usage
from tests.unit.node_agent.runtimes.asked import LIMITS

JOB = Job(
    fleet="f-7f3k2q",
    epoch=1,
    identity=AttemptId(run="r-7f3k2q", attempt=1, lease=1),
    node="0123456789",
    issued_wall_ms=0,
    start_by=FleetTime(epoch=1, ms=1),
    agent=AgentSpec(name="builder", prompt="be kind", tools=TOOLS, read_only=False),
    task="do it",
    argv=("true",),
    runtime="claude",
    model="m",
    reasoning=Reasoning.LOW,
    mode=Mode.BUILD,
    safety=Safety.AUTO_EDIT,
    policy=compile_policy(Safety.AUTO_EDIT, False),
    workspace=Workspace(kind="none"),
    limits=LIMITS,
    trace="t",
)


def test_every_field_of_a_request_comes_from_the_job_or_the_folders() -> None:
    request = request_of(JOB, "/w", "/h")
    assert dataclasses.asdict(request) == {
        "task": "do it",
        "prompt": "be kind",
        "mode": Mode.BUILD,
        "safety": Safety.AUTO_EDIT,
        "read_only": False,
        "workspace": "/w",
        "folder": "",
        "home": "/h",
        "limits": LIMITS,
        "model": "m",
        "reasoning": Reasoning.LOW,
        "argv": ("true",),
        "resume": None,
        "tools": TOOLS,
        "sampling": None,
        "fleet": None,
        "policy": JOB.policy,
        "context": None,
        "channel": None,
        "answer": None,
        "interactive_run": None,
        "skills": (),
    }


@pytest.mark.parametrize(
    ("changes", "rule", "how"),
    [
        ({}, "auto-edit", Enforcement.RUNTIME),
        ({"mode": Mode.PLAN}, "read-only", Enforcement.RUNTIME),
        ({"safety": Safety.SUGGEST}, "read-only", Enforcement.RUNTIME),
        ({"safety": Safety.FULL_AUTO}, "full-auto", Enforcement.TOLD_ONLY),
    ],
)
def test_the_rule_and_who_holds_it(changes: dict, rule: str, how: Enforcement) -> None:
    (one,) = list_enforced(JOB.model_copy(update=changes), RUNTIMES["claude"], Isolation.NONE)
    assert (one.rule, one.how) == (rule, how)


@pytest.mark.parametrize(
    ("runtime", "tools", "read_only", "how"),
    [
        ("claude", ("read", "edit"), False, Enforcement.RUNTIME),
        ("codex", ("read", "edit"), False, Enforcement.TOLD_ONLY),
        ("claude", ("read",), True, Enforcement.RUNTIME),
        ("claude", ("read", "grep", "find", "ls"), True, None),
        ("shell", ("read",), False, None),
    ],
)
def test_fewer_tools_than_the_level_gives_are_held_or_told(
    runtime: str, tools: tuple[str, ...], read_only: bool, how: Enforcement | None
) -> None:
    agent = AgentSpec(name="a", prompt="", tools=tools, read_only=read_only)
    found = list_enforced(JOB.model_copy(update={"agent": agent}), RUNTIMES[runtime], Isolation.NONE)
    told = [(one.rule, one.how) for one in found[1:]]
    assert told == ([] if how is None else [(f"tools {', '.join(tools)}", how)])


def test_denials_are_mentioned_but_not_without_end() -> None:
    denials = tuple(Denial(f"T{i}", ActionClass.SHELL, "no", "rm -r a") for i in range(12))
    told = list_findings(RuntimeVerdict(None, "", "", Usage(), denials=denials))
    assert told[0] == "denied: T0 (shell) rm -r a: no"
    assert (len(told), told[-1]) == (11, "and 2 more denied calls")
    assert list_findings(RuntimeVerdict(None, "", "", Usage())) == ()


def test_the_words_of_a_repository_fit_the_window_of_its_model() -> None:
    guide = "Run make test.\n" * 1_000
    assert fitted_guide(guide, 2_000, None) == guide, "nobody knows the window"
    assert fitted_guide(guide, 2_000, 128_000) == guide
    assert fitted_guide("", 16_000, 4_096) == "", "a repository without one has none that was left out"
    small = fitted_guide(guide, 2_000, 8_192)
    assert small.startswith("Run make test.") and "more characters did not fit this model" in small
    assert len(with_guide("p" * 2_000, small)) <= 8_192 // 2 * 4
    assert fitted_guide(guide, 16_000, 8_192) == (
        "[AGENTS.md of the repository does not fit this model: read the file where you need it]"
    )
