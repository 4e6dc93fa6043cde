"""Layers of settings: who wins, where each value comes from, and what is said of one that is wrong."""

from __future__ import annotations

import os
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

import pytest

from node_agent.wire.job import Reasoning
from node_agent.wire.policy import Mode, Safety
from pancode.config.load import ConfigPlaces, load
from pancode.config.schema import Settings
from pancode.config.units import amount_usd
from pancode.kernel.documents import MOST_BYTES, read_document
from pancode.kernel.errors import ConfigError, ExitCode
from pancode.runs.request import Defaults, Project
from tests.unit.pancode.conftest import Load


def test_without_any_file_everything_is_built_in(loaded: Load) -> None:
    found = loaded()
    assert found.settings == Settings()
    assert {origin for _, _, origin in found.rows()} == {"built-in"}
    assert found.settings.defaults() == Defaults()
    assert found.settings.project() == Project()


def test_the_later_layer_wins_and_every_value_keeps_its_origin(loaded: Load, places: ConfigPlaces) -> None:
    found = loaded(
        machine="budget: {ceiling: 1, estimate: 0.5}\nnodes: {slots: 1}\nmodels: {worker: a}",
        user="budget:\n  ceiling: 2\nnodes:\n  slots: 2\nlimits:\n  wall: 2m\nmodels: {worker: b}",
        project="limits:\n  wall: 3m\nmodels: {worker: c}",
        environ={"PANCODE_NODE_CONCURRENCY": "4", "PANCODE_WORKER_MODEL": "d", "PANCODE_SAFETY": "suggest"},
        flags={"models.worker": "e"},
    )
    chosen = found.settings
    assert (chosen.budget.estimate, chosen.budget.ceiling) == (Decimal("0.5"), Decimal(2))
    assert (chosen.limits.wall, chosen.nodes.slots, chosen.models.worker) == (180_000, 4, "e")
    assert chosen.dispatch.safety is Safety.SUGGEST
    assert found.origin("budget.estimate") == f"{places.machine}:1"
    assert found.origin("budget.ceiling") == f"{places.home}/pancode.yaml:2"
    assert found.origin("limits.wall") == f"{places.project}/pancode.yaml:2"
    assert found.origin("nodes.slots") == "PANCODE_NODE_CONCURRENCY"
    assert found.origin("models.worker") == "PANCODE_WORKER_MODEL", "a variable of this one command"
    assert found.origin("limits.idle") == "built-in"


@pytest.mark.parametrize(
    ("name", "text", "path", "value"),
    [
        ("PANCODE_BUDGET_CEILING", "25.00", "budget.ceiling", Decimal(25)),
        ("PANCODE_PER_RUN_BUDGET", "2.00", "budget.per_run", Decimal(2)),
        ("PANCODE_SAFETY", "full-auto", "dispatch.safety", Safety.FULL_AUTO),
        ("PANCODE_DEFAULT_AGENT", "scout", "dispatch.agent", "scout"),
        ("PANCODE_DISPATCH_MAX_DEPTH", "3", "dispatch.max_depth", 3),
        ("PANCODE_NODE_CONCURRENCY", "8", "nodes.slots", 8),
        ("PANCODE_MODEL", "opus", "models.orchestrator", "opus"),
        ("PANCODE_WORKER_MODEL", "ollama/qwen3:8b", "models.worker", "ollama/qwen3:8b"),
        ("PANCODE_SCOUT_MODEL", "haiku", "models.scout", "haiku"),
        ("PANCODE_REASONING", "off", "dispatch.reasoning", Reasoning.OFF),
        ("PANCODE_REDIS_URL", "redis://:secret@h:6379/0", "redis.url", "redis://:secret@h:6379/0"),
        ("PANCODE_DATABASE_URL", "postgresql://u:p@h/d", "ledger.url", "postgresql://u:p@h/d"),
        ("PANCODE_TIME_FACTOR", "0.05", "timing.factor", 0.05),
    ],
)
def test_every_variable_sets_its_key(loaded: Load, name: str, text: str, path: str, value: object) -> None:
    found = loaded(environ={name: text})
    group, key = path.split(".")
    assert getattr(getattr(found.settings, group), key) == value
    assert found.origin(path) == name


