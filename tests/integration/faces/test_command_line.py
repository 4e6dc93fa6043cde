"""The real command line against the real API on a unix socket: statuses, errors, waiting, following."""

from __future__ import annotations

import json
import os
import pty
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.crowd import crowded
from tests.integration.faces.conftest import PATIENCE_S, Served, Shell, until
from tests.integration.faces.world import OUTCOMES

pytestmark = pytest.mark.slow

SHELL = ("--runtime", "shell", "--workspace", "none")
STATUS = {
    "done": 0, "error": 10, "verify_failed": 11, "blocked": 12, "timeout": 13, "stalled": 14,
    "budget_exceeded": 15, "infra": 17, "policy_violation": 18,
}  # fmt: skip


def _interrupt(process: subprocess.Popen[bytes]) -> tuple[int, str, str]:
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE_S * crowded())
    return process.returncode, out.decode(), err.decode()


def test_a_waiting_dispatch_ends_with_its_runs_outcome(served: Served, pancode: Shell) -> None:
    assert set(OUTCOMES) | {"done"} == set(STATUS)
    for outcome, status in STATUS.items():
        said = pancode("dispatch", *SHELL, "--json", outcome)
        assert (said.status, said.data["outcome"]) == (status, outcome), said.err
        assert said.err == "" or "warning" in said.err


def test_the_result_is_on_standard_output_progress_on_the_other(served: Served, pancode: Shell) -> None:
    said = pancode("dispatch", "-v", *SHELL, "slow 20")
    assert said.status == 0 and "done" in said.out and "\x1b" not in said.out + said.err
    assert "working" in said.err and "working" not in said.out
    shown = pancode("runs", "show", "last", "--json").data
    assert shown["outcome"] == "done" and shown["created_by"] == "ana"


def test_an_argument_list_is_taken_as_it_stands(served: Served, pancode: Shell) -> None:
    said = pancode("dispatch", *SHELL, "--json", "--", "echo", "--agent", "a b", "$(x)")
    assert said.status == 0 and said.data["argv"] == ["echo", "--agent", "a b", "$(x)"]
    refused = pancode("dispatch", *SHELL, "a task", "--", "echo")
    assert refused.status == 2 and "cannot be combined" in refused.err


@pytest.mark.parametrize(
    ("args", "status", "words"),
    [
        (("runs", "show", "r-zzzz"), 4, "r-zzzz"),
        (("dispatch", *SHELL, "--node", "n11", "x"), 4, "n1?"),
        (("dispatch", *SHELL, "--mode", "bild", "x"), 2, "build"),
        (("dispatch", *SHELL, "--mode", "plan", "x"), 5, "gate 1 of 10"),
        (("dispatch", *SHELL, "--verify", "a | b", "x"), 2, "sh -euc"),
        (("dispatch", *SHELL, "--timeout", "soon", "x"), 2, "15m"),
        (("dispatch", *SHELL, ""), 5, "the task is empty"),
        (("dispatch", *SHELL, "--agent", "", "x"), 2, "the value is empty"),
        (("dispatch", *SHELL, "--preset", "", "x"), 2, "the value is empty"),
        (("runs", "stop", ""), 2, "the name is empty"),
        (("receipt", "export", ""), 2, "the name is empty"),
        (("policy", "check", "--path", ""), 2, "the name is empty"),
        (("agents", "show", "bulder"), 4, "builder?"),
        (("node", "rm", "n1"), 2, "--yes"),
        (("node", "add", "gpubox"), 2, "--accept-fingerprint"),
        (("runs", "ls", "--waiting", "--queue", "n2"), 4, "queue"),
        (("receipt", "verify", "r-zzzz"), 4, "NOT_FOUND"),
    ],
)
def test_what_cannot_be_done_says_why_and_how(
    standing: Shell, args: tuple[str, ...], status: int, words: str
) -> None:
    said = standing(*args)
    assert said.status == status and words in said.err + said.out
    as_json = standing(*args, "--json")
    assert as_json.status == status
    if as_json.out:
        assert "NOT_FOUND" in as_json.out
    else:
        assert set(as_json.error) == {"code", "message", "why", "fix", "exit_code"}
        assert as_json.error["exit_code"] == status


