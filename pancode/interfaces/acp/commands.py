"""Implements `pancode sessions acp`: the fleet's agents in an editor with the Agent Client Protocol."""

from __future__ import annotations

import os
import sys
from typing import Any

import typer

from pancode.interfaces.cli.output import write_stderr
from pancode.interfaces.cli.parameters import verb
from pancode.kernel.errors import ExitCode
from pancode.runs.commands import options
from pancode.runs.commands.dispatch_requests import of_caller

_CALLER = ("settings", "parent", "depth")


@verb(
    "sessions acp",
    "",
    "--node gpubox --runtime native --model anthropic/claude-sonnet-4-5",
    cls=options.WorkCommand,
)
@options.take_options("chat", after="agent")
def acp(ctx: typer.Context, *, agent: options.SessionAgent = None, **_options: Any) -> int:
    """Offer the fleet's agents in your editor (Agent Client Protocol). The editor starts this command itself.

    The options apply to each new session; the editor can also choose agent, node and model. A session
    continues when the editor exits: open it again in the editor, or run pancode attach.
    """
    from node_agent.wire.clock import SystemClock, SystemIds
    from pancode.interfaces.acp.server import AcpServer
    from pancode.interfaces.client.client import Client, home_here, place_of
    from pancode.interfaces.client.remote.place import remote_of
    from pancode.kernel.jsonrpc import JsonRpcLines, standard_input

    if sys.stdin.isatty():
        sys.stderr.write("this command is for an editor; to chat in a terminal, run: pancode chat\n")
    caller = of_caller({"workspace": "none"})  # each session gets the editor's folder instead
    begins = options.collect_given(ctx.params) | {one: caller[one] for one in _CALLER if one in caller}

    def client(works: bool) -> Client:
        note = lambda text: write_stderr(f"{text}\n")  # noqa: E731
        return Client(place_of(os.environ), works=works, note=note, program="acp")

    lines = JsonRpcLines(standard_input(), sys.stdout)
    names = home_here(os.environ) / "editors"
    remote = remote_of(os.environ) is not None
    AcpServer(lines, client, SystemIds(), SystemClock(), begins, names, is_remote=remote).serve()
    return ExitCode.DONE
