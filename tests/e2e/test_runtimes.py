"""The other real agent programs on a real host, from the command line; their model is scripted, beside them.

Takes about two minutes in all: each program works, is refused by its model server, and waits for one in vain.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.owner import Owner, Said
from tests.e2e.programs import (
    PORT,
    SETTLED,
    await_state,
    books,
    give_secrets,
    installed,
    model_on,
    on_host,
    project,
    requests_in,
    settled,
)
from tests.fakemodel import preset
from tests.lab import Lab

pytestmark = pytest.mark.slow

K = 2
KEY = "sk-of-the-owner"
SERVER = f"http://127.0.0.1:{PORT}"


@dataclass(frozen=True)
class Program:
    """How it is pointed at a model server; `refused` is in its words where its key is refused."""

    name: str
    model: str
    url: str
    key: str
    refused: str
    wire_path: str = "/v1"

    @property
    def secrets(self) -> dict[str, str]:
        return {self.url: f"{SERVER}{self.wire_path}", self.key: KEY}

    @property
    def words(self) -> list[str]:
        return [
            "--runtime",
            self.name,
            "--model",
            self.model,
            "--node",
            f"node{K}",
            "--budget",
            "0.50",
            "--json",
        ]


OPENAI = ("OPENAI_BASE_URL", "OPENAI_API_KEY")
COPILOT = ("COPILOT_PROVIDER_BASE_URL", "COPILOT_PROVIDER_API_KEY")
GOOGLE = ("GOOGLE_GEMINI_BASE_URL", "GEMINI_API_KEY")
PROGRAMS = {
    program.name: program
    for program in (
        Program("codex", "gpt-5.5", *OPENAI, refused="401"),
        Program("opencode", "fake-coder", *OPENAI, refused="401"),
        Program("gemini", "gemini-2.5-pro", *GOOGLE, refused="401", wire_path=""),
        Program("copilot", "fake-coder", *COPILOT, refused="Authentication failed"),
    )
}


@pytest.fixture(scope="module", params=sorted(PROGRAMS))
def program(request: pytest.FixtureRequest, fleet: Owner, lab: Lab) -> Iterator[Program]:
    """Each program in turn, on the PATH of one host and with the owner's key in a file there."""
    chosen = PROGRAMS[request.param]
    with installed(lab, chosen.name, [K]):
        give_secrets(lab, K, chosen.secrets)
        await_state(fleet, K, chosen.name, "ok")
        yield chosen


def test_an_edit_is_made_verified_signed_and_landed(fleet: Owner, lab: Lab, program: Program) -> None:
    top = project(fleet, f"edited-{program.name}")
    (top / "AGENTS.md").write_text("WORDS-OF-THE-REPOSITORY")
    before = books(fleet)
    gates = ["--verify", "grep -qx BETA notes.txt", "--verify", f"sh -c 'test -z \"${program.key}\"'"]
    task = 'change beta in notes.txt; it\'s "quoted" $(id) 😀'
    with model_on(lab, K, preset("edit")) as log:
        said = fleet.run("dispatch", *program.words, *gates, task, cwd=top, timeout_s=180)
        asked = requests_in(log)
    run = said.ok().json()
    assert (run["outcome"], run["runtime"], run["files_changed"]) == ("done", program.name, ["notes.txt"])
    assert [gate["passed"] for gate in run["gates"]] == [True, True], "gates pass, and do not see the key"
    assert len(asked) == 3 and task in asked[0]["prompt_tail"]
    usage = run["usage"]
    assert (usage["input_tokens"], usage["output_tokens"]) == (3600, 102)
    assert (usage["cost_usd"], usage["cost_source"]) == (None, "unknown")
    settled(fleet, run["run"])
    assert books(fleet) == {**before, "spent_usd": before["spent_usd"] + SETTLED}
    assert fleet.ask("receipt", "verify", run["run"])["verdict"] == "PASS"
    fleet.run("runs", "land", run["run"], cwd=top).ok()
    assert (top / "notes.txt").read_text() == "alpha\nBETA\ngamma\n"
    secret = on_host(lab, K, f"grep -rlF {KEY} ~/.pancode-node/f-*/journal ~/.pancode-node/f-*/log || :")
    assert secret == "", "the owner's key stays in the owner's file"


def test_a_text_answer_is_told(fleet: Owner, lab: Lab, program: Program) -> None:
    with model_on(lab, K, preset("text")):
        words = ("--workspace", "none", "say hello")
        run = fleet.run("dispatch", *program.words, *words, timeout_s=120).ok().json()
    assert (run["outcome"], run["answer"]) == ("done", "Hello from the model."), run
    settled(fleet, run["run"])


def test_a_key_that_is_refused_is_no_fault_of_the_agent(fleet: Owner, lab: Lab, program: Program) -> None:
    before = books(fleet)
    with model_on(lab, K, preset("401")):
        said = fleet.run("dispatch", *program.words, "--workspace", "none", "say hello", timeout_s=120)
    run = said.json()
    assert (said.code, run["outcome"]) == (17, "infra"), run
    assert program.refused in run["reason"], run["reason"]
    assert books(fleet) == before, "nothing was spent, nothing stays held"


def test_a_model_that_is_silent_for_the_idle_limit_is_stalled(
    fleet: Owner, lab: Lab, program: Program
) -> None:
    top = project(fleet, f"idle-{program.name}")
    said, asked = _waited(fleet, lab, program, top)
    run = json.loads(said.out)
    assert (said.code, run["outcome"]) == (14, "stalled"), said
    left = on_host(lab, K, f"ps -eo args | grep -c '[/]{program.name}' || :").strip()
    assert left == "0", "nothing of it is left"
    assert (run["usage"]["cost_usd"], run["usage"]["cost_source"]) == (None, "unknown"), (run, asked)
    settled(fleet, run["run"])


def _waited(fleet: Owner, lab: Lab, program: Program, top: Path) -> tuple[Said, list[dict[str, Any]]]:
    """What came of the wait for a model that never answers, and what that model was asked."""
    tried = []
    for idle in (8, 24, 72):  # a busy machine may need as long before the program has asked anything at all
        (top / "pancode.yaml").write_text(f"limits: {{idle: {idle}s}}\n")
        with model_on(lab, K, preset("stall")) as log:
            said = fleet.run("dispatch", *program.words, "say hello", cwd=top, timeout_s=180)
            if asked := requests_in(log):
                return said, asked
        tried.append(said)
    raise AssertionError(f"it never asked its model: {tried}")
