"""The real programs, started as the node starts a run, list the skills of the order, each once, and read one.

Takes about two minutes in all: each test starts the real program once.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from node_agent.wire.policy import Safety
from node_agent.wire.skill import OrderedSkill, SkillPlace, digest_of, packed
from tests.clis.conftest import MakeBench
from tests.clis.launched import CLAUDE, CODEX, COPILOT, GEMINI, OPENCODE, Cli
from tests.clis.test_talked import sitting

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


def skill(name: str, place: SkillPlace = "") -> OrderedSkill:
    files = {"SKILL.md": (text_of(name).encode(), False), "scripts/go.sh": (b"#!/bin/sh\n", True)}
    return OrderedSkill(name=name, digest=digest_of(files), place=place, packed=packed(files))


@pytest.mark.parametrize("safety", [Safety.AUTO_EDIT, Safety.SUGGEST])
@pytest.mark.parametrize("cli", (CLAUDE, CODEX, COPILOT, GEMINI, OPENCODE), ids=lambda cli: cli.runtime)
def test_a_program_lists_those_of_its_order(
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
    verdict = bench.run(sitting(bench, "first words", skills=(skill("deploy"),)))
    assert verdict.failure is None, verdict.reason
    bodies = [path.read_text() for path in sorted((tmp_path / "d").iterdir())]
    assert any(body.count("Lists-deploy") == 1 for body in bodies)
    itself = ".agents/skills" in IN_ITSELF.get(cli.runtime, ())
    assert any("Lists-nobody-said-yes" in body for body in bodies) is itself
    if reads:
        assert any("Body-of-deploy" in body for body in bodies)
