"""The real programs, started as the node starts a run, list the skills of the job, each once, and read one.

Takes about two minutes in all: each test starts the real program once.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from node_agent.runtimes.acp import FILE as ACP
from node_agent.runtimes.acp import AcpWay
from node_agent.runtimes.base import LaunchRequest, ProcessSpec
from node_agent.wire.policy import CommandRule, Isolation, Mode, Rules, Safety, compile_policy
from node_agent.wire.skill import JobSkill, SkillPlace, digest_of, pack_files
from tests.clis.conftest import MakeBench
from tests.clis.launched import CLAUDE, CODEX, COPILOT, GEMINI, OPENCODE, Cli
from tests.clis.test_talked import interactive_run

pytestmark = pytest.mark.slow
IN_ITSELF = {"codex": (".agents/skills",), "copilot": (".agents/skills", ".claude/skills")}
"""Where a program looks in the repository, whatever its flags say."""
READS = {
    "claude": ("Skill", {"skill": "pancode:deploy"}),
    "copilot": ("skill", {"skill": "deploy"}),
    "gemini": ("activate_skill", {"name": "deploy"}),
}
"""How its model reads a skill. Codex has no tool for that, and OpenCode's needs ripgrep on the machine."""


def text_of(name: str) -> str:
    return f"---\nname: {name}\ndescription: Lists-{name}, for tests.\n---\nBody-of-{name}\n"


def skill(name: str, place: SkillPlace = "", more: str = "") -> JobSkill:
    text = text_of(name) + more
    files = {"SKILL.md": (text.encode(), False), "scripts/go.sh": (b"#!/bin/sh\n", True)}
    return JobSkill(name=name, digest=digest_of(files), place=place, packed=pack_files(files))


@pytest.mark.parametrize("safety", [Safety.AUTO_EDIT, Safety.SUGGEST])
@pytest.mark.parametrize("cli", (CLAUDE, CODEX, COPILOT, GEMINI, OPENCODE), ids=lambda cli: cli.runtime)
def test_a_program_lists_those_of_its_job(
    make_bench: MakeBench, cli: Cli, safety: Safety, tmp_path: Path
) -> None:
    reads = READS.get(cli.runtime)
    turns = [{"call": {"name": reads[0], "arguments": reads[1]}}] if reads else []
    bench, _ = make_bench(cli, {"turns": [*turns, {"text": "Done."}, {"text": "Done."}]})
    places: tuple[SkillPlace, ...] = (".pancode/skills", ".agents/skills", ".claude/skills")
    ours = [skill("deploy"), *(skill(f"of-{place[1:].partition('/')[0]}", place) for place in places)]
    for one in ours:
        if one.place:
            (bench.work / one.place / one.name).mkdir(parents=True)
            (bench.work / one.place / one.name / "SKILL.md").write_text(text_of(one.name))
    hidden = bench.work / ".agents" / "skills" / "nobody-said-yes"
    hidden.mkdir(parents=True)
    (hidden / "SKILL.md").write_text(text_of("nobody-said-yes"))
    request = replace(bench.request(safety=safety), skills=tuple(ours))
    verdict = bench.run(request)
    assert verdict.failure is None, verdict.reason
    bodies = [path.read_text() for path in sorted((tmp_path / "d").iterdir())]
    for one in ours:
        assert bodies[0].count(f"Lists-{one.name}") == 1, (one.name, bodies[0].count(f"Lists-{one.name}"))
    itself = IN_ITSELF.get(cli.runtime, ())
    assert ("Lists-nobody-said-yes" in bodies[0]) is (".agents/skills" in itself)
    laid = [Path(name).parent.name for name in bench.launch(request).files if name.endswith("/SKILL.md")]
    assert sorted(laid) == sorted(one.name for one in ours if one.place not in itself)
    if reads:
        assert any("Body-of-deploy" in body for body in bodies)
    (script,) = bench.home.rglob("deploy/scripts/go.sh")
    assert script.stat().st_mode & 0o100


