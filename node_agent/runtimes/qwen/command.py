"""Starts Qwen Code headless: flags, environment and files as measured with version 0.15.10."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from node_agent.runtimes import base, hooks, skills
from node_agent.runtimes.acp import AcpWay, talked
from node_agent.runtimes.qwen.tools import OURS
from node_agent.runtimes.starting import NEVER, guard, guarded, is_fenced, keyed, prompt_in, task_of
from node_agent.wire.order import Reasoning
from node_agent.wire.policy import Enforcement, Isolation, Mode, Safety

KEY, URL = "OPENAI_API_KEY", "OPENAI_BASE_URL"
CREDENTIALS = (KEY, URL)
"""Variables that log the program in or point it at a model server; one without a key needs only its URL."""
VENDOR = "https://api.openai.com/v1"
PROGRAM = base.Program(
    "qwen",
    "@qwen-code/qwen-code",
    version=r"(\d+\.\d+\.\d+)\b",
    node=20,
    known="0.15.",
    login="pancode node secret set NODE OPENAI_BASE_URL, of a server with OpenAI's chat wire, and "
    "OPENAI_API_KEY if it wants one (kept in ~/.pancode-node/*/secrets.json there)",
)
PROMPT = ".qwen/QWEN.md"
"""The file that the program reads as its user's standing instructions."""
LEVELS: Mapping[Reasoning, str] = {level: level.value for level in Reasoning} | {Reasoning.OFF: "none"}

_GENERATION: dict[str, Any] = {"maxRetries": 1, "timeout": 60000}
_SETTINGS = {
    "privacy": {"usageStatisticsEnabled": False},
    "general": {"enableAutoUpdate": False},
    "telemetry": {"enabled": False},
}
# It takes settings of the repository for its own, and so servers, hooks and commands that run at its start.
_SETTINGS_FILES, _WORDS = (".qwen/settings.json", ".env"), ("QWEN.md", "AGENTS.md")
# A skill of the repository could have hooks, which it runs: so only what is laid in the home is read.
_SKILLS = (".agents/skills", ".qwen/skills")

ACP = AcpWay(
    name="qwen",
    argv=("qwen", "--acp"),
    install=PROGRAM.install,
    memory=(".qwen/projects",),
    mode="default",
    resumes=("load",),
    keeps=(".qwen/projects/*/chats/{}.jsonl", '"type":"assistant"'),
    denials=("not found in registry", "denied by permission rules"),
)
"""The program's hook has little patience, so it asks before commands, changes, and tools under path rules."""

_RUN = "run_shell_command"
# Tools that are taken away. Skills and sub-agents may be the repository's own, so no level has them.
_THEIRS = ("agent", "skill")
_SHELL = ("run_shell_command", "monitor", "web_fetch", *_THEIRS)
_CHANGES = ("edit", "write_file", "notebook_edit")
_LOOKS = ("read_file", "list_directory")
_EDIT = (*_CHANGES, "exit_plan_mode")
_RULES = {
    Safety.SUGGEST: ("plan", (*_SHELL, *_EDIT)),
    Safety.AUTO_EDIT: ("auto-edit", _SHELL),
    Safety.FULL_AUTO: ("yolo", _THEIRS),
}


def launch(request: base.LaunchRequest, place: base.Place) -> base.ProcessSpec:
    """Return the launch; prompt in a file and task on standard input, so that no command line has them."""
    mode, without = _RULES[request.safety if request.may_write else Safety.SUGGEST]
    model = request.model or "default"
    talks = request.sitting is not None
    start, mode = (ACP.argv, ACP.mode) if talks else (("qwen", "-o", "stream-json"), mode)
    argv = [*start, "-m", model, "--auth-type", "openai", "--approval-mode", mode, "--extensions", "none"]
    for folder in request.besides:
        argv += ["--include-directories", folder]
    if request.limits.turns is not None:
        argv += ["--max-session-turns", str(request.limits.turns)]
    if is_fenced(request, place):
        without = tuple(tool for tool in without if tool != _RUN)
    without = (*without, "monitor") if talks else without  # it asks about that one in another way
    without = tuple(tool for tool in without if tool != "skill" or not request.skills)
    for tool in dict.fromkeys((*without, *request.without(OURS))):
        argv += ["--exclude-tools", tool]
    if request.resume and not talks:
        argv += ["--resume", request.resume.session]
    own = {
        ".qwen/settings.json": _settings(request, place),
        **({} if talks else hooks.files("qwen", request, place)),
    }
    hides = guard(_SETTINGS_FILES, _WORDS, _SKILLS if request.skills else ())
    files = {**base.BASE_FILES, **hides, **own, **prompt_in(PROMPT, request)}
    files |= skills.laid(request, ".qwen/skills")
    made = base.ProcessSpec(tuple(argv), _env(request, place, model), task_of(request), files)
    return talked(ACP.model_copy(update={"argv": made.argv}), request, place, made) if talks else made


def _settings(request: base.LaunchRequest, place: base.Place) -> bytes:
    """The level is an extra field: servers with OpenAI's chat API do not know the program's own field."""
    reasoning = request.reasoning
    asked = {"extra_body": {"reasoning_effort": LEVELS[reasoning]}} if reasoning else {}
    model = {"model": {"generationConfig": {**_GENERATION, **asked}}}
    return json.dumps({**_SETTINGS, **model, **_rules(request, place)}).encode()


def _rules(request: base.LaunchRequest, place: base.Place) -> dict[str, Any]:
    """Return the hook and the commands that run without a question, since nobody would answer it; or, in a
    sitting, the tools about which the program asks, since somebody answers.
    """
    made: dict[str, Any] = {}
    if request.sitting is not None:
        web = ["web_fetch"] if request.safety is Safety.FULL_AUTO else []
        asked = hooks.tools(request, (_RUN, *_CHANGES), _LOOKS)
        return {"permissions": {"ask": list(asked), "allow": web}}
    if is_fenced(request, place):
        never = [f"Bash({words} *)" for words in NEVER]
        made["permissions"] = {"allow": [_RUN], "deny": never}
    if hooks.has_hook(request, place):
        asked = hooks.tools(request, (_RUN,), (*_CHANGES, "read_file"))
        line = hooks.command(request, place)
        made["hooks"] = {"PreToolUse": hooks.entry(asked, line, hooks.TIMEOUT_S * 1000)}
    return made


def _env(request: base.LaunchRequest, place: base.Place, model: str) -> dict[str, str]:
    own = base.base_env(request, place)
    return {
        **own,
        **model_server(own),
        **guarded(request.home),
        "OPENAI_MODEL": model,
        "QWEN_HOME": f"{request.home}/.qwen",
        "QWEN_CODE_NO_RELAUNCH": "true",
    }


def model_server(env: Mapping[str, str]) -> dict[str, str]:
    """Return the address and stand-in key of the model: the program refuses to start without any key."""
    return {URL: env.get(URL, VENDOR), KEY: env.get(KEY, "none")}


def enforcement(mode: Mode, safety: Safety, read_only: bool, isolation: Isolation) -> Enforcement:
    """The program's flags hold read-only; in auto-edit file tools write wherever the user may (measured)."""
    if isolation is Isolation.SANDBOX:
        return Enforcement.SANDBOX
    return Enforcement.TOLD_ONLY if base.may_write(mode, safety, read_only) else Enforcement.RUNTIME


PROBE = keyed(PROGRAM, CREDENTIALS)
