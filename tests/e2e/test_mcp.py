"""`pancode mcp` beside a real fleet: the official SDK in both eras, and a real agent program."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.clis.install import CannotInstall, ensure
from tests.crowd import crowded
from tests.e2e.mcp_programs import ASKING
from tests.e2e.owner import PATH, Owner, until
from tests.fakemodel import FakeModel
from tests.fakemodel.state import Log

pytestmark = pytest.mark.slow

SDK_CLIENT = Path(__file__).with_name("mcp_client.py")
WORK = {"task": "printf over-there", "runtime": "shell", "workspace": "none", "node": "node2"}


@contextmanager
def talking(fleet: Owner) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        fleet.argv("mcp"),
        cwd=fleet.home,
        env=fleet.env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.close()
        assert process.wait(20 * crowded()) == 0, "it ends with its input"
        process.stdout.close()


def ask(process: subprocess.Popen[str], method: str, **params: Any) -> Any:
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}) + "\n")
    process.stdin.flush()
    while True:
        answer = json.loads(process.stdout.readline())
        if answer.get("id") == 1:
            return answer["result"]


def test_a_task_is_handed_over_waited_for_and_read(fleet: Owner) -> None:
    with talking(fleet) as process:
        told = ask(process, "initialize", protocolVersion="2025-06-18", clientInfo={"name": "a-test"})
        assert told["protocolVersion"] == "2025-06-18" and "dispatch" in told["instructions"]

        def call(name: str, **given: Any) -> Any:
            return ask(process, "tools/call", name=name, arguments=given)["structuredContent"]

        assert {"node1", "node2"} <= {node["name"] for node in call("fleet_status")["nodes"]}
        run = call("dispatch", **WORK)["run"]
        assert call("wait", run=run)["outcome"] == "done"
        shown = call("run_show", run=run)
        assert shown["created_by"].endswith("(a-test)") and shown["node"] == "node2"
        assert call("logs", run=run)["text"] == "over-there"
        assert call("why", run=run)["decisions"]
        receipt = ask(process, "resources/read", uri=f"pancode://runs/{run}/receipt")["contents"][-1]
        assert run in receipt["text"] or "payload" in receipt["text"]
        batch = call("dispatch_batch", tasks=["printf a", "false"], runtime="shell", workspace="none")
        until(
            lambda: call("workflow_show", workflow=batch["workflow"])["state"] == "partial", "the batch ends"
        )
        assert [step["state"] for step in call("workflow_show", workflow=batch["workflow"])["steps"]] == [
            *("done", "failed")
        ]
        assert {"needs", "count"} <= call("inbox").keys()
        refused = ask(process, "tools/call", name="dispatch", arguments={**WORK, "node": "none"})
        assert refused["isError"] and refused["structuredContent"]["fix"]


@pytest.mark.parametrize("era", ["handshake", "discover"])
def test_the_official_sdk_understands_it(fleet: Owner, era: str) -> None:
    try:
        python = ensure("claude-sdk").parent / "env/bin/python"
    except CannotInstall as exc:
        pytest.skip(f"the SDK cannot be installed here: {exc}")
    done = subprocess.run(
        [str(python), str(SDK_CLIENT), era, json.dumps(WORK), *fleet.argv("mcp")],
        cwd=fleet.home,
        env=fleet.env,
        capture_output=True,
        text=True,
        timeout=90 * crowded(),
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["outcome"] == "done" and told["log"] == "over-there"
    assert {"dispatch", "wait", "run_show"} <= set(told["tools"])
    assert told["annotations"]["dispatch"] is False and told["annotations"]["run_show"] is True


def _turns(name: Callable[[str], dict[str, str]]) -> list[dict[str, Any]]:
    def call(tool: str, **given: Any) -> dict[str, Any]:
        return {"call": {**name(tool), "arguments": given}}

    return [
        call("dispatch", **WORK),
        call("wait", run="last"),
        call("logs", run="last"),
        {"text": "handed over"},
    ]


@pytest.mark.parametrize("program", ASKING)
def test_a_real_program_hands_a_task_to_a_machine(fleet: Owner, tmp_path: Path, program: str) -> None:
    """With the entry that `pancode mcp install` makes, beside what points it at the model server."""
    try:
        binary, asking = ensure(program) / program, ASKING[program]
    except CannotInstall as exc:
        pytest.skip(f"the real {program} cannot be installed here: {exc}")
    home = tmp_path / "home"
    home.mkdir()
    bodies, before = tmp_path / "bodies", {run["run"] for run in fleet.ask("runs", "9")["runs"]}
    script = {"turns": _turns(asking.name), "no_tools": "turns" if program == "claude" else "text"}
    with FakeModel(script, log=Log(dump_dir=str(bodies))) as model:
        asking.configure(home, model.url)
        env = {**fleet.env, "HOME": str(home), "PATH": f"{binary.parent}:{PATH}", **asking.env(model.url)}
        entered = [*fleet.argv("mcp", "install"), program, "--yes"]
        subprocess.run(entered, env=env, cwd=home, check=True, capture_output=True)
        done = subprocess.run(
            [str(binary), *asking.words],
            cwd=home,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=150 * crowded(),
        )
    assert done.returncode == 0 and "handed over" in done.stdout, (done.stdout, done.stderr)
    (run,) = [one for one in fleet.ask("runs", "9")["runs"] if one["run"] not in before] or [{}]
    assert (run.get("outcome"), run.get("node")) == ("done", "node2"), (done.stdout, done.stderr)
    assert fleet.show(run["run"])["created_by"].endswith(")"), "the program is named beside the user"
    assert any("over-there" in path.read_text() for path in bodies.iterdir()), "it read the log"