def test_agents_of_ones_own_through_the_command_line(served: Served, pancode: Shell) -> None:
    made = pancode("agents", "new", "migrator", "--from", "builder")
    assert made.status == 0 and "a copy of builder" in made.out, made.err
    assert pancode("agents", "set", "migrator", "tags", "sql").status == 0
    assert pancode("agents", "set", "migrator", "autonomy", "confirmatory").status == 0
    text = (pancode.home / "panagents.yaml").read_text()
    wrong = pancode("agents", "set", "migrator", "tier", "huge")
    assert wrong.status == 3 and "nothing was written" in wrong.err
    assert (pancode.home / "panagents.yaml").read_text() == text
    listed = pancode("agents", "--tag", "sql")
    assert "migrator" in listed.out and "builder " not in listed.out
    assert "autonomy      confirmatory" in pancode("agents", "show", "migrator").out
    told = pancode("agents", "show", "reviewer", "--prompt", "--mode", "build")
    assert told.status == 0 and "--- mode" in told.out and "you are read-only" in told.out
    assert pancode("agents", "show", "reviewer", "--mode", "build").status == 2
    refused = pancode("dispatch", *SHELL, "--agent", "migrator", "x")
    assert refused.status == 5 and "--yes" in refused.err
    assert pancode("dispatch", *SHELL, "--agent", "migrator", "--yes", "x").status == 0
    (pancode.cwd / "other.yaml").write_text("agents:\n  a: {tier: huge, tools: [gerp]}\n  b: {speed: x}\n")
    checked = pancode("config", "check", "--kind", "agents", "other.yaml")
    assert checked.status == 3 and "other.yaml:2" in checked.out and "other.yaml: 3 problems" in checked.out


@pytest.mark.parametrize(("word", "status"), [("y", 0), ("n", 5)])
def test_an_agent_that_asks_first_asks_who_sits_there(
    served: Served, pancode: Shell, word: str, status: int
) -> None:
    (pancode.home / "panagents.yaml").write_text("agents: {builder: {autonomy: confirmatory}}")
    ours, theirs = pty.openpty()
    try:
        os.write(ours, f"{word}\n".encode())
        done = subprocess.run(
            [sys.executable, "-m", "pancode", "dispatch", *SHELL, "x"],
            env=pancode.environ(),
            cwd=pancode.cwd,
            stdin=theirs,
            capture_output=True,
            timeout=PATIENCE_S * crowded(),
            check=False,
        )
    finally:
        os.close(ours)
        os.close(theirs)
    said = done.stderr.decode()
    assert done.returncode == status, said
    assert (
        "agent builder requires approval of each dispatch (runtime shell, estimate $0.00). Dispatch it?"
        in said
    )
    assert len(pancode("runs", "--json").data["runs"]) == (status == 0)


def test_ctrl_c_detaches_and_the_run_goes_on(served: Served, pancode: Shell, tmp_path: Path) -> None:
    waiting = pancode.begin("dispatch", *SHELL, f"held {tmp_path}/go")
    until(lambda: _state(pancode) == "running", "the run runs")
    status, out, err = _interrupt(waiting)
    assert (status, out) == (130, "")
    assert "detached" in err and "pancode logs -f" in err and "pancode stop" in err
    assert _state(pancode) == "running"
    (tmp_path / "go").touch()
    assert pancode("runs", "logs", "-f", "last").status == 0
    assert pancode("runs", "show", "last", "--json").data["outcome"] == "done"


def _state(pancode: Shell) -> str:
    runs = pancode("runs", "1", "--json").data["runs"]
    return str(runs[0]["state"]) if runs else ""


def test_stop_ends_it_and_the_one_who_waits_is_told(served: Served, pancode: Shell) -> None:
    waiting = pancode.begin("dispatch", *SHELL, "--json", "hang")
    until(lambda: _state(pancode) == "running", "the run runs")
    stopped = pancode("runs", "stop", "--reason", "enough", "--json")
    assert stopped.status == 0 and stopped.data["state"] in ("interrupting", "ended")
    out, _ = waiting.communicate(timeout=PATIENCE_S * crowded())
    assert waiting.returncode == 19 and json.loads(out)["outcome"] == "interrupted"
    why = pancode("why", "last", "--json").data["decisions"]
    assert any(d["kind"] == "stop" and d["detail"] == "enough" for d in why)


