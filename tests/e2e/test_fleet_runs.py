"""Real hosts, the real command line: up, dispatch, code, logs, receipts, budget, stop, removal."""

from __future__ import annotations

import json
import socket
import subprocess
from decimal import Decimal
from pathlib import Path

import pytest

from tests.crowd import crowded
from tests.e2e.ground import Ground, held, money
from tests.e2e.owner import Owner, script, until
from tests.lab import Lab

pytestmark = pytest.mark.slow


def test_readiness_shows_every_node_and_a_second_up_changes_nothing(fleet: Owner) -> None:
    answer = fleet.ask("fleet", "up", timeout_s=120)
    states = {n["name"]: n["state"] for n in answer["nodes"]}
    assert {name: states[name] for name in ("node1", "node2", "node3")} == {
        "node1": "online",
        "node2": "online",
        "node3": "online",
    }
    assert all(r["ok"] and not r["changed"] for r in answer["results"])


def test_a_change_is_made_elsewhere_verified_signed_and_landed(fleet: Owner) -> None:
    top = fleet.repository("landed")
    (top / "untracked.txt").write_text("travels too\n")
    spent, still = money(fleet)
    task = script(
        "read untracked.txt", "write made.txt 'by the agent\\n'", "usage 100 20 0.03", "answer 'made it'"
    )
    said = fleet.run(
        *("dispatch", "--runtime", "scripted", "--node", "node1", "--json"),
        *("--verify", "test -f made.txt", "--budget", "0.50", task),
        cwd=top,
    )
    run = said.ok().json()
    assert (run["outcome"], run["node"], run["exit_code"]) == ("done", "node1", 0)
    assert run["files_changed"] == ["made.txt"]
    assert run["usage"]["cost_usd"] == "0.03" and run["usage"]["cost_source"] == "reported"
    verdict = fleet.ask("receipt", "verify", run["run"])
    assert verdict["verdict"] == "PASS", verdict
    assert money(fleet) == (spent + Decimal("0.03"), still), "the budget moved by exactly its cost"
    assert "made.txt" in fleet.run("runs", "diff", run["run"]).ok().out
    assert not (top / "made.txt").exists()
    fleet.run("runs", "land", run["run"], cwd=top).ok()
    assert (top / "made.txt").read_text() == "by the agent\n"
    assert fleet.git(top, "status", "--porcelain").split() == ["??", "made.txt", "??", "untracked.txt"]


def test_placement_by_pin_label_and_pool(fleet: Owner) -> None:
    for words, where in ((("--node", "node2"), {"node2"}), (("--require", "rack=b"), {"node3"})):
        placed = fleet.ask("dispatch", "--runtime", "shell", "--workspace", "none", *words, "hostname")
        assert placed["node"] in where
    pools: list[tuple[list[str], set[str]]] = [
        (["--require", "rack=a"], {"node1", "node2"}),
        ([], set(fleet.nodes())),
    ]
    for words_, pool in pools:
        pooled = fleet.ask("dispatch", "--runtime", "shell", "--workspace", "none", *words_, "hostname")
        assert pooled["node"] in pool
        said = fleet.run("runs", "logs", pooled["run"]).ok().out.strip()
        here = not pooled["node"].startswith("node")
        assert said == (socket.gethostname() if here else pooled["node"]), "it ran where it says it did"


def test_a_mistyped_node_names_the_nearest_and_runs_nothing(fleet: Owner) -> None:
    before = len(fleet.ask("runs")["runs"])
    said = fleet.run("dispatch", "--node", "nod1", "--runtime", "shell", "--json", "true")
    assert said.code == 4
    error = json.loads(said.err)["error"]
    assert "node1" in error["message"] + error["why"] + error["fix"]
    assert len(fleet.ask("runs")["runs"]) == before


def test_what_travels_is_byte_for_byte(fleet: Owner, tmp_path: Path) -> None:
    odd = 'a\'b "c" $(touch /tmp/pwned) `id` \n-n é😀 \\ %s'
    said = fleet.run(
        "dispatch",
        "--runtime",
        "shell",
        "--node",
        "node1",
        "--workspace",
        "none",
        "--",
        "printf",
        "%s|",
        odd,
        "-n",
    )
    assert said.ok().out.startswith(f"{odd}|-n|".splitlines()[0])
    logs = fleet.run("runs", "logs", "last").ok().out
    assert logs == f"{odd}|-n|"


def test_odd_file_and_branch_names_survive_both_ways(fleet: Owner) -> None:
    names = ["-dash", "a b", "quote'\"s", "new\nline", "$(x)", "emoji😀", "dir/ü"]
    top = fleet.repository("odd", {name: f"{name}\n" for name in names})
    fleet.git(top, "checkout", "-q", "-b", "feature/ü-$(x)")
    task = script("append '-dash' 'more\\n'", "write 'made ü' 'x\\n'")
    run = fleet.ask("dispatch", "--runtime", "scripted", "--node", "node2", task, cwd=top)
    assert (run["outcome"], sorted(run["files_changed"])) == ("done", ["-dash", "made ü"])
    fleet.run("runs", "land", run["run"], cwd=top).ok()
    assert (top / "-dash").read_text() == "-dash\nmore\n"
    assert (top / "new\nline").read_text() == "new\nline\n"


