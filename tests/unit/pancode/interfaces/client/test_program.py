"""A request of a server for models' programs says so, and the coordinator limits its runs."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import pytest

from pancode.interfaces.acp.server import AcpServer
from pancode.interfaces.cli.main import run
from pancode.interfaces.client.client import Client
from pancode.interfaces.client.connection import Connection
from pancode.interfaces.http.routing import PROGRAM
from pancode.interfaces.mcp.protocol import McpServer


class SentError(Exception):
    """A request was sent."""


@pytest.mark.parametrize("command", ["mcp", "acp", ""])
def test_mcp_and_acp_say_that_a_program_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    sent: list[Mapping[str, str]] = []

    def request(
        self: Connection, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> None:
        sent.append({name.lower(): value for name, value in headers.items()})
        raise SentError

    def ask(client: Client) -> None:
        with pytest.raises(SentError):
            client.post("/v1/runs")

    monkeypatch.setenv("PANCODE_HOME", str(tmp_path))
    monkeypatch.setattr(Connection, "connect", lambda self: None)
    monkeypatch.setattr(Connection, "request", request)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO()))
    monkeypatch.setattr(AcpServer, "serve", lambda self: ask(self._fleet.client(True)))

    def serve(self: McpServer) -> None:
        with pytest.raises(SentError):
            self._offer.read("pancode://runs/r-1/receipt")

    monkeypatch.setattr(McpServer, "serve", serve)
    if command:
        run([command])
    else:
        ask(Client(tmp_path, works=True))
    assert [one.get(PROGRAM) for one in sent] == [command or None]