def test_logs_are_followed_live_and_whole(served: Served, pancode: Shell) -> None:
    pancode("dispatch", *SHELL, "--detach", "slow 60")
    follower = pancode.begin("runs", "logs", "-f", "last")
    second = pancode.begin("runs", "logs", "-f", "last", "--stream", "out", "--offset", "9")
    whole = "".join(f"line {n} é\n" for n in range(60)).encode()
    out, err = follower.communicate(timeout=PATIENCE_S * crowded())
    assert (follower.returncode, out) == (0, whole), err
    assert second.communicate(timeout=PATIENCE_S * crowded())[0] == whole[9:]
    assert pancode("runs", "logs", "last").out.encode() == whole
    pieces = [json.loads(line) for line in pancode("runs", "logs", "last", "--json").out.splitlines()]
    assert "".join(p["text"] for p in pieces).encode() == whole and pieces[-1]["next"] == len(whole)


def test_a_follower_outlives_a_frozen_coordinator(served: Served, pancode: Shell, tmp_path: Path) -> None:
    assert served.process is not None
    pancode("dispatch", *SHELL, "--detach", f"held {tmp_path}/go")
    follower = pancode.begin("runs", "logs", "-f", "last")
    until(lambda: _state(pancode) == "running", "the run runs")
    served.process.send_signal(signal.SIGSTOP)
    with pytest.raises(subprocess.TimeoutExpired):
        follower.wait(1)
    served.process.send_signal(signal.SIGCONT)
    (tmp_path / "go").touch()
    out, err = follower.communicate(timeout=PATIENCE_S * crowded())
    assert follower.returncode == 0, err
    lines = out.decode().splitlines()
    assert len(lines) > 1 and lines == [f"line {n} é" for n in range(len(lines))]
    assert pancode("runs", "logs", "last").out.encode() == out


def test_steering_through_the_command_line(served: Served, pancode: Shell) -> None:
    assert pancode("fleet", "drain", "--queue", "--reason", "keys").status == 0
    run = pancode("dispatch", *SHELL, "--detach", "--json", "true").data["run"]
    queue = pancode("queue", "--json").data
    assert queue["paused"] == "keys" and queue["queues"][0]["orders"][0]["run"] == run
    assert "keys" in pancode("queue").out
    assert pancode("stop", run[2:], "--json").data["outcome"] == "interrupted"
    assert pancode("fleet", "resume", "--queue").status == 0
    assert pancode("budget", "set", "20", "--json").data["scopes"][0]["ceiling_usd"] == "20"
    assert pancode("fleet", "drain", "--reason", "new disk").status == 0
    assert pancode("dispatch", *SHELL, "true").status == 5
    assert pancode("fleet", "resume").status == 0
    assert pancode("runs", "retry", run, "--json").data["outcome"] == "done"
    assert "resume" in pancode("audit", "fleet").out


def test_a_machine_is_changed_after_it_was_added(served: Served, pancode: Shell) -> None:
    said = pancode("node", "set", "n1", "--slots", "3", "--label", "gpu=24g")
    assert said.status == 0 and "n1: 3 slots" in said.out and "gpu=24g" in said.out
    shown = pancode("node", "show", "n1", "--json").data
    page = pancode("node", "show", "n1").out
    assert (
        page.startswith("Name:") and '"slots"' not in page and "Isolation:" in page and shown["tag"] in page
    )
    assert shown["slots"]["total"] == 3 and shown["labels"]["gpu"] == "24g"
    assert pancode("dispatch", *SHELL, "--require", "gpu=24g", "--json", "true").data["outcome"] == "done"
    assert "gpu" not in pancode("node", "set", "n1", "--unlabel", "gpu", "--json").data["labels"]
    assert pancode("node", "set", "n1", "--unlabel", "gpu").status == 4
    assert pancode("node", "set", "n1").status == 2
    assert "node set" in pancode("audit", "fleet").out