def test_the_project_speaks_for_itself(loaded: Load) -> None:
    found = loaded(
        project="""
setup: [npm ci, [sh, -euc, "make | tee log"]]
cache: [node_modules, web/.venv]
verify:
  - pytest -q -k 'not slow'
env: [LANG]
secrets: [API_KEY]
dispatch: {agent: scout, on_lost: retry, max_attempts: 2}
""",
        user="allow: {env: [LANG], secrets: [API_KEY]}",
    )
    assert found.settings.project() == Project(
        setup=(("npm", "ci"), ("sh", "-euc", "make | tee log")),
        cache=("node_modules", "web/.venv"),
        verify=(("pytest", "-q", "-k", "not slow"),),
        env=("LANG",),
        secrets=("API_KEY",),
    )
    keyed = loaded(project="cache: {folders: [lib], key: ['**/*.lock']}").settings.project()
    assert (keyed.cache, keyed.cache_key) == (("lib",), ("**/*.lock",))
    reading = (
        "verify: [make lint, {run: [eval, x y], reads: [out/model.pt, logs]}, {run: show, reads: [logs]}]"
    )
    judged = loaded(project=reading).settings.project()
    assert judged.verify == (("make", "lint"), ("eval", "x y"), ("show",))
    assert judged.reads == ("out/model.pt", "logs")
    defaults = found.settings.defaults()
    assert (defaults.agent, defaults.on_lost, defaults.max_attempts) == ("scout", "retry", 2)


@pytest.mark.parametrize(
    "text",
    [
        "budget: {ceiling: 1000}",
        "dispatch: {safety: full-auto}",
        "dispatch: {mode: admin}",
        "dispatch: {runtime: shell}",
        "redis: {url: 'redis://evil:1'}",
        "ledger: {url: 'postgresql://evil/d'}",
        "nodes: {slots: 99}",
        "timing: {lost: 1s}",
        "nonsense: 1",
        "budget: {}",
        "limits: 7\nmodels: {orchestrator: x}",
    ],
)
def test_a_repository_may_not_set_what_is_the_owners(loaded: Load, places: ConfigPlaces, text: str) -> None:
    with pytest.raises(ConfigError, match="a repository may not set") as caught:
        loaded(project=text)
    assert f"{places.project}/pancode.yaml:" in str(caught.value)
    assert caught.value.exit_code is ExitCode.CONFIG


@pytest.mark.parametrize(
    ("text", "near"),
    [("verfy: [x]", "verify"), ("dispatch: {agnt: x}", "dispatch.agent"), ("budget: {ceiling: 1}", None)],
)
def test_a_key_that_a_repository_misspelt_has_the_nearest(loaded: Load, text: str, near: str | None) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(project=text)
    assert (f"{near}?" if near else "PANCODE_HOME") in caught.value.fix


