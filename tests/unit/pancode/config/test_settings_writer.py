"""settings.json: a layer above the files, below variables and presets; what it takes and refuses."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path

import pytest

from pancode.config.agents.edit import with_value
from pancode.config.layers import CHOSEN
from pancode.config.load import ConfigPlaces, load, setting_keys
from pancode.config.schema import OWN_OF_PROJECT
from pancode.config.settings_json import document_of, value_of
from pancode.config.settings_writer import UNREADABLE, KeptSettings
from pancode.kernel.errors import ConfigError, NotFoundError, PancodeError, RefusedError, UsageError


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path


def kept(home: Path, environ: Mapping[str, str] | None = None) -> KeptSettings:
    return KeptSettings(home, environ or {}, home / "none")


def said(home: Path, key: str, environ: Mapping[str, str] | None = None, preset: str | None = None) -> str:
    """The value and the name of its origin."""
    found = load(ConfigPlaces(home, None, home / "none"), environ or {}, preset=preset)
    value = {path: value for path, value, _ in found.rows()}[key]
    return f"{value} {found.origin(key).removeprefix(f'{home}/')}"


def test_it_counts_more_than_the_files_and_less_than_variables_presets_and_flags(home: Path) -> None:
    (home / "pancode.yaml").write_text("dispatch:\n  safety: suggest\n")
    (home / "panpresets.yaml").write_text("strict: {safety: suggest}\n")
    assert said(home, "dispatch.safety") == "suggest pancode.yaml:2"
    done = kept(home).change("dispatch.safety", "full-auto")
    assert (done.was.value, done.now.value, done.wins) == ("suggest", "full-auto", "")
    assert said(home, "dispatch.safety") == f"full-auto {CHOSEN}:3"
    environ = {"PANCODE_SAFETY": "auto-edit"}
    assert said(home, "dispatch.safety", environ) == "auto-edit PANCODE_SAFETY"
    assert said(home, "dispatch.safety", environ, "strict") == "suggest preset strict"
    assert kept(home, environ).look("dispatch.safety", "suggest").wins == "PANCODE_SAFETY"
    assert (home / "pancode.yaml").read_text() == "dispatch:\n  safety: suggest\n", "a user's file stays"


def test_it_counts_more_than_a_repository(home: Path, tmp_path: Path) -> None:
    project = tmp_path / "shop"
    project.mkdir()
    (project / "pancode.yaml").write_text("limits: {wall: 5m, idle: 1m}\n")
    kept(home).change("limits.wall", "90m")
    found = load(ConfigPlaces(home, project, home / "none"), {})
    assert (found.settings.limits.wall, found.settings.limits.idle) == (90 * 60_000, 60_000)


def test_the_file_is_ours_alone_and_whole(home: Path) -> None:
    kept(home).change("limits.wall", "90m")
    kept(home).change("limits.tokens", "5000")
    kept(home).change("notify.quiet", "22:00-07:00 Europe/Berlin")
    file = home / CHOSEN
    assert json.loads(file.read_text()) == {
        "limits": {"wall": "90m", "tokens": 5000},
        "notify": {"quiet": "22:00-07:00 Europe/Berlin"},
    }
    assert stat.S_IMODE(os.stat(file).st_mode) == 0o600
    assert kept(home).change("limits.tokens", None).before == "5000"
    assert kept(home).change("limits.wall", None).now.origin == "built-in"
    assert list(json.loads(file.read_text())) == ["notify"], "an empty group goes, too"


def test_each_setting_can_be_set_to_what_it_is(home: Path) -> None:
    """So the text that is shown is a text that is taken."""
    rows = load(ConfigPlaces(home, None, home / "none"), {}).rows()
    assert [row[0] for row in rows] == setting_keys()
    data: dict[str, object] = {}
    for key, value, _ in rows:
        if key not in OWN_OF_PROJECT:
            data = with_value(data, key.split("."), value_of(key, value))
    (home / CHOSEN).write_text(document_of(data, home)[1])
    again = load(ConfigPlaces(home, None, home / "none"), {})
    assert [row[:2] for row in again.rows()] == [row[:2] for row in rows]
    assert again.origin("limits.wall").startswith(f"{home / CHOSEN}:")


@pytest.mark.parametrize("key", ["budget.ceiling", *OWN_OF_PROJECT])
def test_what_is_set_elsewhere_names_where(home: Path, key: str) -> None:
    with pytest.raises(PancodeError) as caught:
        kept(home).change(key, "1")
    assert caught.value.fix and not (home / CHOSEN).exists()


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        *((key, "x", "models.worker?") for key in ("dispatch.model", "worker.model", "model")),
        ("dispatch.safty", "suggest", "dispatch.safety?"),
        ("dispatch", "{safety: suggest}", "dispatch.agent"),
        ("models.tiers.gpt-5", "mid", "models.tiers"),
        ("notify.rules.0.to", "[phone]", "notify.rules"),
        ("", "x", ""),
        ("x" * 100_000, "x", ""),
        ("dispatch.safety", "full-autoo", "full-auto?"),
        ("limits.wall", "90", "a duration needs a unit"),
        ("dispatch.safety", "suggest\nmode: admin", "one line"),
        ("dispatch.safety", "", "one line"),
        ("dispatch.safety", "x" * 1_000_000, "the maximum is"),
        ("dispatch.safety", "[suggest", "expected"),
        ("dispatch.safety", "!!python/object:os.system x", ""),
        ("timing.lost", "1s", "is not more than"),
        ("redis.url", "redis://:hunter2@h:1", "must not contain secrets"),
        ("notify.channels", "{phone: {url: 'ntfy://x'}}", "must be a reference"),
    ],
)
def test_what_does_not_fit_changes_nothing(home: Path, key: str, value: str, told: str) -> None:
    kept(home).change("limits.tokens", "7")
    before = (home / CHOSEN).read_bytes()
    with pytest.raises((UsageError, NotFoundError)) as caught:
        kept(home).change(key, value)
    assert told in caught.value.why and caught.value.fix
    assert len(str(caught.value)) < 1_000 and "hunter2" not in f"{caught.value}{caught.value.fix}"
    assert (home / CHOSEN).read_bytes() == before


def test_a_quoted_text_may_hold_what_looks_like_syntax(home: Path) -> None:
    kept(home).change("dispatch.agent", '"a: \'b\' # \\" {c"')
    assert said(home, "dispatch.agent").startswith("'a: ''b'' # \" {c'")


def test_what_a_repository_says_of_itself_is_not_set_for_all_of_them(home: Path) -> None:
    with pytest.raises(RefusedError, check=lambda error: error.code == "not_yours"):
        kept(home).change("verify", "[]")
    (home / CHOSEN).write_text('{"verify": []}')
    with pytest.raises(ConfigError, match=f"{CHOSEN}:1: .* verify") as caught:
        said(home, "dispatch.safety")
    assert caught.value.fix == "pancode config unset verify"
    kept(home).change("verify", None)
    assert said(home, "verify") == "[] built-in"


def test_a_damaged_file_is_an_error_with_its_place_and_never_passed_over(home: Path) -> None:
    (home / CHOSEN).write_text('{"dispatch": {\n  "safety": "suggest"\n')
    for act in (lambda: said(home, "dispatch.safety"), lambda: kept(home).change("dispatch.safety", None)):
        with pytest.raises(ConfigError, match=rf"{CHOSEN}:\d: not valid") as caught:
            act()
        assert f"mv {home / CHOSEN}" in caught.value.fix


def test_a_value_that_does_not_fit_any_more_is_named_and_can_be_taken_out(home: Path) -> None:
    (home / CHOSEN).write_text('{"dispatch": {"safety": "yolo", "colour": "red"}, "limits": {"wall": "2h"}}')
    with pytest.raises(ConfigError) as caught:
        said(home, "dispatch.safety")
    assert caught.value.fix == "pancode config unset dispatch.safety"
    with pytest.raises(ConfigError, match=r"dispatch\.(colour|safety)"):
        kept(home).change("limits.idle", "1m")
    first = kept(home).change("dispatch.safety", None)
    assert (first.now.value, first.now.origin.partition(": ")[2]) == (
        UNREADABLE,
        "unknown key dispatch.colour",
    )
    kept(home).change("dispatch.colour", None)
    assert said(home, "limits.wall") == f"2h {CHOSEN}:3"
    with pytest.raises(NotFoundError) as missing:
        kept(home).change("dispatch.safety", None)
    assert missing.value.why == "it sets limits.wall"


def test_what_counts_at_the_next_start_is_told(home: Path) -> None:
    assert kept(home).look("api.listen", "127.0.0.1:7843").at_start
    assert not kept(home).look("limits.wall", "2h").at_start
    assert not (home / CHOSEN).exists(), "a look writes nothing"
