"""A plan over two hosts: talked about, kept in its workspace, built on, landed, and made into a chain."""

from __future__ import annotations

from tests.clis.launched import NATIVE
from tests.e2e.owner import Owner, until
from tests.e2e.programs import PORT, await_state, give_prices, give_secrets, installed, model_on, project
from tests.lab import Lab

THERE = 2
PLAN = "# Limits\n\n## Scope\n\nAll calls.\n\n## Steps\n\n1. Write limits.txt.\n2. Test it."
USED = {"input": 1200, "output": 34}
TALK = [{"text": "Which calls count?", "usage": USED}, {"text": PLAN, "usage": USED}]
WHERE = ("--node", f"node{THERE}", "--model", NATIVE.model)
NAME = "limit-the-calls"


def test_a_plan_is_talked_about_kept_built_on_and_landed(fleet: Owner, healed: Lab) -> None:
    """It takes more than 30 s: a session with a rest, and two runs on another host."""
    top = project(fleet, "planned")
    with installed(healed, "native", [THERE]), model_on(healed, THERE, {"count": "assistant", "turns": TALK}):
        give_secrets(healed, THERE, dict(NATIVE.env(f"http://127.0.0.1:{PORT}")))
        give_prices(healed, THERE, {NATIVE.model: "1 1 1 1"})
        await_state(fleet, THERE, "native", "ok")
        begin = ("plan", "Limit the calls", "--once", *WHERE, "--runtime", "native")
        asked = fleet.run(*begin, cwd=top, timeout_s=120).ok()
        assert "Which calls count?" in asked.out and f"pancode issue plan --keep {NAME}" in asked.err
        early = fleet.run("issue", "plan", "--keep", NAME, cwd=top, timeout_s=60)
        assert early.code != 0 and "is not a plan" in early.err, "a question is none"
        (talk,) = fleet.ask("workspace", "show", NAME)["runs"]
        fleet.run("attach", "--once", talk["run"], "all of them", cwd=top, timeout_s=120).ok()
        keeps = (
            fleet.run("issue", "plan", "--keep", NAME, "--json", cwd=top, timeout_s=120).ok().json()["run"]
        )
        until(lambda: fleet.show(keeps)["outcome"], "it is written", 60)
    assert fleet.show(keeps)["outcome"] == "done", fleet.show(keeps)
    script = f"grep -q 'Write limits.txt' docs/{NAME}-plan.md && echo 10 >limits.txt"
    build = ("dispatch", "--workspace", NAME, "--runtime", "shell", "--json", script)
    built = fleet.run(*build, cwd=top, timeout_s=90).ok().json()
    fleet.run("land", built["run"], cwd=top, timeout_s=90).ok()
    assert (top / "limits.txt").read_text() == "10\n" and PLAN in (top / f"docs/{NAME}-plan.md").read_text()
    questions = (top / f"docs/{NAME}-plan.questions.md").read_text()
    assert "Which calls count?" in questions and "all of them" in questions
    chain = fleet.run("workflow", "plan", f"docs/{NAME}-plan.md", cwd=top).ok().out
    (top / "plan.yaml").write_text(chain)
    assert chain.count("agent: builder") == 2
    fleet.run("config", "check", "--kind", "workflow", "plan.yaml", cwd=top).ok()
