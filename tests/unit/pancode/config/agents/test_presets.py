"""Presets: the shipped ones, the user's over them, which one counts, and what it outranks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from node_agent.wire.job import Reasoning
from node_agent.wire.policy import Safety
from pancode.agents.models import model_ref, resolve_provider
from pancode.agents.presets import Preset
from pancode.config.agents.presets import APPLIED, FILE, load_presets
from pancode.config.load import ConfigPlaces, Loaded, load
from pancode.config.user_environment import FileSurroundings
from pancode.kernel.errors import ConfigError, NotFoundError

SEED = """\
local:
  description: "Local inference via homelab engines"
  model: "qwen2.5-coder:32b"
  workerModel: "qwen2.5-coder:7b"
  scoutModel: "qwen2.5-coder:3b"
  reasoning: medium
  safety: auto-edit
"""


def chosen(
    home: Path, environ: dict[str, str] | None = None, preset: str | None = None, project: Path | None = None
) -> Loaded:
    return load(ConfigPlaces(home, project, home / "none"), environ or {}, preset=preset)


def apply(home: Path, name: str) -> None:
    (home / APPLIED).write_text(json.dumps({"preset": name}))


def test_the_shipped_ones(tmp_path: Path) -> None:
    loaded = load_presets(tmp_path)
    assert list(loaded) == ["local", "openai", "openai-max", "hybrid"]
    assert loaded["openai-max"].safety is Safety.FULL_AUTO
    assert loaded["openai-max"].reasoning is Reasoning.HIGH
    assert loaded["local"].origin.startswith("built-in panpresets.yaml:")
    for preset in loaded.values():
        refs = [model_ref(m) for m in (preset.model, preset.worker_model, preset.scout_model) if m]
        assert len(refs) == 3 and all(resolve_provider(ref).provider for ref in refs) and preset.description


def test_the_example_of_the_documents_is_read_as_it_stands(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(SEED)
    loaded = load_presets(tmp_path)
    assert loaded["local"] == Preset(
        "local",
        "Local inference via homelab engines",
        "qwen2.5-coder:32b",
        "qwen2.5-coder:7b",
        "qwen2.5-coder:3b",
        Reasoning.MEDIUM,
        Safety.AUTO_EDIT,
    )
    assert loaded["local"].origin == f"{tmp_path / FILE}:1"
    assert (tmp_path / FILE).read_text() == SEED
    assert "hybrid" in loaded


def test_the_users_are_laid_over_key_by_key(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("openai:\n  scoutModel: openai/gpt-5-nano\nmine: {reasoning: off}\n")
    presets = load_presets(tmp_path)
    assert (presets["openai"].scout_model, presets["openai"].worker_model) == (
        "openai/gpt-5-nano",
        "openai/gpt-5.5",
    )
    assert presets["mine"].settings() == {"dispatch.reasoning": "off"}


@pytest.mark.parametrize(
    ("text", "said", "fix"),
    [
        ("mine:\n  workerModle: x\n", "unknown key workerModle", "workerModel?"),
        ("mine:\n  safety: full\n", "safety: 'full'", "write safety: full-auto"),
        ("mine:\n  reasoning: hihg\n", "reasoning: 'hihg'", "correct reasoning"),
        ("mine:\n  model: ollama/\n", "model: 'ollama/'", "correct model"),
    ],
)
def test_what_does_not_fit_is_told_with_file_and_line(tmp_path: Path, text: str, said: str, fix: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(ConfigError, match=f"{FILE}:2: ") as wrong:
        load_presets(tmp_path)
    assert said in str(wrong.value)
    assert fix in wrong.value.fix


@pytest.mark.parametrize("text", ["My Preset: {}", "none: {}", "mine: 5", "mine: [a]", "mine:"])
def test_what_is_no_preset(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(ConfigError, match=f"{FILE}:1: "):
        load_presets(tmp_path)


def test_a_preset_counts_more_than_variables_and_files_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "pancode.yaml").write_text("models: {worker: a, scout: b}\n")
    environ = {"PANCODE_WORKER_MODEL": "c", "PANCODE_REASONING": "medium"}
    (tmp_path / FILE).write_text("mine: {workerModel: d, reasoning: medium}\n")
    found = chosen(tmp_path, environ, "mine")
    models = found.settings.models
    assert (models.worker, models.scout) == ("d", "b")
    assert found.origin("models.worker") == "preset mine"
    origins = found.defaults().origins
    assert origins["models.worker"] == f"preset mine, {tmp_path / FILE}:1"
    assert origins["models.scout"] == found.origin("models.scout")
    assert found.origin("models.scout").endswith("pancode.yaml:1")
    assert found.warnings == ("PANCODE_WORKER_MODEL is ignored, because preset mine sets d",)
    assert chosen(tmp_path, environ).settings.models.worker == "c"


def test_a_preset_counts_more_than_the_variables_of_one_command(tmp_path: Path) -> None:
    around = FileSurroundings(
        tmp_path, {}, {"models.worker": "c", "models.scout": "e"}, tmp_path / "none", "local"
    )
    assert around.defaults(None).model == "ollama/qwen2.5-coder:7b"
    more = "is ignored, because preset local sets ollama/qwen2.5-coder"
    assert around.defaults(None).outranked == {
        "models.worker": f"PANCODE_WORKER_MODEL {more}:7b",
        "models.scout": f"PANCODE_SCOUT_MODEL {more}:3b",
    }
    own = FileSurroundings(tmp_path, {}, {"models.worker": "c"}, tmp_path / "none")
    assert own.defaults(None).model == "c" and not own.defaults(None).outranked


def test_what_does_not_fit_of_one_command_names_its_variable(tmp_path: Path) -> None:
    around = FileSurroundings(tmp_path, {}, {"dispatch.reasoning": "hgih"}, tmp_path / "none")
    with pytest.raises(ConfigError, match="^PANCODE_REASONING: dispatch.reasoning: 'hgih'"):
        around.defaults(None)


def test_which_preset_this_call_then_the_applied_then_the_environment(tmp_path: Path) -> None:
    environ = {"PANCODE_PRESET": "local"}
    assert chosen(tmp_path).preset is None
    names = [chosen(tmp_path, environ)]
    apply(tmp_path, "openai")
    names += [chosen(tmp_path, environ), chosen(tmp_path, environ, "hybrid")]
    assert [found.preset.name for found in names if found.preset] == ["local", "openai", "hybrid"]
    assert chosen(tmp_path, environ, "none").preset is None


def test_applying_counts_from_the_next_call_on(tmp_path: Path) -> None:
    around = FileSurroundings(tmp_path, {}, machine=tmp_path / "none")
    assert (around.defaults(None).model, around.applied()) == (None, None)
    assert around.agents(None)["scout"].model is None
    apply(tmp_path, "openai")
    assert (around.defaults(None).model, around.applied()) == ("openai/gpt-5.5", "openai")
    assert around.agents(None)["scout"].model == "openai/gpt-5.4-mini"
    (tmp_path / FILE).write_text("openai: {workerModel: openai/o3}")
    assert around.defaults(None).model == "openai/o3"


def test_an_unknown_preset_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, check=lambda error: error.code == "preset_not_found") as wrong:
        chosen(tmp_path, preset="hybird")
    assert "hybrid?" in wrong.value.why
    with pytest.raises(ConfigError, match=r"'locl' not found \(PANCODE_PRESET\)") as stale:
        chosen(tmp_path, {"PANCODE_PRESET": "locl"})
    assert stale.value.fix == "unset PANCODE_PRESET"
    apply(tmp_path, "gone")
    with pytest.raises(ConfigError, match="'gone'") as stale:
        chosen(tmp_path)
    assert stale.value.fix == "pancode config use none"
    (tmp_path / APPLIED).write_text("{")
    with pytest.raises(ConfigError, match="cannot read") as broken:
        chosen(tmp_path)
    assert broken.value.fix == "pancode config use none"


@pytest.mark.parametrize(
    ("file", "preset", "words"),
    [
        ("auto-edit", "openai-max", "preset openai-max raises safety from auto-edit to full-auto"),
        ("suggest", "local", "preset local raises safety from suggest to auto-edit"),
        ("full-auto", "openai-max", ""),
        ("full-auto", "local", ""),
        ("suggest", None, ""),
    ],
)
def test_what_a_preset_raises_is_said(tmp_path: Path, file: str, preset: str | None, words: str) -> None:
    (tmp_path / "pancode.yaml").write_text(f"dispatch: {{safety: {file}}}\n")
    assert chosen(tmp_path, preset=preset).defaults().raised == words


def test_a_repository_names_no_preset(tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    shop.mkdir()
    (shop / FILE).write_text("local: {workerModel: evil}")
    found = chosen(tmp_path, preset="local", project=shop)
    assert found.settings.models.worker == "ollama/qwen2.5-coder:7b"
    (shop / "pancode.yaml").write_text("preset: openai-max\n")
    with pytest.raises(ConfigError, match="a repository may not set preset"):
        chosen(tmp_path, project=shop)