def test_receipts_prove_it_here_and_without_a_coordinator(served: Served, pancode: Shell) -> None:
    pancode("dispatch", *SHELL, "true")
    assert pancode("receipt", "verify", "last", "--json").data["verdict"] == "PASS"
    (pancode.cwd / "r.json").write_text(pancode("receipt", "export", "last").out)
    (pancode.cwd / "k.json").write_text(pancode("receipt", "export").out)
    served.end()
    offline = pancode("receipt", "verify", "r.json", "--keys", "k.json", "--json")
    assert (offline.status, offline.data["verdict"]) == (0, "PASS")
    forged = (pancode.cwd / "r.json").read_text().replace('"sig": "', '"sig": "AAAA', 1)
    (pancode.cwd / "r.json").write_text(forged)
    assert pancode("receipt", "verify", "r.json", "--keys", "k.json").status == 8
    assert pancode("receipt", "verify", "none.json", "--keys", "k.json").status == 4


def test_machines_through_the_command_line(served: Served, pancode: Shell) -> None:
    fingerprint = "SHA256:abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
    added = pancode("node", "add", "gpubox", "--label", "gpu=24g", "--accept-fingerprint", fingerprint)
    assert added.status == 0 and "Match is not honoured" in added.err
    assert pancode("node", "add", "other", "--accept-fingerprint", "SHA256:x").status == 2
    up = pancode("fleet", "up", "--json")
    assert up.status == 0 and [r["ok"] for r in up.data["results"]] == [True, True]
    status = pancode("fleet", "status")
    assert "gpubox" in status.out and "fix: pancode fleet up gpubox" in status.out
    assert pancode("fleet", "up", "gpuboks").status == 4
    assert pancode("node", "rm", "gpubox", "--yes").status == 0
    assert [n["name"] for n in pancode("node", "ls", "--json").data["nodes"]] == ["n1"]


def test_down_is_asked_for_while_runs_are_in_flight(served: Served, pancode: Shell) -> None:
    pancode("dispatch", *SHELL, "--detach", "hang")
    until(lambda: _state(pancode) == "running", "the run runs")
    asked = pancode("fleet", "down")
    assert asked.status == 2 and "--now" in asked.err
    assert pancode("fleet", "down", "--now").status == 0
    assert served.process is not None and served.process.wait(PATIENCE_S * crowded()) == 0
    again = pancode("fleet", "down")
    assert again.status == 0 and "no coordinator is running here" in again.out


def test_the_socket_is_the_owners_alone(served: Served, pancode: Shell) -> None:
    assert stat.S_IMODE((served.home / "api.sock").stat().st_mode) == 0o600


def test_a_reader_that_has_gone_is_no_error(served: Served, pancode: Shell) -> None:
    listing = pancode.begin("agents", "--json")
    assert listing.stdout is not None
    listing.stdout.close()
    assert listing.stderr is not None and b"Traceback" not in listing.stderr.read()


def test_ctrl_c_on_node_add_says_that_nothing_was_added(served: Served, pancode: Shell) -> None:
    """In the middle of looking at the machine, which changes nothing."""
    assert served.process is not None
    served.process.send_signal(signal.SIGSTOP)
    try:
        adding = pancode.begin("node", "add", "gpubox", "--accept-fingerprint", "SHA256:x")
        until(lambda: _asks(adding.pid), "it has asked")
        status, out, err = _interrupt(adding)
    finally:
        served.process.send_signal(signal.SIGCONT)
    assert (status, out) == (130, "") and err.strip() == "gpubox was not added"
    assert "gpubox" not in pancode("node", "ls").out


def _asks(pid: int) -> bool:
    """Whether its question is on the way: it holds a socket."""
    return any(_leads_to(fd).startswith("socket:") for fd in Path(f"/proc/{pid}/fd").iterdir())


def _leads_to(fd: Path) -> str:
    """Empty for a file that was closed meanwhile."""
    try:
        return str(fd.readlink())
    except FileNotFoundError:
        return ""
