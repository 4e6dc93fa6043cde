"""Names of machines and runtimes that a user mistypes, and this machine by its own name."""

from __future__ import annotations

import socket
from types import SimpleNamespace
from typing import Any

import pytest

from pancode.fleet.commands.nodes import add, install
from pancode.interfaces.cli.output import Face
from pancode.kernel.errors import ApiError, NotFoundError
from tests.fakes.api import FakeApi

REFUSED = {
    "code": "ssh",
    "message": "no SSH server on that port",
    "why": "",
    "fix": "start it",
    "exit_code": 6,
}


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> FakeApi:
    answers: dict[str, Any] = {
        "GET /v1/runtimes": {"runtimes": [{"name": "gemini"}, {"name": "claude"}]},
        "GET /v1/fleet": {"nodes": [{"name": "gpubox"}]},
        "POST /v1/nodes/probe": ApiError(REFUSED),
    }
    return FakeApi(answers).serves(monkeypatch)


@pytest.mark.parametrize(("word", "meant"), [("gemni", "gemini"), ("gpubx", "gpubox")])
def test_a_mistyped_machine_or_runtime_begins_nothing(api: FakeApi, word: str, meant: str) -> None:
    with pytest.raises(NotFoundError) as caught:
        install(["gpubox", "claude", word], face=Face(as_json=False))
    assert repr(word) in str(caught.value) and f"{meant}?" in caught.value.why
    assert api.posted == []


@pytest.mark.parametrize(
    ("name", "fix"), [("other", "start it"), (socket.gethostname(), "--local"), ("localhost", "--local")]
)
def test_this_machine_is_added_without_ssh(api: FakeApi, name: str, fix: str) -> None:
    ctx: Any = SimpleNamespace(params={})
    with pytest.raises(ApiError) as caught:
        add(ctx, name, labels=[], face=Face(as_json=False))
    assert fix in caught.value.fix
