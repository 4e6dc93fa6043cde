"""A login that the user breaks off: what is said, the exit status, and what the audit gets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pancode.fleet import login as vendor
from pancode.interfaces.cli.main import run
from pancode.interfaces.cli.output import Face


class Asked:
    """A coordinator that gives the node's place, and keeps what it was told."""

    def __init__(self) -> None:
        self.told: list[str | None] = []

    def post(self, route: object, body: dict[str, Any]) -> dict[str, Any]:
        self.told.append(body.get("outcome"))
        return {"target": {}}


def end(*_: object) -> int:
    return 130


def interrupt(*_: object) -> int:
    raise KeyboardInterrupt


@pytest.mark.parametrize(("log_in", "outcome"), [(end, "exit 130"), (interrupt, "interrupted")])
def test_a_login_that_is_broken_off_says_how_to_repeat_it(
    log_in: Callable[..., int],
    outcome: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    client = Asked()
    monkeypatch.setattr(Face, "client", lambda face: client)
    monkeypatch.setattr(vendor, "log_in", log_in)
    assert run(["node", "login", "gpubox", "claude"]) == 130
    out, err = capsys.readouterr()
    assert out == "" and "the login was interrupted. To log in: pancode node login" in err
    assert "pancode node login gpubox claude" in err and client.told == [None, outcome]
