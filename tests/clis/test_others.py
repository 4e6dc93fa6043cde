"""Programs that are shipped by name for an owner who wants them, started as the node does, against the
scripted model server. Takes half a minute for each: they start slowly, and twice.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from node_agent.acp.asking import probe_program
from node_agent.runtimes.base import Resume
from node_agent.runtimes.others import ANSWERS_S, SHIPPED, OtherAgent, runtime_of
from node_agent.runtimes.registry import RUNTIMES
from node_agent.wire.clock import SystemClock
from node_agent.wire.node import Flag
from node_agent.wire.policy import Isolation
from node_agent.wiring import ASKER
from tests.clis.conftest import MakeBench
from tests.clis.hands import call
from tests.clis.install import PACKAGES, Sdk
from tests.clis.launched import Bench, Cli, names
from tests.clis.test_talked import TERMS, interactive_run, was_told
from tests.crowd import crowded

pytestmark = pytest.mark.slow

ENDS = {"text": "I did it."}
FORBIDDEN = "git push origin main"
COMMANDS = {
    "kilo": lambda line: call("bash", command=line, description="p"),
    "hermes": lambda line: call("terminal", command=line),
    "qwen": lambda line: call("run_shell_command", command=line, description="p", is_background=False),
}
WRITES = {
    "kilo": lambda path, text: call("write", filePath=path, content=text),
    "hermes": lambda path, text: call("write_file", path=path, content=text),
    "qwen": lambda path, text: call("write_file", file_path=path, content=text),
}
MODES = {"kilo": "debug", "hermes": "accept_edits", "qwen": "auto-edit"}
"""One that each has, and does not begin in."""
ASKS = ("kilo", "qwen")
"""They ask before each command; the others only before what they think is dangerous."""


def entry_of(name: str) -> OtherAgent:
    """As the owner has it; an environment of Python is started by its path, since it may have been moved."""
    package = PACKAGES[name]
    if isinstance(package, Sdk):
        return OtherAgent(argv=(f"{package.folder}/env/bin/python", "-m", "acp_adapter"))
    return OtherAgent()


@pytest.fixture(params=sorted(SHIPPED))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def _server(url: str) -> dict[str, str]:
    return {"OPENAI_BASE_URL": f"{url}/v1", "OPENAI_API_KEY": "k-of-the-owner"}


@pytest.fixture
def bench_of(make_bench: MakeBench, name: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    cli = Cli(f"acp:{name}", "fake-coder", _server)

    def make(script: dict[str, Any]) -> tuple[Bench, Any]:
        bench, model = make_bench(cli, script)
        monkeypatch.setitem(RUNTIMES, cli.runtime, runtime_of(name, entry_of(name), ASKER))
        bench.isolation = Isolation.SANDBOX
        return bench, model

    return make


def test_it_is_found_writes_runs_is_denied_and_remembers(
    bench_of: Any, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = [WRITES[name]("${cwd}/new.txt", "BETA\n"), COMMANDS[name]("printf one > made.txt")]
    b, model = bench_of({"turns": [*turns, COMMANDS[name](FORBIDDEN), ENDS]})
    monkeypatch.setenv("PATH", b.path)
    monkeypatch.setenv("HOME", str(b.outside))
    probe = RUNTIMES[b.cli.runtime].probe
    argv = probe.argvs[0][len(ASKER) :]
    found = probe.read([(0, json.dumps(probe_program(argv, SystemClock(), int(ANSWERS_S * crowded()))))])
    assert (found.state, found.version) == ("ok", PACKAGES[name].version), found.fix
    assert Flag.RESUME in found.can
    first = b.run(
        replace(
            interactive_run(b, "first words"), interactive_run=TERMS.model_copy(update={"mode": MODES[name]})
        )
    )
    assert first.failure is None and first.answer.strip().startswith("I did it."), first.reason
    assert set(names(b.work)) == {".git", "notes.txt", "new.txt", "made.txt"}
    assert len(first.denials) == (1 if name in ASKS else 0), "else only the sandbox holds it"
    assert was_told(tmp_path, "PROMPT-OF-THE-AGENT", "first words")
    out = (b.home / "out").read_text()
    assert " offers " in out and "mode: " in out
    assert "offers no mode" not in out, "the mode that was named is set"
    model.set_script({"turns": [{"text": "I remember."}]})
    then = b.run(interactive_run(b, "second words", resume=Resume(first.session, first.usage)))
    assert then.failure is None and then.answer.strip().startswith("I remember."), then.reason
    assert was_told(tmp_path, "first words", "second words")


@pytest.mark.parametrize("name", ["qwen"])
def test_qwen_code_takes_nothing_from_the_repository(bench_of: Any, name: str, tmp_path: Path) -> None:
    """Neither its settings, whose servers and hooks would run at its start, nor its words and variables."""
    b, _ = bench_of({"turns": [ENDS]})
    run = {"command": "sh", "args": ["-c", f"touch {tmp_path}/THEIRS"]}
    hook = [{"hooks": [{"type": "command", "command": f"touch {tmp_path}/THEIRS"}]}]
    (b.work / ".qwen").mkdir()
    settings = {"mcpServers": {"x": run}, "hooks": {"SessionStart": hook, "UserPromptSubmit": hook}}
    (b.work / ".qwen/settings.json").write_text(json.dumps(settings))
    for file in (".qwen/.env", ".env"):
        (b.work / file).write_text("OPENAI_BASE_URL=http://127.0.0.1:9\n")
    for file in ("QWEN.md", "AGENTS.md"):
        (b.work / file).write_text("WORDS-OF-THE-REPOSITORY")
    verdict = b.run(interactive_run(b, "first words"))
    assert verdict.failure is None and verdict.answer.strip().startswith("I did it."), verdict.reason
    assert was_told(tmp_path, "PROMPT-OF-THE-AGENT", "first words")
    assert not was_told(tmp_path, "WORDS-OF-THE-REPOSITORY") and not (tmp_path / "THEIRS").exists()
