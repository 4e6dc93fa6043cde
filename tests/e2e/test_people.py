"""Users in the loop, over real hosts: runs that are continued, questions, approvals."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.clis.hands import HANDS
from tests.clis.launched import EVERY
from tests.crowd import crowded
from tests.e2e.owner import Owner, script, until
from tests.e2e.programs import PORT, await_state, give_secrets, installed, model_on, project
from tests.e2e.test_programs import K, secrets
from tests.lab import Lab

pytestmark = pytest.mark.slow


def test_a_run_is_continued_on_another_machine_and_the_chain_lands_as_one(fleet: Owner) -> None:
    top = fleet.repository("continued")
    task = script("append made.txt 'once\\n'")
    first = fleet.ask("dispatch", "--runtime", "scripted", "--require", "rack=a", task, cwd=top)["run"]
    second = fleet.run("runs", "continue", first, "--json", cwd=top).ok().json()
    assert (second["outcome"], second["continues"]) == ("done", first)
    third = fleet.ask("runs", "continue", second["run"], cwd=top)
    shown = fleet.show(third["run"])
    assert (shown["chain"], shown["session"]) == ([second["run"], first], "new")
    assert fleet.show(first)["continued_by"] == [second["run"]]
    assert fleet.ask("receipt", "verify", third["run"])["verdict"] == "PASS"
    assert fleet.run("runs", "diff", third["run"]).ok().out.count("\n+once") == 3
    assert f"continues  {second['run']}, {first}" in fleet.run("runs", "show", third["run"]).ok().out
    fleet.run("runs", "land", second["run"], cwd=top).ok()
    assert (top / "made.txt").read_text() == "once\nonce\n"
    assert fleet.run("runs", "diff", third["run"]).ok().out.count("\n+once") == 1, "without what has landed"
    fleet.run("runs", "land", third["run"], cwd=top).ok()
    assert (top / "made.txt").read_text() == "once\nonce\nonce\n"


def test_what_cannot_be_continued_says_why(fleet: Owner) -> None:
    plain = ("--runtime", "shell", "--node", "node2", "--workspace", "none")
    run = fleet.dispatch(*plain, "sleep 600")
    fleet.running(run)
    said = fleet.run("runs", "continue", run)
    assert said.code == 2 and f"pancode runs stop {run}" in said.err
    fleet.run("runs", "stop", run).ok()
    fleet.ended(run)
    words = fleet.run("runs", "continue", run, "and more")
    assert words.code == 2 and "cannot take messages" in words.err


ASKS = json.dumps({"question": "Which port?", "choices": ["8080", "9090"]})


def waiting(fleet: Owner, run: str) -> list[dict[str, Any]]:
    return [item for item in fleet.items() if item["run"] == run]


def calls_that_wait(fleet: Owner) -> list[tuple[str, int]]:
    """The calls that wait for a user: run and number."""
    items = fleet.items()
    return [(one["run"], one["call"]) for one in items if one["kind"] == "call"]


def test_a_question_is_signed_listed_and_denied(fleet: Owner) -> None:
    top = fleet.repository("asked")
    task = f"mkdir -p .pancode; echo '{ASKS}' > .pancode/question.json; echo half > half.txt"
    said = fleet.run("dispatch", "--runtime", "shell", "--node", "node2", "--json", task, cwd=top)
    run = said.json()
    assert (said.code, run["outcome"], run["files_changed"]) == (12, "blocked", ["half.txt"])
    receipt = fleet.ask("receipt", "show", run["run"])["statement"]["predicate"]
    assert receipt["question"] == json.loads(ASKS)
    assert fleet.ask("receipt", "verify", run["run"])["verdict"] == "PASS"
    (item,) = waiting(fleet, run["run"])
    assert (item["kind"], item["choices"]) == ("question", ["8080", "9090"])
    told = fleet.run("inbox").ok().out
    assert f"pancode answer {run['run']}" in told and "2: 9090" in told
    assert fleet.run("approve", run["run"]).code == 2
    fleet.run("deny", run["run"]).ok()
    assert not waiting(fleet, run["run"])
    events = (
        fleet.run("audit", "--events", "--run", run["run"], "--kind", "inbox", "--json").ok().out.splitlines()
    )
    assert [json.loads(line)["kind"] for line in events] == ["inbox.item", "inbox.answered"]


def test_a_supervised_change_waits_for_a_yes_and_is_landed_once(fleet: Owner) -> None:
    top = fleet.repository("supervised")
    fleet.run("agents", "new", "careful", "--from", "builder").ok()
    fleet.run("agents", "set", "careful", "autonomy", "supervised").ok()
    words = ("--runtime", "scripted", "--agent", "careful", "--node", "node1")
    run = fleet.ask("dispatch", *words, script("write made.txt 'x\\n'"), cwd=top)["run"]
    (item,) = waiting(fleet, run)
    assert (item["kind"], item["command"]) == ("landing", f"pancode approve {run}")
    assert not (top / "made.txt").exists()
    said = fleet.run("approve", run, cwd=top).ok()
    assert "landed" in said.out and (top / "made.txt").read_text() == "x\n"
    assert not waiting(fleet, run)
    again = fleet.run("approve", run, cwd=top)
    assert again.code == 2 and "is not waiting for a user" in again.err
    other = fleet.ask("dispatch", *words, script("write other.txt 'x\\n'"), cwd=top)["run"]
    fleet.run("deny", other).ok()
    assert not waiting(fleet, other) and not (top / "other.txt").exists()
    audit = fleet.ask("audit", "people")["audit"]
    assert other in {row["run"] for row in audit if row["what"] == "denied"}


def test_a_dispatch_that_asks_first_starts_after_a_yes_and_ends_with_a_no(fleet: Owner) -> None:
    plain = ("--runtime", "shell", "--node", "node1", "--workspace", "none", "--ask", "--detach")
    run = fleet.ask("dispatch", *plain, 'echo "it\'s done"')["run"]
    (item,) = waiting(fleet, run)
    assert (item["kind"], item["command"]) == (
        "dispatch",
        f"pancode approve --plan {item['plan']['digest']} {run}",
    )
    told = fleet.run("inbox").ok().out
    assert "estimate $" in told and "task: echo" in told and f"no: pancode deny {run}" in told
    assert fleet.show(run)["waits"] == "person"
    assert "approved" in fleet.run("approve", run, "--run").ok().out
    assert fleet.ended(run)["outcome"] == "done"
    other = fleet.ask("dispatch", *plain, "true")["run"]
    fleet.run("deny", other).ok()
    assert (fleet.show(other)["outcome"], waiting(fleet, other)) == ("interrupted", [])
    late = fleet.run("approve", other)
    assert late.code == 2 and "is not waiting for a user" in late.err
    audit = fleet.ask("audit", "people")["audit"]
    (row,) = [one for one in audit if one["run"] == run and one["what"] == "approved"]
    assert row["detail"]["scope"] == "run"


def test_the_native_worker_is_told_something_at_its_next_turn(fleet: Owner, lab: Lab) -> None:
    cli = next(cli for cli in EVERY if cli.runtime == "native")
    top = project(fleet, "told")
    done = {"text": "Done.", "usage": {"input": 1200, "output": 34}}
    given = cli.env(f"http://127.0.0.1:{PORT}")
    words = ("--runtime", "native", "--model", cli.model, "--node", f"node{K}", "--budget", "0.50")
    with installed(lab, "native", [K]):
        give_secrets(lab, K, {name: value for name, value in given.items() if "RETRIES" not in name})
        await_state(fleet, K, "native", "ok")
        with model_on(lab, K, {"turns": [HANDS["native"].shell(f"sleep {6 * crowded():.0f}"), done]}) as log:
            run = fleet.dispatch(*words, "wait for me", cwd=top)
            fleet.running(run)
            assert "sent" in fleet.run("tell", run, "the tests are 'in' spec/\nand \"$(x)\"").ok().out
            ended = fleet.ended(run, 90)
            asked = max((log.parent / "bodies").iterdir()).read_text()
        with model_on(lab, K, {"turns": [done]}) as log:
            again = (
                fleet.run("tell", "--resume", run, "one more", "--json", cwd=top, timeout_s=90).ok().json()
            )
            late = max((log.parent / "bodies").iterdir()).read_text()
    assert again["continues"] == run and "A user adds: one more" in late
    assert ended["outcome"] == "done", ended
    assert ended["told"][0]["delivered"] == "at a turn of attempt 1"
    assert "adds, while you work: the tests are 'in' spec/" in asked
    told = fleet.run("tell", run, "too late").ok().out
    assert "not delivered" in told and "too late" in fleet.run("runs", "show", run).ok().out


def test_a_step_asks_and_its_chain_goes_on_with_the_answer(fleet: Owner, lab: Lab) -> None:
    cli = next(cli for cli in EVERY if cli.runtime == "native")
    top, done = project(fleet, "step-asks"), {"text": "Port 9090.", "usage": {"input": 1200, "output": 34}}
    given = cli.env(f"http://127.0.0.1:{PORT}")
    ask = f"mkdir -p .pancode && echo '{ASKS}' > .pancode/question.json && echo half > half.txt"
    choose = {"name": "choose", "task": "choose the port", "runtime": "native", "model": cli.model}
    use = {"name": "use", "runtime": "shell", "task": "cat half.txt .pancode/inputs/choose.md > port.txt"}
    flow = top / "flow.yaml"
    flow.write_text(json.dumps({"steps": [{**choose, "node": f"node{K}"}, use]}))
    with installed(lab, "native", [K]):
        give_secrets(lab, K, {name: value for name, value in given.items() if "RETRIES" not in name})
        await_state(fleet, K, "native", "ok")
        with model_on(lab, K, {"turns": [HANDS["native"].shell(ask), done]}):
            said = fleet.run("chain", str(flow), "--json", cwd=top, timeout_s=120)
        asked = said.json()
        assert (said.code, asked["state"], asked["waits_for_person"]) == (12, "running", True), asked
        first, workflow = asked["steps"][0]["run"], asked["workflow"]
        assert f"pancode answer {first}" in fleet.run("workflow", "show", workflow).ok().out
        with model_on(lab, K, {"turns": [done]}):
            second = fleet.run("answer", first, "2", "--json", cwd=top, timeout_s=120).ok().json()
            ended = fleet.run("workflow", "show", "-f", workflow, "--json", timeout_s=120).ok().json()
    assert ended["steps"][0]["runs"] == [first, second["run"]] and second["workflow"] == workflow
    fleet.run("land", ended["results"][-1], cwd=top).ok()
    assert (top / "port.txt").read_text().split() == ["half", "Port", "9090."]
    assert (top / "half.txt").read_text() == "half\n", "the change of before the question is there"
    assert fleet.ask("receipt", "verify", second["run"])["verdict"] == "PASS"


def test_codex_asks_and_goes_on_with_the_answer(fleet: Owner, lab: Lab) -> None:
    """The real program against a scripted model: in its own session, from the files it left."""
    cli = next(cli for cli in EVERY if cli.runtime == "codex")
    hands, top = HANDS["codex"], project(fleet, "codex-asks")
    ask = f"mkdir -p .pancode && echo '{ASKS}' > .pancode/question.json && echo half > half.txt"
    done = {"text": "Done.", "usage": {"input": 1200, "output": 34}}
    rules = {"rules": [{"name": "ask", "if": {"prompt": "the port"}, "turns": [hands.shell(ask), done]}]}
    words = ("--runtime", "codex", "--model", cli.model, "--node", f"node{K}", "--attempts", "1", "--json")
    with installed(lab, "codex", [K]):
        give_secrets(lab, K, secrets(cli))
        await_state(fleet, K, "codex", "ok")
        with model_on(lab, K, rules):
            said = fleet.run("dispatch", *words, "choose the port", cwd=top, timeout_s=240)
        first = said.json()
        assert (said.code, first["outcome"], first["files_changed"]) == (12, "blocked", ["half.txt"]), first
        assert first["reason"] == "it asks: Which port?"
        told = fleet.run("tell", first["run"], "never below 9000").ok().out
        assert "not delivered" in told and f"pancode runs continue {first['run']}" in told
        with model_on(lab, K, {"turns": [done]}) as log:
            second = fleet.run("answer", first["run"], "2", "--json", cwd=top, timeout_s=240).ok().json()
            asked = max((log.parent / "bodies").iterdir()).read_text()
    assert (second["outcome"], second["node"]) == ("done", f"node{K}")
    assert "choose the port" in asked and "The answer is: 9090" in asked
    assert "A user adds: never below 9000" in asked
    assert fleet.show(first["run"])["told"][0]["delivered"] == second["run"]
    assert fleet.show(second["run"])["session"] == "same"
    assert "+half" in fleet.run("runs", "diff", second["run"]).ok().out
    late = fleet.run("answer", first["run"], "1")
    assert late.code == 5 and second["run"] in late.err, "another request was faster"


ASKING = "rules:\n  - {pattern: 'printf asked-', type: bash, action: ask, reason: look first}\n"


@pytest.mark.parametrize("runtime", ["native", "claude", "copilot", "opencode"])
def test_a_command_waits_for_a_user_while_its_run_goes_on(fleet: Owner, lab: Lab, runtime: str) -> None:
    """The real program: one command after an approval, one not after a no, and the model is
    told the words."""
    cli = next(cli for cli in EVERY if cli.runtime == runtime)
    top, shell = project(fleet, f"calls-{runtime}"), HANDS[runtime].shell
    (top / "pansafety.yaml").write_text(ASKING)
    turns = [shell("printf asked-%s 1 > yes.txt"), shell("printf asked-%s 2 > no.txt")]
    turns += [shell("echo rest > rest.txt"), {"text": "Done.", "usage": {"input": 1200, "output": 34}}]
    given = cli.env(f"http://127.0.0.1:{PORT}")
    words = ("--runtime", runtime, "--model", cli.model, "--node", f"node{K}", "--budget", "0.50")
    with installed(lab, runtime, [K]), model_on(lab, K, {"turns": turns}) as log:
        give_secrets(lab, K, {name: value for name, value in given.items() if "RETRIES" not in name})
        await_state(fleet, K, runtime, "ok")
        run = fleet.dispatch(*words, "--safety", "full-auto", "write two files", cwd=top)
        until(lambda: [one["call"] for one in waiting(fleet, run)] == [1], "call 1 waits", 90)
        assert "printf asked-%s 1" in fleet.run("inbox").ok().out
        fleet.run("approve", "--call", "1", run).ok()
        until(lambda: [one["call"] for one in waiting(fleet, run)] == [2], "request 2 is pending", 60)
        late = fleet.run("approve", "--call", "1", run)
        assert late.code != 0 and "request 2 is pending" in late.err
        fleet.run("deny", "--call", "2", run, "one file is enough").ok()
        ended = fleet.ended(run, 90)
        asked = max((log.parent / "bodies").iterdir()).read_text()
    assert ended["outcome"] == "done", ended
    assert "yes.txt" in ended["files_changed"] and "no.txt" not in ended["files_changed"]
    assert "one file is enough" in asked and waiting(fleet, run) == []
    assert fleet.ask("receipt", "verify", run)["verdict"] == "PASS"
