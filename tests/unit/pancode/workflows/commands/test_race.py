"""Who races, under which name, and how it is won."""

from __future__ import annotations

from typing import Any

import pytest

from pancode.interfaces.cli import main as entry
from pancode.kernel.errors import ExitCode, UsageError
from pancode.workflows.commands.begin import _make_rule, parse_runners

NOTHING: dict[str, Any] = dict.fromkeys(
    ["agents", "models", "runtimes", "nodes", "best_of", "agent", "model", "runtime", "node"]
)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"agents": "builder, fixer"}, {"builder": {"agent": "builder"}, "fixer": {"agent": "fixer"}}),
        ({"best_of": 2}, {"1": {}, "2": {}}),
        (
            {"models": "ollama/qwen3:8b,ollama/qwen3.8b"},
            {
                "ollama-qwen3-8b-1": {"model": "ollama/qwen3:8b"},
                "ollama-qwen3-8b-2": {"model": "ollama/qwen3.8b"},
            },
        ),
    ],
)
def test_each_of_those_who_race_has_a_name(given: dict[str, Any], found: dict[str, Any]) -> None:
    assert parse_runners({**NOTHING, **given}) == found


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"agents": "a,b", "nodes": "x,y"},
        {"agents": "a,b", "best_of": 3},
        {"agents": "a"},
        {"agents": "a,a"},
        {"agents": "a,b", "agent": "c"},
    ],
)
def test_a_race_is_between_two_or_more_of_one_kind(given: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as wrong:
        parse_runners({**NOTHING, **given})
    assert wrong.value.fix


def test_a_score_needs_its_command() -> None:
    assert _make_rule(None, None) == {"by": "first"}
    assert _make_rule(None, "./bench.sh") == {"by": "score", "score": "./bench.sh"}
    assert _make_rule("smallest", None) == {"by": "smallest"}
    for by, score in (("score", None), ("first", "x")):
        with pytest.raises(UsageError):
            _make_rule(by, score)


def test_the_option_for_a_number_of_runs_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.run(["race", "--runs", "2", "x"]) == ExitCode.USAGE
    assert "--best-of?" in capsys.readouterr().err
    assert entry.run(["race", "--nothing"]) == ExitCode.USAGE
    assert "\n  look: pancode workflow race -h\n" in capsys.readouterr().err, "one label"
