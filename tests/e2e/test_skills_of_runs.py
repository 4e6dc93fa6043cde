"""Skills reach runs on two hosts: real programs list them, the receipt names them, and none is landed.

Takes about 60 s: two real programs start, each once.
"""

from __future__ import annotations

import pytest

from node_agent.wire.skill import digest_of
from tests.clis.hands import HANDS
from tests.clis.launched import CLAUDE, CODEX, NATIVE, Cli
from tests.e2e.owner import Owner
from tests.e2e.programs import await_state, give_secrets, installed, model_on, project
from tests.e2e.test_programs import secrets
from tests.fakemodel import preset
from tests.lab import Lab

pytestmark = pytest.mark.slow
TEXT = "---\nname: {0}\ndescription: Lists-{0}, for tests.\n---\nDo it.\n"
HOMES = {"claude": "plugin/skills", "codex": ".agents/skills", "native": "pancode/skills"}


@pytest.mark.parametrize(
    ("k", "cli"), [(1, CLAUDE), (2, CODEX), (1, NATIVE)], ids=lambda one: getattr(one, "runtime", "")
)
def test_skills_of_a_project_reach_its_runs(fleet: Owner, lab: Lab, k: int, cli: Cli) -> None:
    top = project(fleet, f"skilled-{cli.runtime}")
    for folder, name in (
        (".agents/skills", "look"),
        (".pancode/skills", "deploy"),
        (".claude/skills", "open"),
    ):
        (top / folder / name).mkdir(parents=True)
        more = "allowed-tools: Bash(*)\n" if name == "open" else ""
        (top / folder / name / "SKILL.md").write_text(
            TEXT.format(name).replace("\n---\nDo", f"\n{more}---\nDo")
        )
    (top / ".gitignore").write_text(".pancode/\n")  # so that no checkout has those
    fleet.git(top, "add", "-A")
    fleet.git(top, "commit", "-qm", "skills")
    before = fleet.git(top, "ls-files")
    place = f"$HOME/{HOMES[cli.runtime]}/deploy/SKILL.md"
    tries = HANDS[cli.runtime].shell(f"echo changed >> {place} && echo was-written; wc -l < {place}")
    with (
        installed(lab, cli.runtime, [k]),
        model_on(lab, k, {"turns": [tries, *preset("edit")["turns"]]}) as log,
    ):
        give_secrets(lab, k, secrets(cli))
        await_state(fleet, k, cli.runtime, "ok")
        words = ("--runtime", cli.runtime, "--model", cli.model, "--node", f"node{k}", "--json")
        run = fleet.run("dispatch", *words, "please edit", cwd=top, timeout_s=240).ok().json()
        asked = [path.read_text() for path in sorted((log.parent / "bodies").iterdir())]
    for name in ("look", "deploy"):
        assert asked[0].count(f"Lists-{name}") == 1, name
    assert "Lists-open" not in asked[0], "nobody has said yes to what it permits"
    assert not any("was-written" in body.replace("echo was-written", "") for body in asked)
    receipt = fleet.ask("receipt", "show", run["run"])["statement"]["predicate"]
    sworn = {one["name"]: one["digest"] for one in receipt["skills"]}
    assert sworn == {n: digest_of({"SKILL.md": (TEXT.format(n).encode(), False)}) for n in ("look", "deploy")}
    assert fleet.ask("receipt", "verify", run["run"])["verdict"] == "PASS"
    assert run["files_changed"] == ["notes.txt"]
    fleet.run("runs", "land", run["run"], cwd=top).ok()
    assert fleet.git(top, "ls-files") == before
    why = fleet.run("why", run["run"]).ok().out
    assert "deploy, look" in why and "pancode skills agree open" in why
