"""Holds the recipes of continuous integration to YAML, and their commands to the command line."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from tests.architecture.sources import ROOT
from tests.architecture.test_docs_run import _calls, _wrong

PAGE = (ROOT / "docs/howto/ci.md").read_text()
WORKFLOWS = [text for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.S) if "jobs:" in text]
SCRIPTS = re.findall(r"```sh\n(.*?)```", PAGE, re.S)


def test_there_is_one_for_each_forge_and_one_without() -> None:
    assert len(WORKFLOWS) == 2 and len(SCRIPTS) == 1


@pytest.mark.parametrize("text", WORKFLOWS)
def test_a_recipe_is_a_workflow_that_keeps_what_it_made(text: str) -> None:
    (job,) = yaml.safe_load(text)["jobs"].values()
    steps: list[dict[str, Any]] = job["steps"]
    assert all(("uses" in step) != ("run" in step) for step in steps)
    (kept,) = (step for step in steps if "upload-artifact@" in step.get("uses", ""))
    assert kept["if"] == "always()", "also of a run that failed"
    commands = [step["run"] for step in steps if "--artifacts" in step.get("run", "")]
    assert [f"--artifacts {kept['with']['path']}" in one for one in commands] == [True]
    _must_exist(commands)


def test_the_script_calls_what_there_is() -> None:
    _must_exist(SCRIPTS)


def _must_exist(commands: list[str]) -> None:
    for command in commands:
        calls = [words for line in command.splitlines() for words in _calls(line)]
        assert len(calls) == 1 and _wrong(calls[0]) is None, command