@pytest.mark.parametrize("cli", (CLAUDE, CODEX, COPILOT, GEMINI, OPENCODE), ids=lambda cli: cli.runtime)
def test_a_program_that_takes_turns_lists_them_too(make_bench: MakeBench, cli: Cli, tmp_path: Path) -> None:
    reads = READS.get(cli.runtime)
    turns = [{"call": {"name": reads[0], "arguments": reads[1]}}] if reads else []
    bench, _ = make_bench(cli, {"turns": [*turns, {"text": "Done."}, {"text": "Done."}]})
    hidden = bench.work / ".agents" / "skills" / "nobody-said-yes"
    hidden.mkdir(parents=True)
    (hidden / "SKILL.md").write_text(text_of("nobody-said-yes"))
    verdict = bench.run(interactive_run(bench, "first words", skills=(skill("deploy"),)))
    assert verdict.failure is None, verdict.reason
    bodies = [path.read_text() for path in sorted((tmp_path / "d").iterdir())]
    assert any(body.count("Lists-deploy") == 1 for body in bodies)
    itself = ".agents/skills" in IN_ITSELF.get(cli.runtime, ())
    assert any("Lists-nobody-said-yes" in body for body in bodies) is itself
    if reads:
        assert any("Body-of-deploy" in body for body in bodies)


RUNS = """
One !`touch ran-1` line.

!`touch ran-2
`

```!
touch ran-3
```

```! touch ran-4 ```

!$ARGUMENTS`touch ran-5`
"""
"""Each form of a command that Claude Code or OpenCode runs when it reads a skill (read in their binaries).

OpenCode puts arguments in before it looks for commands, so the last form becomes one if there are none.
"""
FORBIDDEN = Rules(commands=(CommandRule(pattern="touch", reason="nothing is touched here"),))


def has_run(work: Path) -> list[str]:
    return sorted(path.name for path in work.iterdir() if path.name.startswith("ran-"))


@pytest.mark.parametrize("safety", [Safety.AUTO_EDIT, Safety.FULL_AUTO])
@pytest.mark.parametrize("cli", (CLAUDE, COPILOT, GEMINI), ids=lambda cli: cli.runtime)
def test_a_skill_that_the_model_reads_runs_no_command(
    make_bench: MakeBench, cli: Cli, safety: Safety, tmp_path: Path
) -> None:
    tool, arguments = READS[cli.runtime]
    turns = [{"call": {"name": tool, "arguments": arguments}}, {"text": "Done."}, {"text": "Done."}]
    bench, _ = make_bench(cli, {"turns": turns})
    bench.isolation = Isolation.SANDBOX
    policy = compile_policy(safety, False, mode=Mode.BUILD, rules=FORBIDDEN)
    request = replace(bench.request(safety=safety), skills=(skill("deploy", more=RUNS),), policy=policy)
    verdict = bench.run(request)
    assert verdict.failure is None, verdict.reason
    told = "".join(path.read_text() for path in (tmp_path / "d").iterdir())
    assert not has_run(bench.work)
    assert "One ! `touch ran-1` line." in told, "the model reads what the skill says"


def test_opencode_runs_no_command_of_a_skill_that_a_user_calls(make_bench: MakeBench, tmp_path: Path) -> None:
    """OpenCode has each skill as a command, `/deploy`. Our ACP program never sends one; here it does."""
    bench, _ = make_bench(OPENCODE, {"turns": [{"text": "Done."}, {"text": "Done."}]})
    launch = bench.launch

    def with_commands(request: LaunchRequest) -> ProcessSpec:
        made = launch(request)
        way = AcpWay.model_validate_json(made.files[ACP]).model_copy(update={"signs": ""})
        return replace(made, files={**made.files, ACP: way.model_dump_json().encode()})

    bench.launch = with_commands  # type: ignore[method-assign]
    request = interactive_run(bench, "/deploy", skills=(skill("deploy", more=RUNS),))
    verdict = bench.run(replace(request, policy=compile_policy(Safety.AUTO_EDIT, False, rules=FORBIDDEN)))
    assert verdict.failure is None, verdict.reason
    told = "".join(path.read_text() for path in (tmp_path / "d").iterdir())
    assert not has_run(bench.work)
    assert "One ! `touch ran-1` line." in told, "the model reads what the skill says"
