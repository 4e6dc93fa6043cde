"""A coordinator that runs other code than the command says so: by version, else by commit."""

from __future__ import annotations

import pytest

from pancode import __version__
from pancode.fleet.commands import fleet
from tests.fakes import answers


@pytest.mark.parametrize(
    ("version", "commit", "told"),
    [
        (__version__, "aaa", ""),
        (__version__, "bbb", "at commit aaa, the coordinator at bbb"),
        (__version__, "aaa+dirty", "at commit aaa, the coordinator at aaa+dirty"),
        (__version__, "unknown", ""),
        ("0.0.9", "aaa", __version__),
    ],
)
def test_it_is_told_by_version_and_else_by_commit(
    version: str, commit: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet, "_commit", lambda: "aaa")
    process = answers.fleet(version=version, commit=commit)["coordinator"]
    assert fleet._other_code(process) == told
