"""Starts the Gemini CLI headless: flags, environment and files as measured with version 0.61.0."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from node_agent.runtimes import hooks, skills
from node_agent.runtimes.acp import AcpWay, wrap_launch
from node_agent.runtimes.base import BASE_FILES, LaunchRequest, Place, ProcessSpec, Program, base_env
from node_agent.runtimes.gemini.alone import GENERAL, build_isolation
from node_agent.runtimes.gemini.thinking import build_overrides
from node_agent.runtimes.gemini.tools import OURS
from node_agent.runtimes.starting import NEVER, guard_environment, is_fenced, make_probe, prompt_in, task_of
from node_agent.wire.policy import Safety

KEY, URL = "GEMINI_API_KEY", "GOOGLE_GEMINI_BASE_URL"
LOGIN, PROJECT = "GOOGLE_CLOUD_ACCESS_TOKEN", "GOOGLE_CLOUD_PROJECT"
CREDENTIALS = (KEY, URL, LOGIN, PROJECT)
"""The variables that log in the program or set its model server, and the project that pays if an account has
several. A server without a key needs only its URL."""
PROGRAM = Program(
    "gemini",
    "@google/gemini-cli",
    version=r"(\d+\.\d+\.\d+)\b",
    node=20,
    lowest="0.39.1",
    known="0.61.",
    login="pancode node secret NODE GEMINI_API_KEY (stored in ~/.pancode-node/*/secrets.json there); with a "
    'Google account, write into that file: {"GOOGLE_CLOUD_ACCESS_TOKEN": {"command": ["gcloud", "auth", '
    '"print-access-token"]}}',
)
PROMPT = ".gemini/GEMINI.md"
"""The file that the program reads as its user's standing instructions."""
POLICY = "policy.toml"

ACP = AcpWay(
    name="gemini",
    argv=("gemini", "--acp"),
    install=PROGRAM.install,
    memory=(".gemini/tmp", ".gemini/history", ".gemini/projects.json"),
    mode="default",
    denials=("denied by policy",),
    titled="[current working directory ",
    resumes=("load",),
    signs="/$",
    chats=".gemini/tmp/*/chats/session-*-{}.jsonl",
)
"""The program calls no hook in this mode, so it requests permission for each command, each change, and, under
path rules, each tool. Its folder is not trusted, so it reads nothing of the repository and has one mode."""

_SHELL = "run_shell_command"
_RUNS = f'[[rule]]\ntoolName = "{_SHELL}"\ndecision = "allow"\npriority = 100\nallowRedirection = true\n'
_NETWORK = ("web_fetch", "google_web_search")
_EDIT = ("replace", "write_file")
_LOOKS = ("read_file", "read_many_files", "list_directory")
# a model can leave its plan mode without permission, and then no rule applies
_MODE_SWITCHES = ("exit_plan_mode", "enter_plan_mode")
_RULES = {
    Safety.SUGGEST: ("plan", ("run_shell_command", *_EDIT, *_MODE_SWITCHES, *_NETWORK)),
    Safety.AUTO_EDIT: ("auto_edit", ("run_shell_command", *_NETWORK)),
    Safety.FULL_AUTO: ("yolo", ()),
}


def launch(request: LaunchRequest, place: Place) -> ProcessSpec:
    """Return the launch. The prompt is in a file and the task on standard input; no command line has them."""
    mode, denied = _RULES[request.safety if request.may_write else Safety.SUGGEST]
    denied = tuple(dict.fromkeys((*denied, *request.without(OURS))))
    fenced = is_fenced(request, place)
    if fenced:
        denied = tuple(tool for tool in denied if tool != _SHELL)
    if request.interactive_run is not None:
        return _make_chat_spec(request, place, denied)
    rules = [
        *map(_format_deny_rule, denied),
        *((*map(_format_never_rule, NEVER), _RUNS) if fenced else ()),
        *_allow_skill_reads(request),
    ]
    given = build_isolation(
        _make_settings(request), by_account(place.env), _make_hooks(request, place), bool(request.skills)
    )
    files = {
        **BASE_FILES,
        **prompt_in(PROMPT, request),
        **given,
        **hooks.build_files("gemini", request, place),
    }
    files |= skills.lay_files(request, ".gemini/skills")
    argv = ["gemini", "-o", "stream-json"]
    if request.model:
        argv += ["-m", request.model]
    argv += ["--approval-mode", mode, "--skip-trust", "--extensions", "none"]
    for folder in request.besides:
        argv += ["--include-directories", folder]
    if rules:
        argv += ["--admin-policy", f"{request.home}/{POLICY}"]
        files[POLICY] = "\n".join(rules).encode()
    if request.resume:
        argv += ["--resume", request.resume.session]
    return ProcessSpec(tuple(argv), _make_env(request, place), task_of(request), files)


