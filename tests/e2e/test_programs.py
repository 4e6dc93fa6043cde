"""All real agent programs on a real host, from the command line: what each act of model or owner comes to.

Their model is scripted, on the host's own loopback. One program does every act; of the others those are run
that their own command line and stream decide. What they say of each failure is in tests/clis/test_acts.py
and in the golden transcripts. All runs of a program are dispatched at once, and most wait for it to start.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from node_agent.wire.failure import FAILURES, FailureKind
from node_agent.wire.failure import FailureKind as F
from tests.clis.hands import HANDS
from tests.clis.launched import EVERY, Cli
from tests.crowd import crowded
from tests.e2e.owner import Owner, Said, until
from tests.e2e.programs import (
    PORT,
    await_state,
    give_prices,
    give_secrets,
    installed,
    model_on,
    on_host,
    project,
    requests_in,
)
from tests.fakemodel import preset
from tests.lab import Lab

pytestmark = pytest.mark.slow

K = 2
KEY = "sk-of-the-owner"
AT_MOST_S = 240
LONG = "sleep 623"
"""What the run is at that is stopped at work."""
DONE = {"text": "Done: the work is finished.", "usage": {"input": 1200, "output": 34, "cache_read": 500}}
TEXT, TWO, EDIT = (1200, 34), (2400, 68), (3600, 102)
PRICE, COSTS = "1 0.1 2 10", {TEXT: Decimal("0.00159"), TWO: Decimal("0.00318"), EDIT: Decimal("0.00477")}
"""Of a million tokens: input, from a cache, into a cache, output; and what that makes of those."""
IDLE_S = 25
"""Longer than it takes to start, ask and begin, with four of them at once; more where the machine is busy."""
TWICE = "429"
"""What is tried once more; of the others once is enough."""
FORBIDDEN = ("forbidden-edit", "forbidden-shell")
CODES = {"done": 0, "error": 10, "stalled": 14, "budget_exceeded": 15, "infra": 17, "interrupted": 19}


@dataclass(frozen=True)
class Came:
    """What an act comes to: why it failed, and the tokens where they are certain."""

    failure: FailureKind | None = None
    tokens: tuple[int, int] | None = None


USUAL = {
    "stopped": Came(F.STOPPED),
    "idle": Came(F.IDLE_LIMIT),
    "text": Came(None, TEXT),
    "edit": Came(None, EDIT),
    "forbidden-edit": Came(F.TOOL_DENIED),
    "forbidden-shell": Came(F.TOOL_DENIED),
    "401": Came(F.MODEL_AUTH, (0, 0)),
    "429": Came(F.MODEL_BUSY, (0, 0)),
    "500": Came(F.MODEL_FAILED, (0, 0)),
    "cut": Came(F.MODEL_FAILED),
    "bad-json": Came(F.MODEL_FAILED),
    "huge": Came(None, TEXT),
}
OF_EACH = ("stopped", "edit", "forbidden-edit", "401")
"""The acts of every program; the first program does the others, too."""
SILENT = "codex"
"""Its stream does not tell what it was kept from; that nothing came of it is seen all the same."""


def expected(cli: Cli, act: str) -> Came:
    return Came() if cli.runtime == SILENT and act in FORBIDDEN else USUAL[act]


def script(cli: Cli) -> dict[str, Any]:
    """A rule for each act, told by a word of its task."""
    hands = HANDS[cli.runtime]
    own = {
        "stopped": [hands.shell(f"exec {LONG}"), DONE],
        "idle": [{"text": "half of an answer", "chunk_chars": 8, "chunk_delay": 3600.0}],
        "forbidden-edit": [hands.write("${cwd}/forbidden.txt", "x\n"), DONE],
        "forbidden-shell": [hands.shell("echo x > shell.txt"), DONE],
    }
    turns = {act: own.get(act) or preset(act)["turns"] for act in USUAL}
    return {"rules": [{"name": a, "if": {"prompt": _task(a)}, "turns": t} for a, t in turns.items()]}


def _task(act: str) -> str:
    return f"act {act} of the test"


@dataclass
class ToolResults:
    """What the command line says of each act of one program. All have begun; each is waited for when its test
    asks, so that no test waits for all."""

    cli: Cli
    begun: dict[str, subprocess.Popen[str]]
    log: Path
    top: Path
    _said: dict[str, Said] = field(default_factory=dict)

    def said(self, act: str) -> Said:
        if act not in self._said:
            out, err = self.begun[act].communicate(timeout=AT_MOST_S * crowded())
            self._said[act] = Said(self.begun[act].returncode, out, err)
        return self._said[act]

    def run(self, act: str) -> dict[str, Any]:
        said = self.said(act)
        assert said.out.strip(), said
        shown: dict[str, Any] = said.json()
        return shown

    def was_asked(self, act: str) -> bool:
        """Whether the program's model was asked for it."""
        return act in {entry.get("rule", "") for entry in requests_in(self.log)}


