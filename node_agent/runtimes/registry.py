"""Which runtimes there are, what each can do, and whether it can hold what is asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from node_agent.runtimes.base import (
    Capabilities,
    Enforcer,
    Launcher,
    LaunchRequest,
    Parser,
    ParserFactory,
    Probe,
)
from node_agent.runtimes.claude import command as claude_command
from node_agent.runtimes.claude.parse import ClaudeParser
from node_agent.runtimes.scripted import command as scripted_command
from node_agent.runtimes.scripted.parse import ScriptedParser
from node_agent.runtimes.shell import command as shell_command
from node_agent.runtimes.shell.parse import ShellParser


@dataclass(frozen=True, slots=True)
class Runtime:
    """One runtime. `credentials`: variables of the node that log it in, for the agent's process alone."""

    name: str
    capabilities: Capabilities
    launch: Launcher
    parser: ParserFactory
    enforcement: Enforcer
    probe: Probe
    credentials: tuple[str, ...] = ()


def _claude_parser(request: LaunchRequest) -> Parser:
    return ClaudeParser(request.resume)


def _scripted_parser(request: LaunchRequest) -> Parser:
    return ScriptedParser()


def _shell_parser(request: LaunchRequest) -> Parser:
    return ShellParser()


_ALL = (
    Runtime(
        "claude",
        Capabilities(
            stream=True,
            usage=True,
            cost=True,
            resume=True,
            read_only_enforced=True,
            turn_limit=True,
            budget_limit=True,
            needs_model=True,
            prompted=True,
        ),
        claude_command.launch,
        _claude_parser,
        claude_command.enforcement,
        claude_command.PROBE,
        claude_command.CREDENTIALS,
    ),
    Runtime(
        "scripted",
        Capabilities(
            stream=True,
            usage=True,
            cost=True,
            read_only_enforced=True,
            budget_limit=True,
            prompted=True,
        ),
        scripted_command.launch,
        _scripted_parser,
        scripted_command.enforcement,
        scripted_command.PROBE,
    ),
    Runtime(
        "shell",
        Capabilities(),
        shell_command.launch,
        _shell_parser,
        shell_command.enforcement,
        shell_command.PROBE,
    ),
)

RUNTIMES: Mapping[str, Runtime] = {runtime.name: runtime for runtime in _ALL}


def find(name: str) -> Runtime | None:
    """The runtime of that name; None when there is none."""
    return RUNTIMES.get(name)