@pytest.mark.parametrize(
    ("text", "words", "fix"),
    [
        ("budget:\n  cieling: 5", "pancode.yaml:2: budget.cieling", "ceiling?"),
        ("bugdet:\n  ceiling: 5", "pancode.yaml:1: bugdet", "budget?"),
        ("  ceiling: 5", "unknown key ceiling", "`budget:`"),
        ("zzz: 1", "unknown key zzz", "valid keys: allow, api, backup, budget, cache, copy"),
        ("nodes:\n  slots: many", "pancode.yaml:2: nodes.slots: 'many'", "correct nodes.slots"),
        ("nodes:\n  slots: '4'", "nodes.slots: '4'", "correct"),
        ("nodes:\n  slots: true", "nodes.slots: True", "correct"),
        ("nodes: {slots: 0}", "nodes.slots: 0", "correct"),
        (
            "nodes: 4",
            "pancode.yaml:1: nodes: 4",
            "evidence_receipts",
        ),
        ("budget: {ceiling: lots}", "budget.ceiling: 'lots'", "correct"),
        ("budget: {ceiling: -1}", "budget.ceiling: -1", "correct"),
        ("budget: {ceiling: .nan}", "budget.ceiling: nan", "correct"),
        ("budget: {ceiling: yes}", "budget.ceiling: True", "correct"),
        ("limits: {wall: 600}", "limits.wall: 600", "correct"),
        ("limits: {wall: 1:30}", "limits.wall: 90", "correct"),
        ("limits: {wall: 0s}", "limits.wall: '0s'", "correct"),
        ("limits: {output: huge}", "limits.output: 'huge'", "correct"),
        (
            "dispatch:\n\n  mode: bild",
            "pancode.yaml:3: dispatch.mode: 'bild'",
            "write mode: build",
        ),
        ("dispatch: {on_lost: maybe}", "dispatch.on_lost: 'maybe'", "correct"),
        ("dispatch:\n  runtime: claud", "pancode.yaml:2: dispatch.runtime: 'claud'", "correct"),
        (
            "verify:\n  - make\n  - a && b",
            "pancode.yaml:3: verify.1: 'a && b'",
            "write it as a script",
        ),
        ("verify: make", "verify: 'make'", "write verify: ['make']"),
        ("verify: [[]]", "verify.0:", "correct"),
        ("setup:\n  - [npm, 1]", "pancode.yaml:2: setup.0.1: 1", "correct"),
        ("cache:\n  - lib\n  - ../lib", "pancode.yaml:3: cache.1: '../lib'", "correct cache.1"),
        ("cache:\n  folders: [lib]\n  key: 3", "pancode.yaml:3: cache.key: 3", 'write key: ["3"]'),
        ("cache: [a, a/b]", "pancode.yaml:1: cache:", "correct cache"),
        ("env: ['A B']", "env.0: 'A B'", "correct"),
        ("redis: {url: 'http://x'}", "redis.url: 'http://x'", "correct"),
        (
            "timing:\n  lost: 1m",
            "pancode.yaml:2: timing.lost must be longer than timing.unreachable",
            "correct",
        ),
        ("timing: {factor: 0}", "timing.factor: 0", "correct"),
    ],
)
def test_what_is_wrong_is_told_by_place_and_path(loaded: Load, text: str, words: str, fix: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(user=text)
    assert all(word in str(caught.value) for word in words.split(": ", 1))
    assert fix in caught.value.fix
    assert caught.value.exit_code is ExitCode.CONFIG


@pytest.mark.parametrize("value", ["true", "7", "1.5", "2026-01-31", "test -f a.txt", "{unit: make}"])
@pytest.mark.parametrize("form", ["verify: {}", "verify: [{}]", "setup: {}", "reports: {}"])
def test_the_fix_of_a_list_is_a_valid_value(loaded: Load, form: str, value: str) -> None:
    text, tries = form.format(value), 0
    while True:
        try:
            found = loaded(project=text).settings
        except ConfigError as error:
            tries, (before, _, word) = tries + 1, error.fix.partition("write ")
            text = f"verify: [{word}]" if before else word
            assert tries == 1, error
        else:
            assert found.verify or found.setup or found.reports
            return


def test_the_reason_is_in_words_and_the_other_problems_are_counted(loaded: Load) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(user="limits: {wall: 600}\nnodes: {slots: 0}")
    assert "600s" in caught.value.why
    with pytest.raises(ConfigError) as caught:
        loaded(user="nodes: {slots: 0}\nlimits: {wall: 600}")
    assert "pancode.yaml:1: nodes.slots" in str(caught.value), "the first in the file"
    with pytest.raises(ConfigError) as caught:
        loaded(user="verify: ['a | b']")
    assert "'|' is an operator" in caught.value.why
    assert "sh -euc 'a | b'" in caught.value.fix


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [1", "pancode.yaml:1: not valid YAML"),
        ("a: 1\n\tb: 2", "pancode.yaml:2: not valid YAML"),
        ("budget: 1\nbudget: 2", "pancode.yaml:2: budget appears twice"),
        ("budget:\n  ceiling: 1\n  ceiling: 2", "pancode.yaml:3: budget.ceiling appears twice"),
        ("- a\n- b", "pancode.yaml:1: the file must contain keys and values"),
        ("just text", "the file must contain keys and values"),
        ("nodes:\n  slots: !!python/object/apply:os.getpid []", "pancode.yaml:2: nodes.slots:"),
        ("nodes:\n  slots: !!python/name:os.system x", "pancode.yaml:2: not valid YAML"),
        ("? [a, b]\n: 1", "a key must be a string"),
        ("a: *nowhere", "not valid YAML"),
        ("a: 1\n---\nb: 2", "not valid YAML"),
        ("a: &a [*a]", "nested too deeply"),
        ("[" * 5000, "pancode.yaml"),
        ("a: \x00", "not valid YAML"),
    ],
)
def test_a_file_that_cannot_be_parsed_is_told_by_line(loaded: Load, text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(user=text)
    assert all(word in str(caught.value) for word in words.split(": ", 1))
    assert caught.value.exit_code is ExitCode.CONFIG


def test_a_file_with_more_values_than_anybody_writes_is_refused(loaded: Load) -> None:
    bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
    for old, new in zip("abcdef", "bcdefg", strict=True):
        bomb += f"{new}: &{new} [{','.join(['*' + old] * 10)}]\n"
    with pytest.raises(ConfigError, match="more than 20000 values"):
        loaded(user=bomb)
    with pytest.raises(ConfigError, match="too large"):
        loaded(user="#" * 1_000_001)


def test_a_file_that_is_no_text_or_no_file(loaded: Load, places: ConfigPlaces) -> None:
    (places.home / "pancode.yaml").write_bytes(b"budget:\n  ceiling: \xff\n")
    with pytest.raises(ConfigError, match=r"pancode\.yaml:2: not UTF-8"):
        loaded()
    (places.home / "pancode.yaml").unlink()
    (places.home / "pancode.yaml").mkdir()
    with pytest.raises(ConfigError, match="cannot read"):
        load(places, {})


@pytest.mark.parametrize("text", ["", "\n# nothing\n", "---\n", "budget:\n"])
def test_an_empty_file_says_nothing(loaded: Load, text: str) -> None:
    if text == "budget:\n":
        with pytest.raises(ConfigError, match="budget: None"):
            loaded(user=text)
    else:
        assert loaded(user=text).settings == Settings()


def test_null_takes_a_value_back(loaded: Load) -> None:
    found = loaded(
        machine="budget: {per_run: 3}\nmodels: {worker: x}",
        user="budget: {per_run: null}\nmodels: {worker: ~}",
    )
    assert (found.settings.budget.per_run, found.settings.models.worker) == (None, None)


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"PANCODE_NODE_CONCURRENCY": "four"}, "PANCODE_NODE_CONCURRENCY='four'"),
        ({"PANCODE_NODE_CONCURRENCY": "0"}, "PANCODE_NODE_CONCURRENCY: nodes.slots: 0"),
        ({"PANCODE_BUDGET_CEILING": "ten"}, "PANCODE_BUDGET_CEILING: budget.ceiling: 'ten'"),
        ({"PANCODE_SAFETY": "yolo"}, "PANCODE_SAFETY: dispatch.safety: 'yolo'"),
        ({"PANCODE_REDIS_URL": "localhost"}, "PANCODE_REDIS_URL: redis.url: 'localhost'"),
        ({"PANCODE_DATABASE_URL": "mysql://u:s@h"}, "ledger.url: 'mysql://u:***@h'"),
    ],
)
def test_a_variable_that_is_wrong_is_named(loaded: Load, environ: Mapping[str, str], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(environ=environ)
    assert all(word in str(caught.value) for word in words.split(": ", 1))


def test_an_empty_variable_is_none_and_a_misspelt_one_is_said(loaded: Load) -> None:
    environ = {
        "PANCODE_SAFETY": " ",
        "PANCODE_BUDGET_CIELING": "1",
        "PANCODE_HOME": "/x",
    }
    found = loaded(environ=environ)
    assert found.settings == Settings()
    assert found.warnings == (
        "unknown variable PANCODE_BUDGET_CIELING is set: did you mean PANCODE_BUDGET_CEILING?",
    )


def test_a_file_that_goes_with_no_address_is_said(loaded: Load, tmp_path: Path) -> None:
    files = {name: tmp_path / f"{name} file" for name in ("ca", "password")}
    for file in files.values():
        file.touch()
    settings = f"redis: {{ca_file: '{files['ca']}'}}"
    environ = {"PANCODE_DATABASE_PASSWORD_FILE": str(files["password"])}
    assert loaded(user=settings, environ=environ).warnings == (
        f"{tmp_path}/home/pancode.yaml:1: redis.ca_file is not used, because redis.url is not set",
        "PANCODE_DATABASE_PASSWORD_FILE: ledger.password_file is not used, because ledger.url is not set",
    )
    environ |= {"PANCODE_REDIS_URL": "rediss://h", "PANCODE_DATABASE_URL": "postgresql://h/d"}
    assert loaded(user=settings, environ=environ).warnings == ()


def test_a_password_is_never_in_a_file_and_never_shown(loaded: Load) -> None:
    with pytest.raises(ConfigError, match="contains a password"):
        loaded(user="redis: {url: 'redis://:hunter2@h:1'}")
    with pytest.raises(ConfigError, match=r"\$\{REDIS_PASSWORD\}"):
        loaded(user="redis: {url: 'redis://:${REDIS_PASSWORD}@h:1'}")
    found = loaded(
        user="redis: {url: 'redis://:${REDIS_PASSWORD}@h:1'}", environ={"REDIS_PASSWORD": "hunter2"}
    )
    assert found.settings.redis.url == "redis://:hunter2@h:1"
    assert {row[0]: row[1] for row in found.rows()}["redis.url"] == "redis://:***@h:1"
    assert {row[0]: row[1] for row in found.whole_rows()}["redis.url"] == "redis://:hunter2@h:1", "to compare"
    assert loaded(user="redis: {url: 'unix:///run/r.sock'}").settings.redis.url == "unix:///run/r.sock"


@pytest.mark.parametrize(
    "at", ["u:hunter2@h/d", "u:hun/t@er2@h/d", "h/d?password=hunter2", "h/d?sslpassword=x"]
)
def test_the_password_of_a_database_is_never_in_a_file_and_never_shown(loaded: Load, at: str) -> None:
    url = f"postgresql://{at}"
    with pytest.raises(ConfigError, match="ledger.url") as caught:
        loaded(user=f"ledger: {{url: '{url}'}}")
    assert "PANCODE_DATABASE_URL" in caught.value.fix and "hun" not in f"{caught.value} {caught.value.why}"
    rows = {row[0]: row for row in loaded(environ={"PANCODE_DATABASE_URL": url}).rows()}
    path, value, origin = rows["ledger.url"]
    assert "***" in value and "hun" not in value and "=x" not in value and origin == "PANCODE_DATABASE_URL"


def test_modes_come_as_words(loaded: Load) -> None:
    assert loaded(user="dispatch: {mode: review}").settings.dispatch.mode is Mode.REVIEW


@pytest.mark.parametrize("text", ["1E+999999", "1000000001", "-1", "NaN", "sNaN", "many"])
def test_what_is_no_amount_of_money(text: str) -> None:
    with pytest.raises(ValueError, match="USD"):
        amount_usd(text)


def test_money_is_kept_to_a_billionth() -> None:
    assert str(amount_usd("0.75")) == "0.75"
    assert amount_usd(0.1 + 0.2) == Decimal("0.3")
    assert amount_usd("1E-999999") == 0


def test_a_file_of_a_repository_that_is_a_device_a_pipe_or_too_large(tmp_path: Path) -> None:
    path = tmp_path / "pancode.yaml"
    path.symlink_to("/dev/zero")
    with pytest.raises(ConfigError, match="cannot read"):
        read_document(path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(ConfigError, match="cannot read"):
        read_document(path)
    path.unlink()
    path.write_bytes(b"#" * (MOST_BYTES + 1))
    with pytest.raises(ConfigError, match="too large"):
        read_document(path)
    path.unlink()
    assert read_document(path) is None


def test_a_runtime_that_nobody_knows_is_told_with_the_nearest_name(loaded: Load) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(user="dispatch: {runtime: claud-code}")
    assert "claude-code?" in caught.value.why
    assert (
        loaded(user="dispatch: {runtime: 'cli:claude-code'}").settings.dispatch.runtime == "cli:claude-code"
    )


@pytest.mark.parametrize("whose", ["home", "project"])
def test_a_link_that_leads_nowhere_is_not_an_absent_file(whose: str, places: ConfigPlaces) -> None:
    folder = places.home if whose == "home" else places.project
    assert folder is not None
    (folder / "pancode.yaml").symlink_to("elsewhere/mine.yaml")
    with pytest.raises(ConfigError) as caught:
        load(places, {})
    assert f"{folder}/pancode.yaml" in str(caught.value)
    assert "elsewhere/mine.yaml" in caught.value.why
    (folder / "elsewhere").mkdir()
    (folder / "elsewhere/mine.yaml").write_text("limits: {wall: 5m}")
    assert load(places, {}).settings.limits.wall == 300_000


def test_a_variable_that_does_not_fit_is_named_in_the_fix(loaded: Load) -> None:
    with pytest.raises(ConfigError) as wrong:
        loaded(environ={"PANCODE_SAFETY": "yolo"})
    assert "unset PANCODE_SAFETY" in wrong.value.fix


def test_a_repository_may_ask_for_ports(loaded: Load) -> None:
    assert loaded().settings.project().ports == 0
    assert loaded(project="ports: 3").settings.project().ports == 3
    with pytest.raises(ConfigError, match="ports: 17"):
        loaded(project="ports: 17")


def test_a_setting_of_an_earlier_version_is_left_out_and_named(loaded: Load, places: ConfigPlaces) -> None:
    found = loaded(
        machine="direct: {listen: null, advertise: null}",
        user="metrics:\n  listen: 127.0.0.1:9464\ndirect:\n  listen: 10.0.0.5:7843",
        environ={"PANCODE_DIRECT_ADVERTISE": "fleet.example:443"},
    )
    assert found.settings.metrics.listen == "127.0.0.1:9464"
    assert [one.words.partition(":")[0] for one in found.removed] == [
        f"{places.home}/pancode.yaml",
        "PANCODE_DIRECT_ADVERTISE",
    ]
    assert "pancode fleet up" in found.removed[0].fix
    assert found.warnings == tuple(one.words for one in found.removed)
    assert "direct" not in {path.partition(".")[0] for path, _, _ in found.rows()}


def test_a_file_with_all_settings_of_an_earlier_version_is_read_without_a_word(loaded: Load) -> None:
    assert loaded(user="direct: {listen: null, advertise: null}").warnings == ()
    assert loaded(user="direct: {}").settings == Settings()
