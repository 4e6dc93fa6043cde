"""`agents set`, `new` and `check` on a user's own file: checked before it is written, or left alone."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pancode.app.init import write_files
from pancode.config.agents import writer
from pancode.config.agents.definition_changes import check_file, new_agent, set_field
from pancode.config.agents.edit import set_value
from pancode.config.agents.writer import AgentsFile
from pancode.kernel.documents import read_document
from pancode.kernel.errors import ConfigError, ConflictError, NotFoundError, RefusedError, UsageError

MINE = "# mine\nagents:\n  fixer:   # the fixer\n    readonly: false\n    tools: [read, edit]\n"


@pytest.fixture
def agents_file(tmp_path: Path) -> AgentsFile:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    return AgentsFile(home, tmp_path, {"HOME": str(tmp_path)})


def agent(agents_file: AgentsFile, name: str) -> Any:
    return agents_file.check(read_document(agents_file.file)).loaded.agents[name]


def test_a_field_is_set_and_the_rest_stays(agents_file: AgentsFile) -> None:
    agents_file.file.write_text(MINE)
    told = set_field(agents_file, "fixer", "tier", "frontier")
    assert told == {
        "agent": "fixer",
        "field": "tier",
        "value": "frontier",
        "file": str(agents_file.file),
        "line": 6,
    }
    assert agents_file.file.read_text() == f"{MINE}    tier: frontier\n"


@pytest.mark.parametrize(
    ("field", "text", "name", "value"),
    [
        ("tools", "read,edit", "tools", ("read", "edit")),
        ("tools", "[read, edit]", "tools", ("read", "edit")),
        ("enabled", "false", "enabled", False),
        ("description", "true", "description", "true"),
        ("model", "2024", "model", "2024"),
        ("model", "${PANCODE_WORKER_MODEL}", "model", None),
        ("max_turns", "7", "limits.turns", 7),
        ("limits.wall", "2h", "limits.wall_ms", 7_200_000),
        ("limits.usd", "0.5", "limits.usd", "0.5"),
        ("sampling.temperature", "0.1", "sampling.temperature", "0.1"),
        ("retry_on_failure", "true", "max_attempts", 2),
    ],
)
def test_values_as_a_user_types_them(
    agents_file: AgentsFile, field: str, text: str, name: str, value: object
) -> None:
    agents_file.file.write_text(MINE)
    set_field(agents_file, "fixer", field, text)
    found = agent(agents_file, "fixer")
    for step in name.split("."):
        found = getattr(found, step)
    assert (str(found) if isinstance(value, str) else found) == value


def test_a_shipped_agent_gets_an_entry_that_is_laid_over_it(agents_file: AgentsFile) -> None:
    told = set_field(agents_file, "dev", "model", "opus")
    assert (told["agent"], told["line"]) == ("builder", 3)
    assert agents_file.file.read_text() == "agents:\n  builder:\n    model: opus\n"
    assert agents_file.file.stat().st_mode & 0o777 == 0o600
    assert agent(agents_file, "builder").prompt.startswith("You are a builder.")


def test_the_file_that_init_writes_can_be_set_in(agents_file: AgentsFile) -> None:
    write_files(agents_file.home)
    before = agents_file.file.read_text()
    set_field(agents_file, "scout", "model", "haiku")
    assert agents_file.file.read_text() == f"{before}agents:\n  scout:\n    model: haiku\n"


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("tools", "[gerp]", "tool 'gerp' not found"),
        ("readonly", "true", "is read-only, but has the tool edit"),
        ("tier", "huge", "agents.fixer.tier: 'huge'"),
        ("runtime_args", "[--yolo]", "runtime_args"),
        ("limits.wall", "5", "agents.fixer.limits.wall: 5"),
        ("model", "a/${NOPE}", "which is not set"),
    ],
)
def test_what_does_not_fit_is_not_written(
    agents_file: AgentsFile, field: str, value: str, words: str
) -> None:
    agents_file.file.write_text(MINE)
    with pytest.raises(ConfigError, match="nothing was written") as caught:
        set_field(agents_file, "fixer", field, value)
    assert words in str(caught.value)
    assert agents_file.file.read_text() == MINE
    assert os.listdir(agents_file.home) == ["panagents.yaml"]


def test_a_field_can_be_mended_while_another_one_is_wrong(agents_file: AgentsFile) -> None:
    agents_file.file.write_text("agents:\n  a: {tier: huge}\n  b: {speed: slow}\n")
    set_field(agents_file, "a", "tier", "mid")
    assert agents_file.file.read_text() == "agents:\n  a: {tier: mid}\n  b: {speed: slow}\n"


def test_unknown_names_are_told_with_the_nearest(agents_file: AgentsFile) -> None:
    with pytest.raises(NotFoundError, match="agent 'bilder' not found") as agent_:
        set_field(agents_file, "bilder", "tier", "mid")
    assert "builder?" in agent_.value.why
    with pytest.raises(UsageError, match="agents do not have a field 'teir'") as field:
        set_field(agents_file, "builder", "teir", "mid")
    assert "tier?" in field.value.why and "limits.wall" in field.value.fix
    with pytest.raises(UsageError, match="is not a valid value"):
        set_field(agents_file, "builder", "tools", "[read")
    assert not agents_file.file.exists()


def test_mode_and_link_of_the_file_stay(agents_file: AgentsFile, tmp_path: Path) -> None:
    real = tmp_path / "dotfiles.yaml"
    real.write_text(MINE)
    real.chmod(0o640)
    agents_file.file.symlink_to(real)
    set_field(agents_file, "fixer", "tier", "mid")
    assert agents_file.file.is_symlink() and "tier: mid" in real.read_text()
    assert real.stat().st_mode & 0o777 == 0o640


def test_a_file_that_changes_meanwhile_is_left_alone(
    agents_file: AgentsFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    agents_file.file.write_text(MINE)

    def slow(text: str, path: tuple[str, ...], value: object, place: str) -> str:
        agents_file.file.write_text("# somebody else\n")
        return set_value(text, path, value, place)

    monkeypatch.setattr(writer, "set_value", slow)
    with pytest.raises(ConflictError, match="changed in the meantime"):
        set_field(agents_file, "fixer", "tier", "mid")
    assert agents_file.file.read_text() == "# somebody else\n"


@pytest.mark.parametrize(
    "verb", [lambda d: set_field(d, "builder", "tier", "mid"), lambda d: new_agent(d, "x", "builder")]
)
def test_a_run_does_not_change_what_runs_may_do(agents_file: AgentsFile, verb: Any) -> None:
    inside: Mapping[str, str] = {**agents_file.environ, "PANCODE_RUN": "r-1"}
    with pytest.raises(RefusedError, match="from inside r-1"):
        verb(AgentsFile(agents_file.home, agents_file.cwd, inside))
    assert not agents_file.file.exists()


def test_a_new_agent_is_a_copy_to_be_changed(agents_file: AgentsFile) -> None:
    agents_file.file.write_text(MINE)
    told = new_agent(agents_file, "migrator", "builder")
    assert (told["agent"], told["from"], told["line"]) == ("migrator", "builder", 6)
    text = agents_file.file.read_text()
    assert text.startswith(MINE) and "    system_prompt: |\n      You are a builder." in text
    mine, builder = agent(agents_file, "migrator"), agent(agents_file, "builder")
    same = ("prompt", "tools", "read_only", "tier", "speed", "role", "description")
    assert [getattr(mine, name) for name in same] == [getattr(builder, name) for name in same]


def test_new_agents_need_a_new_name_and_a_known_base(agents_file: AgentsFile) -> None:
    with pytest.raises(UsageError, check=lambda error: error.code == "agent_exists"):
        new_agent(agents_file, "reviewer", "builder")
    with pytest.raises(NotFoundError, match="agent 'bulider' not found"):
        new_agent(agents_file, "mine", "bulider")
    with pytest.raises(ConfigError, match="'Not A Name'"):
        new_agent(agents_file, "Not A Name", "builder")
    assert not agents_file.file.exists()


def test_every_shipped_agent_can_be_copied(agents_file: AgentsFile) -> None:
    for name in ("scout", "planner", "builder", "reviewer", "plan-reviewer", "documenter", "red-team"):
        new_agent(agents_file, f"my-{name}", name)
        assert agent(agents_file, f"my-{name}").prompt == agent(agents_file, name).prompt
    assert check_file(agents_file, None)["problems"] == []


def test_check_tells_everything_with_its_place(agents_file: AgentsFile, tmp_path: Path) -> None:
    assert check_file(agents_file, None)["file"] is None
    other = tmp_path / "other.yaml"
    other.write_text("agents:\n  a: {tools: [gerp]}\n  b: {tier: huge}\n  c: {token_budget: 4000}\n")
    told = check_file(agents_file, other)
    assert [one["message"].partition(": ")[0] for one in told["problems"]] == [f"{other}:2", f"{other}:3"]
    assert all(one["fix"] for one in told["problems"])
    assert [one["message"].partition(": ")[0] for one in told["remarks"]] == [f"{other}:4"]
    other.write_text("agents: [")
    assert "not valid YAML" in check_file(agents_file, other)["problems"][0]["message"]
    with pytest.raises(NotFoundError, match=r"none\.yaml") as caught:
        check_file(agents_file, tmp_path / "none.yaml")
    assert "other.yaml" in caught.value.why


def test_check_takes_a_folder_and_says_which_agents_are_switched_off(
    agents_file: AgentsFile, tmp_path: Path
) -> None:
    folder = tmp_path / "mine"
    with pytest.raises(NotFoundError, match=str(folder)):
        check_file(agents_file, folder / "panagents.yaml")
    folder.mkdir()
    with pytest.raises(NotFoundError, match=f"{folder}/panagents.yaml") as caught:
        check_file(agents_file, folder)
    assert "YAML" in caught.value.why and caught.value.fix == f"ls -l {folder}"
    (folder / "panagents.yaml").write_text("agents:\n  scout: {enabled: false}\n")
    told = check_file(agents_file, folder)
    assert (told["file"], told["disabled"]) == (f"{folder}/panagents.yaml", ["scout"])
    assert len(told["agents"]) == 8
