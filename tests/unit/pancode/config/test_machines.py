"""Addresses of model servers, in the seeds' two forms; another is an error that shows the right one."""

from __future__ import annotations

import pytest

from pancode.kernel.errors import ConfigError
from tests.unit.pancode.conftest import Load

MACHINES = ("192.168.1.5:1234", "gpu=192.168.1.6")


def test_in_a_file_and_in_the_variable(loaded: Load) -> None:
    found = loaded(user=f"models: {{machines: [{', '.join(map(repr, MACHINES))}]}}")
    assert found.settings.models.machines == MACHINES
    by_variable = loaded(environ={"PANCODE_LOCAL_MACHINES": " 192.168.1.5:1234, gpu=192.168.1.6 ,"})
    assert by_variable.settings.models.machines == MACHINES
    assert by_variable.warnings == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("192.168.1.5", "has no port: write HOST:PORT, or NAME=HOST for the usual ports"),
        ("gpu=", "write HOST:PORT, NAME=HOST or NAME=HOST:PORT"),
        ("http://192.168.1.5:1234", "write HOST:PORT, NAME=HOST or NAME=HOST:PORT"),
        ("192.168.1.5:99999", "write HOST:PORT, NAME=HOST or NAME=HOST:PORT"),
    ],
)
def test_another_form(loaded: Load, text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(environ={"PANCODE_LOCAL_MACHINES": text})
    assert "PANCODE_LOCAL_MACHINES" in str(caught.value)
    assert words in f"{caught.value} {caught.value.why}"


def test_a_repository_names_none(loaded: Load) -> None:
    with pytest.raises(ConfigError, match=r"models.machines"):
        loaded(project="models: {machines: ['192.168.1.5:1234']}")