@pytest.mark.parametrize(("k", "slots"), [(1, 4), (3, 2)])
def test_slots_are_filled_and_never_more(fleet: Owner, lab: Lab, k: int, slots: int) -> None:
    """Judged on the host: each run that works has a mark there until it is let go."""
    host, count = Ground(fleet, lab, k), slots + 2
    names = [f"slot-{slots}-{number}" for number in range(count)]
    words = ("--runtime", "shell", "--node", host.name, "--workspace", "none")
    runs = [fleet.dispatch(*words, f"touch /tmp/at-{n}; {held(n)}; rm /tmp/at-{n}") for n in names]

    def work() -> list[str]:
        return host.shell(f"cd /tmp; ls -d at-slot-{slots}-* 2>/dev/null || :").split()

    until(lambda: len(work()) == slots, f"{slots} run at once", 30, work)
    shown = [fleet.show(run) for run in runs]
    states = [run["state"] for run in shown]
    assert (states.count("pending"), len(work())) == (2, slots), states
    assert all(run["waits"] == "handed" for run in shown if run["state"] == "pending"), shown
    for over, name in enumerate(names, start=1):
        host.let_go(name)
        until(lambda name=name: f"at-{name}" not in work(), f"{name} is over", 30)  # type: ignore[misc]
        left = min(slots, count - over)
        until(lambda left=left: len(work()) == left, f"{left} run", 30, work)  # type: ignore[misc]
    for run in runs:
        assert fleet.ended(run)["outcome"] == "done"


def test_stop_while_queued_and_while_running_and_deaf(fleet: Owner, lab: Lab) -> None:
    fleet.run("fleet", "drain", "--queue", "pool.node.node1").ok()
    try:
        waiting = fleet.dispatch("--runtime", "shell", "--node", "node1", "--workspace", "none", "true")
        until(lambda: "paused" in fleet.look(waiting)["reason"], "it waits because of the pause", 20)
        assert fleet.show(waiting)["state"] == "pending"
        fleet.run("runs", "stop", waiting).ok()
        assert fleet.show(waiting)["outcome"] == "interrupted"
    finally:
        fleet.run("fleet", "resume", "--queue", "pool.node.node1").ok()
    task = script("ignore INT TERM", "fork 600", "say up", "sleep 600")
    deaf = fleet.dispatch("--runtime", "scripted", "--node", "node1", "--workspace", "none", task)
    fleet.running(deaf)
    host = Ground(fleet, lab, 1)
    marked = f"grep -lzs ^PANCODE_ATTEMPT={deaf} /proc/[0-9]*/environ || :"
    until(lambda: len(host.shell(marked).split()) >= 2, "the agent and what it forked are there", 20)
    fleet.run("runs", "stop", deaf).ok()
    ended = fleet.ended(deaf, 40)
    assert ended["outcome"] == "interrupted"
    assert host.shell(marked).split() == [], "what it forked into a session of its own is gone, too"


def test_a_waiting_dispatch_detaches_on_ctrl_c_and_the_run_goes_on(fleet: Owner, lab: Lab) -> None:
    task = f"{held('detached')}; echo over"
    waiting = fleet.begin("dispatch", "--runtime", "shell", "--node", "node1", "--workspace", "none", task)
    until(lambda: fleet.ask("runs", "1")["runs"][0]["state"] == "running", "it runs", 20)
    waiting.send_signal(2)
    out, err = waiting.communicate(timeout=20 * crowded())
    assert waiting.returncode == 130, (out, err)
    assert "pancode stop r-" in err
    Ground(fleet, lab, 1).let_go("detached")
    run = fleet.ask("runs", "1")["runs"][0]["run"]
    assert fleet.ended(run)["outcome"] == "done"


def test_logs_are_followed_without_gap_or_double(fleet: Owner) -> None:
    run = fleet.dispatch(
        *("--runtime", "shell", "--node", "node2", "--workspace", "none"),
        "for i in 1 2 3 4 5 6 7 8 9 10; do echo line $i; sleep 0.3; done",
    )
    followed = fleet.run("runs", "logs", "-f", run, timeout_s=60).ok().out
    assert followed == "".join(f"line {i}\n" for i in range(1, 11))