def _make_chat_spec(request: LaunchRequest, place: Place, denied: tuple[str, ...]) -> ProcessSpec:
    """Return the launch of an interactive run. Sub-agents are denied: they do not ask. Without the pattern, a
    rule would allow `cat` and `ls` unasked. A clean-up would delete a resumed session as broken."""
    rules = [*map(_format_deny_rule, (*denied, *_MODE_SWITCHES, "invoke_agent"))]
    tools = (_SHELL, *_EDIT, *hooks.select_tools(request, (), _LOOKS))
    rules += [f'{_format_rule(tool, "ask_user", 500)}argsPattern = "."\n' for tool in tools]
    rules += [_format_rule(tool, "allow", 500) for tool in _NETWORK if request.safety is Safety.FULL_AUTO]
    rules += _allow_skill_reads(request)
    kept = {"general": {**GENERAL, "sessionRetention": {"enabled": False}}}
    given = build_isolation(
        {**_make_settings(request), **kept}, by_account(place.env), skills=bool(request.skills)
    )
    files = {**BASE_FILES, **prompt_in(PROMPT, request), **given, POLICY: "\n".join(rules).encode()}
    files |= skills.lay_files(request, ".gemini/skills")
    argv = [*ACP.argv, "--approval-mode", ACP.mode, "--extensions", "none"]
    argv += ["--admin-policy", f"{request.home}/{POLICY}", *(("-m", request.model) if request.model else ())]
    for folder in request.besides:
        argv += ["--include-directories", folder]
    headless = ProcessSpec(tuple(argv), _make_env(request, place), task_of(request), files)
    return wrap_launch(ACP.model_copy(update={"argv": headless.argv}), request, place, headless)


def _make_settings(request: LaunchRequest) -> dict[str, Any]:
    """Return this run's own settings: reasoning effort and number of turns."""
    turns = request.limits.turns
    spent = {} if turns is None else {"model": {"maxSessionTurns": turns}}
    return {**build_overrides(request.reasoning, request.model), **spent}


def _make_hooks(request: LaunchRequest, place: Place) -> dict[str, Any]:
    if not hooks.has_hook(request, place):
        return {}
    tools = hooks.select_tools(request, (_SHELL,), (*_EDIT, *_LOOKS))
    return {
        "BeforeTool": hooks.build_entry(tools, hooks.build_command(request, place), hooks.TIMEOUT_S * 1000)
    }


def _allow_skill_reads(request: LaunchRequest) -> list[str]:
    """Return the rules that allow reading skills, because below full-auto no user answers the program."""
    return [_format_rule("activate_skill", "allow", 500)] if request.skills else []


def _format_never_rule(words: str) -> str:
    head = f'[[rule]]\ntoolName = "{_SHELL}"\ncommandPrefix = "{words}"\n'
    return f'{head}decision = "deny"\npriority = 900\n'


def _format_rule(tool: str, decision: str, priority: int) -> str:
    return f'[[rule]]\ntoolName = "{tool}"\ndecision = "{decision}"\npriority = {priority}\n'


def _format_deny_rule(tool: str) -> str:
    return _format_rule(tool, "deny", 900)


def _make_env(request: LaunchRequest, place: Place) -> dict[str, str]:
    own = base_env(request, place)
    login = own.pop(LOGIN, "")
    account = by_account(place.env)
    there = {LOGIN: login, "GOOGLE_GENAI_USE_GCA": "true"} if account else model_server(own)
    return {
        **own,
        **there,
        **guard_environment(request.home),
        "GEMINI_CLI_HOME": request.home,
        "GEMINI_TELEMETRY_ENABLED": "false",
        "GEMINI_CLI_NO_RELAUNCH": "true",
    }


def by_account(env: Mapping[str, str]) -> bool:
    """Whether the program logs in with a Google account; a key or another model server has priority."""
    return bool(env.get(LOGIN)) and not (KEY in env or URL in env)


def model_server(env: Mapping[str, str]) -> dict[str, str]:
    """Return the model's address and placeholder key, because the program does not start without a key."""
    return {name: env[name] for name in (KEY, URL) if name in env} | {KEY: env.get(KEY, "none")}


PROBE = make_probe(PROGRAM, (KEY, URL, LOGIN))
