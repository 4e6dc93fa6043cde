"""The real programs, begun as a user begins them, use what a sync has copied: skills, commands, agents.

Takes about 80 s in all: each test starts the real program once.
"""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from node_agent.runtimes.base import LaunchRequest, ProcessSpec
from pancode.skills.copy_requests import SkillsAsked
from pancode.skills.definitions import KINDS, read_definitions
from pancode.skills.local_service import act_here
from pancode.skills.sources import list_sources, skills_of
from tests.clis.conftest import MakeBench
from tests.clis.launched import CLAUDE, CODEX, COPILOT, ENDS_S, GEMINI, OPENCODE, Bench, Cli
from tests.crowd import crowded

pytestmark = pytest.mark.slow

QWEN = Cli("qwen", "fake-coder", OPENCODE.env)
"""No runtime: only what a user has in its home is tested."""
HELD_BACK = ("permission", "tools", "agent", "default_agent", "plugin")
"""Parts of our settings for OpenCode that keep skills from a run."""


def _with_provider(made: ProcessSpec) -> Mapping[str, str]:
    """OpenCode knows a model server by its settings alone."""
    kept = {name: word for name, word in made.env.items() if not name.startswith(("OPENCODE_", "XDG_"))}
    settings = json.loads(made.env["OPENCODE_CONFIG_CONTENT"])
    plain = {name: one for name, one in settings.items() if name not in HELD_BACK}
    return {**kept, "OPENCODE_CONFIG_CONTENT": json.dumps(plain), "OPENCODE_DISABLE_MODELS_FETCH": "1"}


def _offline(made: ProcessSpec) -> Mapping[str, str]:
    return {name: word for name, word in made.env.items() if name != "COPILOT_HOME"}


KEYED = {"security": {"auth": {"selectedType": "gemini-api-key"}}}
"""Settings of a user of Gemini CLI who has a key."""
PLAIN: dict[str, tuple[tuple[str, ...], Callable[[ProcessSpec], Mapping[str, str]] | None]] = {
    "claude": (("claude", "-p", "hi", "--model", CLAUDE.model), None),
    "copilot": (("copilot", "-p", "hi", "--allow-all-tools", "--no-auto-update"), _offline),
    "gemini": (("gemini", "-p", "hi", "-m", GEMINI.model, "--skip-trust"), None),
    "opencode": (("opencode", "run", "--model", "pancode/fake-coder", "hi"), _with_provider),
    "qwen": (("qwen", "-p", "hi", "--auth-type", "openai", "-m", QWEN.model), None),
}
"""What a user types, and the environment that leads it to a model server; Codex is begun as runs are."""


class Plain(Bench):
    """Begins the program without what keeps a run's apart. `said`: in place of what a user types."""

    said: tuple[str, ...] = ()

    @property
    def near(self) -> dict[str, str]:
        return {"HOME": str(self.home), "PATH": self.path, **self.cli.env(self.url)}

    def launch(self, request: LaunchRequest) -> ProcessSpec:
        if self.cli is QWEN:
            return ProcessSpec(self.said or PLAIN["qwen"][0], self.near, b"", {})
        made = super().launch(request)
        if self.cli.runtime not in PLAIN:
            return made
        argv, env_of = PLAIN[self.cli.runtime]
        argv = self.said or argv
        files = {".gemini/settings.json": json.dumps(KEYED).encode()}
        return replace(
            made, argv=argv, env=self.near if env_of is None else env_of(made), files=files, stdin=b""
        )


@pytest.mark.parametrize("cli", (CLAUDE, CODEX, COPILOT, GEMINI, OPENCODE, QWEN), ids=lambda cli: cli.runtime)
def test_a_program_lists_those_of_its_folder(make_bench: MakeBench, cli: Cli, tmp_path: Path) -> None:
    made, _ = make_bench(cli, {"turns": [{"text": "Done."}] * 3})
    b = Plain(cli, tmp_path / "p", made.path, made.url)
    request = b.request()
    home = Path(b.launch(request).env["HOME"])
    home.mkdir(parents=True, exist_ok=True)
    found = skills_of(list_sources(tmp_path / "none", None))
    act_here(SkillsAsked("sync", tools=(cli.runtime,), time="t1", found=tuple(found)), home)
    with b.started(request) as process:
        process.wait(ENDS_S * crowded())
    # Some list them as XML, with escaped quotes.
    asked = html.unescape("".join(path.read_text() for path in sorted((tmp_path / "d").iterdir())))
    missing = [one.skill.name for one in found if one.skill.description[:60] not in asked]
    assert not missing, (b.home / "err").read_text()[-2000:]


COMMANDS = {
    "claude": ("claude", "-p", "/mend this", "--model", CLAUDE.model),
    "opencode": ("opencode", "run", "--model", "pancode/fake-coder", "--command", "mend", "this"),
    "qwen": ("qwen", "-p", "/mend this", "--auth-type", "openai", "-m", QWEN.model),
}


BOTH = [(cli, kind) for kind in KINDS for cli in (CLAUDE, OPENCODE, QWEN) if cli.runtime in KINDS[kind]]


@pytest.mark.parametrize(("cli", "kind"), BOTH, ids=[f"{cli.runtime}-{kind}" for cli, kind in BOTH])
def test_a_program_obeys_commands_and_has_agents(
    make_bench: MakeBench, cli: Cli, kind: str, tmp_path: Path
) -> None:
    made, _ = make_bench(cli, {"turns": [{"text": "Done."}] * 3})
    b = Plain(cli, tmp_path / "p", made.path, made.url)
    b.said = COMMANDS[cli.runtime] if kind == "commands" else ()
    kept = {
        "commands": "---\ndescription: Repair.\n---\nWords-of-the-command: $ARGUMENTS",
        "agents": "---\nname: aide\ndescription: Lists-it\n---\nYou repair what is broken.",
    }
    (tmp_path / kind).mkdir()
    (tmp_path / kind / {"commands": "mend.md", "agents": "aide.md"}[kind]).write_text(f"{kept[kind]}\n")
    request = b.request()
    home = Path(b.launch(request).env["HOME"])
    home.mkdir(parents=True, exist_ok=True)
    files = tuple(read_definitions(tmp_path))
    act_here(SkillsAsked("sync", tools=(cli.runtime,), time="t1", files=files), home)
    with b.started(request) as process:
        process.wait(ENDS_S * crowded())
    asked = "".join(path.read_text() for path in sorted((tmp_path / "d").iterdir()))
    words = {"commands": "Words-of-the-command", "agents": "Lists-it"}[kind]
    assert words in asked, (b.home / "err").read_text()[-2000:]
