"""Starts the Codex CLI headless: flags, environment and files as measured with version 0.169.0."""

from __future__ import annotations

import json
from collections.abc import Mapping

from node_agent.runtimes import hooks, skills
from node_agent.runtimes.adapters import codex_talked
from node_agent.runtimes.base import BASE_FILES, LaunchRequest, Place, ProcessSpec, Program, base_env
from node_agent.runtimes.logins import FILE as LOGIN_FILE
from node_agent.runtimes.logins import VARIABLE as LOGIN
from node_agent.runtimes.logins import for_run
from node_agent.runtimes.starting import make_probe, prompt_in, task_of
from node_agent.wire.job import Reasoning
from node_agent.wire.policy import Enforcement, Isolation, Mode, Safety

KEY, URL = "OPENAI_API_KEY", "OPENAI_BASE_URL"
CREDENTIALS = (KEY, URL, LOGIN)
"""Variables that log in the program or set its model server; a server without a key needs only its URL."""
VENDOR = "https://api.openai.com/v1"
SUBSCRIPTION = "https://chatgpt.com/backend-api/codex"
PROGRAM = Program(
    "codex",
    "@openai/codex",
    version=r"(?:codex-cli )?(\d+\.\d+\.\d+)\b",
    lowest="0.142.2",
    known="0.169.",
    login="by subscription: pancode node login NODE codex; else by a key: pancode node secret NODE "
    "OPENAI_API_KEY (stored in ~/.pancode-node/*/secrets.json there); for a server with the Responses API, "
    "set OPENAI_BASE_URL in the same way",
)
_HOOK = "hooks.PreToolUse"
PROMPT = "codex/AGENTS.md"
"""The file that the program reads as its user's standing instructions."""
READS = (".agents/skills",)
"""The folder of the repository in which the program looks for skills, regardless of its flags (measured)."""
LEVELS: Mapping[Reasoning, str] = {level: level.value for level in Reasoning} | {Reasoning.OFF: "none"}
"""The program forwards every effort, also to models that do not support it."""


def launch(request: LaunchRequest, place: Place) -> ProcessSpec:
    """Return the launch. The prompt is in a file and the task on standard input; no command line has them."""
    files = {**BASE_FILES, "codex/.keep": b"", **prompt_in(PROMPT, request)}
    files |= {
        **hooks.build_files("codex", request, place),
        **skills.lay_files(request, ".agents/skills", READS),
    }
    env = {**base_env(request, place), "CODEX_HOME": f"{request.home}/codex"}
    kept, login = for_run(env.pop(LOGIN, "")), dict[str, bytes]()
    # the model server has our own name, so that the vendor's and others are reached in one measured way
    provider = _make_provider(env.get(URL) or VENDOR, {"env_key": KEY} if KEY in env else {})
    if kept is not None and not (KEY in env or URL in env):
        login = {f"codex/{LOGIN_FILE}": kept}
        # a subscription uses the same provider, because Codex's own one would add plugins and vendor-run
        # tools
        without = {"features.apps": False, "features.plugins": False}
        provider = {**_make_provider(SUBSCRIPTION, {"requires_openai_auth": True}), **without}
    sandboxed = place.isolation is Isolation.SANDBOX
    settings = {**provider, **_make_hook(request, place)}
    made = ProcessSpec(_make_argv(request, settings, sandboxed), env, task_of(request), files, login)
    if request.interactive_run is None:
        return made
    thinks = {"model_reasoning_effort": LEVELS[request.reasoning]} if request.reasoning else {}
    return codex_talked(
        {**settings, **_make_settings(False, request.besides), **thinks}, request, place, made
    )


def _make_hook(request: LaunchRequest, place: Place) -> dict[str, object]:
    """Return the hook as part of the command line, which cannot be changed; hooks of the repository stay
    off."""
    if not hooks.has_hook(request, place):
        return {}
    tools = hooks.select_tools(request, ("Bash",), ("apply_patch",))
    return {_HOOK: hooks.build_entry(tools, hooks.build_command(request, place), hooks.timeout_s(request))}


def _make_argv(request: LaunchRequest, settings: dict[str, object], sandboxed: bool) -> tuple[str, ...]:
    argv = ["codex", "exec", "--json", "--skip-git-repo-check", "--ignore-user-config", "--ignore-rules"]
    if _HOOK in settings:
        # otherwise the hook would need an approval that no user can give
        argv.append("--dangerously-bypass-hook-trust")
    if request.model:
        argv += ["-m", request.model]
    if request.reasoning:
        argv += ["-c", f"model_reasoning_effort={json.dumps(LEVELS[request.reasoning])}"]
    own = "workspace-write" if request.may_write else "read-only"
    # Codex's own sandbox cannot be built inside ours: every command would fail, but with exit status 0.
    argv += ["-s", "danger-full-access" if sandboxed else own]
    network = request.may_write and request.safety is Safety.FULL_AUTO
    for name, value in {**settings, **_make_settings(network, request.besides)}.items():
        argv += ["-c", f"{name}={_format_toml(value)}"]
    if request.resume:
        argv += ["resume", request.resume.session]
    return (*argv, "-")


def _format_toml(value: object) -> str:
    """Return the value as TOML; a JSON text, number or Boolean is valid TOML."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name} = {_format_toml(one)}" for name, one in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_format_toml, value)) + "]"
    return json.dumps(value)


def _make_provider(url: str, shown: dict[str, object]) -> dict[str, object]:
    values: dict[str, object] = {"name": "pancode", "base_url": url, "wire_api": "responses", **shown}
    # by default Codex retries 30 times in 25 s
    values |= {"request_max_retries": 1, "stream_max_retries": 3, "supports_websockets": False}
    return {"model_provider": "pancode", **{f"model_providers.pancode.{k}": v for k, v in values.items()}}


def _make_settings(network: bool, besides: tuple[str, ...]) -> dict[str, object]:
    return {
        "approval_policy": "never",
        "check_for_update_on_startup": False,
        "analytics.enabled": False,
        "sandbox_workspace_write.network_access": network,
        "sandbox_workspace_write.exclude_slash_tmp": True,
        **({"sandbox_workspace_write.writable_roots": besides} if besides else {}),
        # this removes variables that look like keys, also the model's own, from the shell's environment
        "shell_environment_policy.ignore_default_excludes": False,
        # AGENTS.md of the repository is added to the prompt by PanCode, marked as material
        "project_doc_max_bytes": 0,
    }


def find_enforcement(mode: Mode, safety: Safety, read_only: bool, isolation: Isolation) -> Enforcement:
    """Return how the level is enforced: by PanCode's sandbox, or else by Codex's own (measured)."""
    return Enforcement.SANDBOX if isolation is Isolation.SANDBOX else Enforcement.RUNTIME


PROBE = make_probe(PROGRAM, CREDENTIALS)
