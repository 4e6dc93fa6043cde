"""A real node: what an agent leaves is held against the job's rules and the node owner's.

Where there is a sandbox, a mount keeps what is there from being changed: see tests/integration/sandbox.
"""

from __future__ import annotations

import pytest

from node_agent.wire.event import Finding, Progress, Refused
from node_agent.wire.failure import FailureKind, JobRefusal, Outcome
from node_agent.wire.policy import PathAccess, PathRule, Rules, Safety, compile_policy
from tests.integration.node.node_world import NodeWorld, until

GUARDED = Rules(
    paths=(
        PathRule(pattern="f1", access=PathAccess.READ, reason="signed", origin="your pansafety.yaml:2"),
        PathRule(pattern="f2", access=PathAccess.NO_DELETE),
        PathRule(pattern=".env", access=PathAccess.NONE),
    )
)
POLICY = compile_policy(Safety.AUTO_EDIT, read_only=False, rules=GUARDED)


def test_a_change_of_a_guarded_file_is_a_violation_and_is_kept(world: NodeWorld) -> None:
    world.without_sandbox()
    claims = world.run(world.job("#!scripted\nwrite f1 x\nwrite f3 y\nanswer ok", policy=POLICY))
    assert (claims.outcome, claims.failure) == (Outcome.POLICY_VIOLATION, FailureKind.RULE_BROKEN)
    assert claims.reason == "f1 was changed: rule read: f1 (your pansafety.yaml:2): signed"
    assert claims.reason in claims.findings
    assert claims.commit is not None and set(claims.files_changed) == {"f1", "f3"}, "the work is not lost"


def test_what_no_rule_covers_is_done(world: NodeWorld) -> None:
    claims = world.run(world.job("#!scripted\nwrite f2 y\nanswer ok", policy=POLICY))
    assert claims.outcome is Outcome.DONE and not any("rule " in finding for finding in claims.findings)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("rm f2", "f2 was deleted: rule no-delete"),
        ("mv f2 f4", "f2 was deleted"),
        ("chmod +x f1", "f1 was given another mode"),
        ("ln -sfn f3 f2", "f2 was replaced"),
        ("ln -s sub/.env key", "key was made a link to sub/.env"),
        (
            "echo K=1 > .env && git add .env && git commit -qm a && git rm -qf .env && git commit -qm b",
            ".env",
        ),
    ],
)
def test_deletions_renames_modes_and_links(world: NodeWorld, script: str, words: str) -> None:
    world.without_sandbox()
    job = world.job(script, runtime="shell", policy=POLICY)
    claims = world.run(job)
    assert (claims.outcome, claims.failure) == (Outcome.POLICY_VIOLATION, FailureKind.RULE_BROKEN)
    assert words in claims.reason


def test_the_owners_rules_hold_whatever_the_order_says(world: NodeWorld) -> None:
    world.without_sandbox()
    (world.home.root / "pansafety.yaml").write_text("readOnlyPaths: [f3]\n")
    claims = world.run(world.job("#!scripted\nwrite f3 y\nanswer ok"))
    assert claims.failure is FailureKind.RULE_BROKEN
    assert "(node owner's pansafety.yaml:1)" in claims.reason


def test_rules_of_the_owner_that_cannot_be_read_close_the_node(world: NodeWorld) -> None:
    (world.home.root / "pansafety.yaml").write_text("readOnlyPath: [f3]\n")
    job = world.job("#!scripted\nanswer ok")
    world.coordinator.push(job)
    until(lambda: any(body.kind == "refused" for body in world.coordinator.bodies(job.identity)))
    (refused,) = [b for b in world.coordinator.bodies(job.identity) if isinstance(b, Refused)]
    assert refused.why is JobRefusal.CEILING
    assert "readOnlyPaths?" in refused.detail and "pansafety.yaml:1" in refused.detail


def test_rules_that_break_while_it_runs_let_nothing_pass_as_done(world: NodeWorld) -> None:
    path = world.home.root / "pansafety.yaml"
    job = world.job("#!scripted\nwrite f3 y\ntick 40 0.1\nanswer ok")
    world.coordinator.push(job)
    until(lambda: any(isinstance(body, Progress) for body in world.coordinator.bodies(job.identity)))
    path.write_text("nonsense: 1")
    claims = world.ended(job.identity)
    assert claims.failure is FailureKind.RULE_BROKEN
    assert "the rules cannot be checked" in claims.reason


def test_a_call_that_a_rule_forbids_ends_the_run(world: NodeWorld) -> None:
    """It is told at once, and the agent does not get to its end."""
    script = "#!scripted\nclaim read sub/.env\ntick 600 0.1\nwrite f3 y\nanswer ok"
    job = world.job(script, policy=POLICY)
    claims = world.run(job)
    assert (claims.outcome, claims.failure) == (Outcome.POLICY_VIOLATION, FailureKind.RULE_BROKEN)
    assert claims.change == "empty" and claims.reason == "read sub/.env: rule none: .env"
    assert "let through: read sub/.env: rule none: .env" in claims.findings
    told = [body.text for body in world.coordinator.bodies(job.identity) if isinstance(body, Finding)]
    assert told == ["let through: read sub/.env: rule none: .env"]


def test_a_rule_broken_in_the_last_moment_counts_as_well(world: NodeWorld) -> None:
    (world.home.root / "pansafety.yaml").write_text(
        "rules:\n- {pattern: terraform, type: bash, action: deny, reason: by users}\n"
    )
    script = "#!scripted\nclaim bash 'cd x && terraform apply'\nanswer ok"
    claims = world.run(world.job(script))
    assert claims.failure is FailureKind.RULE_BROKEN
    assert "(node owner's pansafety.yaml:2): by users" in claims.reason


def test_what_only_the_level_forbids_is_a_finding(world: NodeWorld) -> None:
    claims = world.run(world.job("#!scripted\nclaim bash 'git push'\nwrite f3 y\nanswer ok", policy=POLICY))
    assert claims.outcome is Outcome.DONE
    assert "let through: git push: git_push is not allowed in this run" in claims.findings
