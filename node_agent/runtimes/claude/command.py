"""Starts Claude Code headless: flags, environment and files as measured with version 2.1.328."""

from __future__ import annotations

import json
from typing import Any

from node_agent.runtimes import hooks, skills
from node_agent.runtimes.acp import AcpWay, wrap_launch
from node_agent.runtimes.adapters import CLAUDE_WAY
from node_agent.runtimes.anthropic import LEVELS, LOGIN, LOGINS, quiet_env
from node_agent.runtimes.base import BASE_FILES, LaunchRequest, Place, ProcessSpec, Program, base_env
from node_agent.runtimes.starting import NEVER, is_fenced, make_probe, prompt_in, task_of
from node_agent.wire.policy import Safety

PROGRAM = Program(
    "claude",
    "@anthropic-ai/claude-code",
    version=r"(\d+\.\d+\.\d+)\b",
    lowest="2.1.259",
    node=22,
    known="2.1.",
    login=LOGIN,
    needs_scripts=True,
)
PROMPT = "prompt.md"
SETTINGS = f"{hooks.FOLDER}/settings.json"

_TOOLS = {
    "Read": ("read",),
    "Grep": ("grep",),
    "Glob": ("find", "ls"),
    "Edit": ("edit",),
    "Write": ("write",),
    "Bash": ("bash",),
}
"""The program's tools, and the PanCode tools to which each corresponds."""
_READ = ("Read", "Grep", "Glob")
_WRITE = (*_READ, "Edit", "Write")
# `--tools` limits the tools, also of sub-agents; `--allowedTools` would only add. `--restricted` keeps file
# tools inside the workspace. Without `--tools`, acceptEdits allows a plain `echo x > file` through Bash.
_RULES: dict[Safety, tuple[tuple[str, ...], tuple[str, ...]]] = {
    Safety.SUGGEST: (_READ, ("--permission-mode", "dontAsk", "--restricted")),
    Safety.AUTO_EDIT: (_WRITE, ("--permission-mode", "acceptEdits", "--restricted")),
    Safety.FULL_AUTO: ((*_WRITE, "Bash"), ("--permission-mode", "bypassPermissions")),
}

_NEVER = ",".join(f"Bash({words}:*)" for words in NEVER)


def launch(request: LaunchRequest, place: Place) -> ProcessSpec:
    """Return the launch. The prompt is in a file and the task on standard input, so that no command line has
    them."""
    files = {**BASE_FILES, "claude/.keep": b"", **prompt_in(PROMPT, request)}
    files |= {**_make_settings(request, place), **skills.build_plugin(request)}
    env = quiet_env(request, base_env(request, place))
    if place.is_root and request.may_write and request.safety is Safety.FULL_AUTO:
        env["IS_SANDBOX"] = "1"  # otherwise the program refuses bypassPermissions as root
    made = ProcessSpec(_make_argv(request, place), env, task_of(request), files)
    return wrap_launch(_make_way(request, place), request, place, made) if request.interactive_run else made


_MODES = {Safety.SUGGEST: "default", Safety.AUTO_EDIT: "acceptEdits", Safety.FULL_AUTO: "bypassPermissions"}


def _make_way(request: LaunchRequest, place: Place) -> AcpWay:
    """Return a headless run's flags as the adapter forwards them; PanCode gets the program's questions."""
    level = request.safety if request.may_write else Safety.SUGGEST
    fenced, opened = is_fenced(request, place), level is Safety.FULL_AUTO
    allowed = (*_RULES[level][0], *(("Bash",) if fenced else ()))
    options: dict[str, Any] = {
        "tools": skills.list_tool_names(request, allowed, _TOOLS),
        "plugins": skills.list_plugins(request),
        "allowedTools": [*(["Bash"] if fenced else []), *(["mcp__fleet"] if request.fleet else [])],
        "disallowedTools": [f"Bash({words}:*)" for words in NEVER] if fenced else [],
        "settingSources": [],
        "strictMcpConfig": True,
        "promptSuggestions": False,
        "allowDangerouslySkipPermissions": opened,
        "extraArgs": {} if opened else {"restricted": None},
        "additionalDirectories": list(request.besides),
        **({"model": request.model} if request.model else {}),
    }
    if request.reasoning and (effort := LEVELS[request.reasoning][0]):
        options["effort"] = effort
    if _has_settings(request, place):
        options["settings"] = f"{request.home}/{SETTINGS}"
    prompt = {"systemPrompt": {"append": request.prompt}} if request.prompt else {}
    options_sent: dict[str, Any] = {"claudeCode": {"options": options}, **prompt}
    return CLAUDE_WAY.model_copy(update={"mode": _MODES[level], "settings": options_sent})


def _has_settings(request: LaunchRequest, place: Place) -> bool:
    return hooks.has_hook(request, place) or bool(request.skills)


def _make_settings(request: LaunchRequest, place: Place) -> dict[str, bytes]:
    """Return the hook, and the program's own switch against commands in skills, which hooks do not get."""
    if not _has_settings(request, place):
        return {}
    tools = hooks.select_tools(request, ("Bash",), (*_WRITE, "NotebookEdit"))
    entry = hooks.build_entry(tools, hooks.build_command(request, place), hooks.timeout_s(request))
    hooked = {"hooks": {"PreToolUse": entry}} if hooks.has_hook(request, place) else {}
    settings = {"disableSkillShellExecution": True, **hooked}
    return {**hooks.build_files("claude", request, place), SETTINGS: json.dumps(settings).encode()}


def _make_argv(request: LaunchRequest, place: Place) -> tuple[str, ...]:
    argv = ["claude", "-p", "--output-format", "stream-json", "--verbose"]
    if request.model:
        argv += ["--model", request.model]
    if request.reasoning and LEVELS[request.reasoning][0]:
        argv += ["--effort", LEVELS[request.reasoning][0]]
    argv += ["--setting-sources", "", "--strict-mcp-config", "--permission-prompts", "none"]
    argv += _make_tool_flags(request, place)
    for folder in request.besides:
        argv += ["--add-dir", folder]
    if request.prompt:
        argv += ["--append-system-prompt-file", f"{request.home}/{PROMPT}"]
    argv += [word for one in skills.list_plugins(request) for word in ("--plugin-dir", one["path"])]
    if request.limits.usd is not None:
        argv += ["--max-budget-usd", format(request.limits.usd, "f")]
    if request.limits.turns is not None:
        # the program accepts this flag, although its help does not list it
        argv += ["--max-turns", str(request.limits.turns)]
    if request.resume:
        argv += ["--resume", request.resume.session]
    return tuple(argv)


def _make_tool_flags(request: LaunchRequest, place: Place) -> tuple[str, ...]:
    """Return the flags for the program's tools, and for how it asks for permission to use them."""
    allowed, rest = _RULES[request.safety if request.may_write else Safety.SUGGEST]
    if is_fenced(request, place):
        allowed, rest = (*allowed, "Bash"), (*rest, "--allowedTools", "Bash", "--disallowedTools", _NEVER)
    options = ("--settings", f"{request.home}/{SETTINGS}") if _has_settings(request, place) else ()
    return ("--tools", ",".join(skills.list_tool_names(request, allowed, _TOOLS)), *rest, *options)


PROBE = make_probe(PROGRAM, LOGINS)