def test_a_gate_that_passes_only_beside_the_change_is_verify_failed_and_lands_nothing(fleet: Owner) -> None:
    top = fleet.repository("gated", {".gitignore": "good.txt\n"})
    task = script("write bad.txt 'x\\n'", "write good.txt 'x\\n'")
    where = ("--runtime", "scripted", "--node", "node1", "--verify-retries", "0")
    said = fleet.run("dispatch", *where, "--land", "--verify", "test -f good.txt", task, cwd=top)
    assert said.code == 11 and not (top / "bad.txt").exists(), said
    run = fleet.show("last")
    beside = "it passes only with ignored files that the agent made: good.txt; add to pancode.yaml: setup: ["
    assert run["outcome"] == "verify_failed" and beside in run["reason"], run["reason"]


def test_a_gate_that_fails_without_the_change_is_named_and_checked_once(fleet: Owner) -> None:
    top = fleet.repository("red", {"check.sh": "exit 3\n"})
    words = ("dispatch", "--runtime", "shell", "--node", "node1", "--verify", "sh check.sh", "--json")

    def checks() -> list[str]:
        rows = fleet.ask("runs", "ls", "--checks", cwd=top)["runs"]
        return [one["run"] for one in rows if one["task"].endswith("on the unchanged tree")]

    others = checks()
    failed = fleet.run(*words, "echo x >a.txt", cwd=top)
    assert failed.code == 11, failed
    run, already = failed.json()["run"], "this gate already fails without the change"
    until(lambda: fleet.show(run)["reason"] == f"gate sh check.sh: exit 3; {already}", "the verdict", 60)
    assert [gate["already_fails"] for gate in fleet.show(run)["gates"]] == [True]
    assert "already fails" in fleet.run("why", run).ok().out and already in fleet.run("runs", "show", run).out
    first = fleet.run(*words, "--check-gates-first", "echo x >a.txt", cwd=top)
    assert first.code == 11 and already in first.json()["reason"], first
    assert first.json()["started_at"] is None

    (top / "check.sh").write_text("exit 0\n")
    fleet.run(*words, "--check-gates-first", "echo x >a.txt", cwd=top).ok()
    known = checks()
    fleet.run(*words, "echo x >a.txt", cwd=top).ok()
    assert checks() == known and len(known) == len(others) + 3


def test_what_a_bad_agent_does_to_its_checkout_is_salvaged(fleet: Owner, no_sandboxes: None) -> None:
    """On a node without a sandbox: inside one it cannot."""
    top = fleet.repository("bad")
    task = script(
        "write kept.txt 'kept\\n'", "commit 'by the agent'", "write left.txt 'left\\n'", "delete-git"
    )
    run = fleet.ask("dispatch", "--runtime", "scripted", "--node", "node2", task, cwd=top)
    assert run["outcome"] == "done"
    assert sorted(run["files_changed"]) == ["kept.txt", "left.txt"]


def test_a_lie_is_not_done(fleet: Owner) -> None:
    said = fleet.run(
        *("dispatch", "--runtime", "scripted", "--node", "node1", "--workspace", "none"),
        script("exit 0"),
    )
    assert said.code == 10, "exit 0 without a terminal event is an error"


def test_rq_itself_shows_the_same_queues(fleet: Owner, lab: Lab) -> None:
    """RQ's own `info` on the live fleet's own Redis: two jobs run, and one waits on the node."""
    host = Ground(fleet, lab, 3)
    words = ("--runtime", "shell", "--node", "node3", "--workspace", "none")
    runs = [fleet.dispatch(*words, held(f"rq-{number}")) for number in range(3)]
    try:
        for run in runs[:2]:
            fleet.running(run)
        until(lambda: "1st there" in fleet.look(runs[2])["reason"], "the third one waits there", 20)
        (mine,) = [q for q in fleet.ask("queue", "ls")["queues"] if q["node"] == "node3" and q["running"]]
        assert (mine["running"], mine["waiting"], mine["name"]) == (2, 1, f"node.{host.tag}")
        until(lambda: "3 executing" in _queue(fleet, host.tag), "the node has taken them, as rq shows", 20)
        assert any(line.startswith(f"{host.tag} (") for line in _rq_info(fleet).splitlines()), "the worker"
    finally:
        for number in range(3):
            host.let_go(f"rq-{number}")
    for run in runs:
        assert fleet.ended(run)["outcome"] == "done"


def _queue(fleet: Owner, tag: str) -> str:
    """What rq says of that node's queue."""
    return next(line for line in _rq_info(fleet).splitlines() if line.startswith(f"node.{tag}"))


def _rq_info(fleet: Owner) -> str:
    said = fleet.run("admin", "queue", "--rq", "info")
    assert said.code == 0, said
    return said.out


def test_every_run_left_nothing_behind_on_the_hosts(fleet: Owner, lab: Lab) -> None:
    for k in (1, 2, 3):
        done: subprocess.CompletedProcess[str] = lab.run(k, "ps -eo args | grep -c '[s]leep 600' || :")
        assert done.stdout.strip() == "0", lab.run(k, "ps -eo pid,args").stdout