@pytest.fixture(scope="module", params=EVERY, ids=lambda cli: cli.runtime)
def told(request: pytest.FixtureRequest, fleet: Owner, lab: Lab) -> Iterator[ToolResults]:
    """Each program in turn on one host, with the owner's key in a file there; all its acts begin at once."""
    cli: Cli = request.param
    plain = project(fleet, f"acts-{cli.runtime}")
    short = project(fleet, f"short-{cli.runtime}")
    (plain / "pancode.yaml").write_text("limits: {idle: 3m}\n")
    # A wait that is always waited for to its end: half of the crowd is enough.
    (short / "pancode.yaml").write_text(f"limits: {{idle: {IDLE_S * (1 + crowded()) / 2:.0f}s}}\n")
    with installed(lab, cli.runtime, [K]), model_on(lab, K, script(cli)) as log:
        give_secrets(lab, K, secrets(cli))
        give_prices(lab, K, {cli.model: PRICE})
        await_state(fleet, K, cli.runtime, "ok")
        wanted = _wanted(request.session.items, cli)
        silent = {act for act in wanted if expected(cli, act).failure is F.IDLE_LIMIT}
        begun = {  # the longest first
            act: fleet.begin(*words(cli, act), _task(act), cwd=short if act in silent else plain)
            for act in sorted(wanted, key=lambda act: act not in {"stopped", *silent})
        }
        try:
            if "stopped" in wanted:
                _stop_at_work(fleet, lab, cli)
            yield ToolResults(cli, begun, log, plain)
        finally:
            for process in begun.values():
                process.kill()


def _wanted(items: Sequence[pytest.Item], cli: Cli) -> list[str]:
    """The acts that this session tests (an edit is tested twice), in the order of the table."""
    of_this_file = [
        item for item in items if isinstance(item, pytest.Function) and item.path == Path(__file__)
    ]
    params = [item.callspec.params for item in of_this_file]
    acts = {given.get("act", "edit") for given in params if given["told"] is cli}
    return [act for act in USUAL if act in acts]


def _stop_at_work(fleet: Owner, lab: Lab, cli: Cli) -> None:
    until(lambda: at_work(lab), f"{cli.runtime} works", AT_MOST_S)
    (run,) = (one for one in fleet.ask("runs")["runs"] if _is_stopped_one(one, cli))
    fleet.run("runs", "stop", run["run"], "--reason", "enough").ok()


def secrets(cli: Cli) -> dict[str, str]:
    given = cli.env(f"http://127.0.0.1:{PORT}")
    return {name: KEY if name.endswith("_KEY") else v for name, v in given.items() if "RETRIES" not in name}


def words(cli: Cli, act: str) -> list[str]:
    own = ["--agent", "scout"] if act in FORBIDDEN else []
    own += ["--safety", "full-auto"] if act == "stopped" else []
    own += ["--verify", "grep -qx BETA notes.txt"] if act == "edit" else []
    base = ["dispatch", "--runtime", cli.runtime, "--model", cli.model, "--node", f"node{K}"]
    own += ["--attempts", "2" if act == TWICE else "1"]
    return [*base, "--budget", "0.10", "--json", *own]


def at_work(lab: Lab) -> bool:
    return bool(on_host(lab, K, f"pgrep -fx '{LONG}' || :").strip())


def _is_stopped_one(run: dict[str, Any], cli: Cli) -> bool:
    return run["task"] == _task("stopped") and run["runtime"] == cli.runtime


@pytest.mark.parametrize("act", OF_EACH)
def test_an_act_comes_to_what_it_should(fleet: Owner, lab: Lab, told: ToolResults, act: str) -> None:
    check(fleet, lab, told, act)


@pytest.mark.parametrize("act", [act for act in USUAL if act not in OF_EACH])
@pytest.mark.parametrize("told", EVERY[:1], ids=lambda cli: cli.runtime, indirect=True)
def test_another_act_of_one_program_comes_to_what_it_should(
    fleet: Owner, lab: Lab, told: ToolResults, act: str
) -> None:
    check(fleet, lab, told, act)


def check(fleet: Owner, lab: Lab, told: ToolResults, act: str) -> None:
    run, want = told.run(act), expected(told.cli, act)
    receipt = fleet.ask("receipt", "show", run["run"])["statement"]["predicate"]
    assert receipt["failure"] == want.failure, run
    outcome = "done" if want.failure is None else FAILURES[want.failure].outcome.value
    assert (run["outcome"], told.said(act).code) == (outcome, CODES[outcome]), run
    assert told.was_asked(act), "its model was asked"
    assert run["attempt"] == (2 if act == TWICE else 1)
    assert run["files_changed"] == (["notes.txt"] if act == "edit" else [])
    assert receipt["isolation"] == "sandbox"
    usage = receipt["usage"]
    if want.tokens is not None:
        assert (usage["input_tokens"], usage["output_tokens"]) == want.tokens, usage
        assert Decimal(usage["cost_usd"]) == COSTS.get(want.tokens, 0)
    if want.failure is F.TOOL_DENIED:
        assert any(finding.startswith("denied: ") for finding in receipt["findings"])
    match act:
        case "text":
            assert run["answer"] == "Hello from the model."
        case "huge":
            assert len(run["answer"]) == 4000
        case "stopped":
            assert "enough" in run["reason"] and not at_work(lab)


def test_an_edit_is_verified_signed_and_landed_and_the_key_stays_with_its_owner(
    fleet: Owner, lab: Lab, told: ToolResults
) -> None:
    run = told.run("edit")
    assert [gate["passed"] for gate in run["gates"]] == [True]
    assert fleet.ask("receipt", "verify", run["run"])["verdict"] == "PASS"
    fleet.run("runs", "land", run["run"], cwd=told.top).ok()
    assert (told.top / "notes.txt").read_text() == "alpha\nBETA\ngamma\n"
    found = on_host(lab, K, f"grep -rlF {KEY} ~/.pancode-node/f-*/journal ~/.pancode-node/f-*/log || :")
    assert found == ""
