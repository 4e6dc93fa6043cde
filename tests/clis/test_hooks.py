"""Real programs ask the run's policy before a command, and have a shell at auto-edit where a sandbox stands.

The sandbox itself is not here: what it holds is in test_matrix.py. Takes about a minute in all.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from node_agent.runtimes.hooks import RULES
from node_agent.wire.failure import FailureKind as F
from node_agent.wire.policy import CommandRule, Isolation, Rules, Safety, compile_policy
from tests.clis.conftest import MakeBench
from tests.clis.hands import HANDS
from tests.clis.launched import CLAUDE, CODEX, COPILOT, GEMINI, OPENCODE, Bench, Cli

pytestmark = pytest.mark.slow

DONE = {"text": "Done: the work is finished.", "usage": {"input": 1200, "output": 34, "cache_read": 500}}
HOOKED = (CLAUDE, CODEX, COPILOT, GEMINI, OPENCODE)
TELLS = tuple(cli for cli in HOOKED if cli is not CODEX)
"""Codex leaves no event of a call that was not let through."""
RULED = Rules(commands=(CommandRule(pattern="printf ruled-", reason="the owner said so"),))
WORDS = "the owner said so"


def walled(bench: Bench) -> Bench:
    bench.isolation = Isolation.SANDBOX
    return bench


def asked(tmp_path: Path) -> str:
    """All that the model was sent."""
    return "\n".join(path.read_text() for path in sorted((tmp_path / "d").glob("*")))


@pytest.mark.parametrize("cli", HOOKED, ids=lambda cli: cli.runtime)
def test_at_auto_edit_tests_run_and_what_the_policy_forbids_does_not(
    make_bench: MakeBench, cli: Cli, tmp_path: Path
) -> None:
    shell = HANDS[cli.runtime].shell
    tries = [
        shell("printf ruled-%s out > ruled.txt"),
        shell("find notes.txt -delete"),
        shell("echo ok > tests-ran.txt"),
    ]
    b = walled(make_bench(cli, {"turns": [*tries, DONE]})[0])
    policy = compile_policy(Safety.AUTO_EDIT, False, rules=RULED)
    verdict = b.run(replace(b.request(), policy=policy))
    assert verdict.failure is None, verdict.reason
    left = {path.name for path in b.work.iterdir()}
    assert {"tests-ran.txt", "notes.txt"} <= left, "it has its shell, and nothing was deleted"
    assert "ruled.txt" not in left, "the owner's rule acts before the command"
    told = asked(tmp_path)
    assert WORDS in told and "shell_destructive is not allowed" in told, "the model is told why"
    if cli in TELLS:
        assert len(verdict.denials) == 2, verdict.denials


@pytest.mark.parametrize("cli", HOOKED, ids=lambda cli: cli.runtime)
def test_a_hook_that_fails_lets_nothing_through(make_bench: MakeBench, cli: Cli) -> None:
    b = walled(make_bench(cli, {"turns": [HANDS[cli.runtime].shell("echo x > shell.txt"), DONE]})[0])
    launch = b.launch

    def broken(request):  # type: ignore[no-untyped-def]
        made = launch(request)
        return replace(made, files={**made.files, RULES: json.dumps({"runtime": "?"}).encode()})

    b.launch = broken  # type: ignore[method-assign]
    verdict = b.run(b.request())
    assert not (b.work / "shell.txt").exists()
    assert cli is CODEX or verdict.failure is F.TOOL_DENIED, verdict.reason
