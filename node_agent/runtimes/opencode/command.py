"""Starts OpenCode headless: flags, environment and settings as measured with version 1.18.33."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from node_agent.runtimes import hooks, skills
from node_agent.runtimes.acp import AcpWay, wrap_launch
from node_agent.runtimes.base import BASE_FILES, LaunchRequest, Place, ProcessSpec, Program, base_env
from node_agent.runtimes.logins import FILE as LOGIN_FILE
from node_agent.runtimes.logins import OPENCODE as LOGIN
from node_agent.runtimes.logins import for_opencode
from node_agent.runtimes.opencode.tools import DENIED, OURS
from node_agent.runtimes.starting import NEVER, is_fenced, make_probe, prompt_in, task_of
from node_agent.wire.job import Reasoning
from node_agent.wire.policy import Safety

KEY, URL = "OPENAI_API_KEY", "OPENAI_BASE_URL"
CREDENTIALS = (KEY, URL, LOGIN)
"""Variables that log in the program or set its model server; a server without a key needs only its URL."""
VENDOR = "https://api.openai.com/v1"
PROGRAM = Program(
    "opencode",
    "opencode-ai",
    version=r"(\d+\.\d+\.\d+)\b",
    known="1.18.",
    login="pancode node secret NODE OPENAI_BASE_URL, for a server with OpenAI's chat API, and "
    "OPENAI_API_KEY if it needs one (stored in ~/.pancode-node/*/secrets.json there); with a ChatGPT "
    "account: pancode node login NODE opencode",
    needs_scripts=True,
)
ACP = AcpWay(
    name="opencode",
    argv=("opencode", "acp"),
    install=PROGRAM.install,
    denials=DENIED,
    memory=("data/opencode/opencode.db", "data/opencode/opencode.db-wal"),
)
"""Commands are judged by our hook, not by the program's permission requests: these miss some commands (`[[
'a[$(rm x)]' -eq 1 ]]`, `> file`)."""
PROMPT = "prompt.md"
LEVELS: Mapping[Reasoning, str] = {level: level.value for level in Reasoning} | {Reasoning.OFF: "none"}

# tools that are not named are denied, not asked about: an "ask" would end the run, with exit status 0
_READ: dict[str, Any] = {"*": "deny", "read": "allow", "grep": "allow", "glob": "allow", "list": "allow"}
_EDIT = {**_READ, "edit": {"*": "allow", ".git/*": "deny", ".git/**": "deny"}}
_RULES = {Safety.SUGGEST: _READ, Safety.AUTO_EDIT: _EDIT, Safety.FULL_AUTO: {**_EDIT, "bash": "allow"}}
_QUIET = dict.fromkeys(
    (
        "OPENCODE_DISABLE_AUTOUPDATE",
        "OPENCODE_DISABLE_MODELS_FETCH",
        "OPENCODE_DISABLE_LSP_DOWNLOAD",
        "OPENCODE_DISABLE_PROJECT_CONFIG",  # nor AGENTS.md, which is already in the prompt
        "OPENCODE_DISABLE_EXTERNAL_SKILLS",  # skills of the repository, and of folders of other programs
    ),
    "1",
)


_OWN_PLUGINS = {"OPENCODE_DISABLE_DEFAULT_PLUGINS": "1"}
"""Switches off the built-in plugins: they only log the program in at vendors."""


# without these files OpenCode fetches that package from npm at every start, although --pure uses none
_LOCK = {"packages": {"": {"dependencies": {"@opencode-ai/plugin": "*"}}}}
_INSTALLED = {
    "config/opencode/node_modules/.keep": b"",
    "config/opencode/package-lock.json": json.dumps(_LOCK).encode(),
}
_FOLDERS = ("config", "data", "state", "cache")
# named here, so that set-up cannot leave anything in these folders
_INSTALLED |= {f"{folder}/": b"" for folder in _FOLDERS[1:]}


def launch(request: LaunchRequest, place: Place) -> ProcessSpec:
    """Return the launch. The prompt is in a file and the task on standard input; no command line has them."""
    files = {**BASE_FILES, **_INSTALLED, **prompt_in(PROMPT, request), **_make_hooks(request, place)}
    files |= skills.lay_files(request, "config/opencode/skills")
    env = base_env(request, place)
    kept, login = for_opencode(env.pop(LOGIN, "")), dict[str, bytes]()
    if kept is not None and not (KEY in env or URL in env):
        login = {f"data/opencode/{LOGIN_FILE}": kept}
    model = f"{'openai' if login else 'pancode'}/{request.model or 'default'}"
    # Without a title OpenCode calls the model to make one, which no event reports. The home has no plugin but
    # ours, which `--pure` would disable.
    pure = () if hooks.has_hook(request, place) else ("--pure",)
    argv = ["opencode", "run", "--format", "json", *pure, "--model", model, "--title", "pancode"]
    if request.resume:
        argv += ["--session", request.resume.session]
    quiet = _QUIET if login else _QUIET | _OWN_PLUGINS
    around = {**quiet, **_make_env(request, place, env, model)}
    headless = ProcessSpec(tuple(argv), around, task_of(request), files, login)
    if request.interactive_run is None:
        return headless
    return wrap_launch(ACP.model_copy(update={"argv": (*ACP.argv, *pure)}), request, place, headless)


# an exception denies the call: the model gets the exception's text as the result, and the run continues
_PLUGIN = """\
import { execFile } from "node:child_process";
const [TOOLS, [program, ...given], timeout] = ASKED;
const refusal = (input) => new Promise((tell) => {
  const none = "PanCode did not let this through: no answer";
  const hook = execFile(program, given, { timeout }, (failed, _, words) => tell(failed && (words || none)));
  hook.stdin.on("error", () => {});
  hook.stdin.end(input);
});
export const Policy = async () => ({
  "tool.execute.before": async (call, { args }) => {
    if (!TOOLS.includes(call.tool)) return;
    const words = await refusal(JSON.stringify({ tool_name: call.tool, tool_input: args }));
    if (words) throw new Error(words);
  },
});
"""


def _make_hooks(request: LaunchRequest, place: Place) -> dict[str, bytes]:
    """Return the hook's files as a plugin, because the program does not support a command as a hook."""
    if not hooks.has_hook(request, place):
        return {}
    tools = hooks.select_tools(request, ("bash",), ("edit", "write", "patch", "apply_patch", "read"))
    patience_ms = hooks.timeout_s(request) * 1000
    plugin = _PLUGIN.replace("ASKED", json.dumps([tools, hooks.build_argv(request, place), patience_ms]))
    return {
        **hooks.build_files("opencode", request, place),
        "config/opencode/plugin/pancode.js": plugin.encode(),
    }


def _make_env(request: LaunchRequest, place: Place, own: Mapping[str, str], model: str) -> dict[str, str]:
    folders = {f"XDG_{part.upper()}_HOME": f"{request.home}/{part}" for part in _FOLDERS}
    return {
        **own,
        **folders,
        "OPENCODE_CONFIG_CONTENT": json.dumps(_make_settings(request, place, own, model)),
    }


def _make_settings(
    request: LaunchRequest, place: Place, env: Mapping[str, str], model: str
) -> dict[str, Any]:
    provider, _, name = model.partition("/")
    # the program need not know the model
    settings = {"options": {"reasoningEffort": LEVELS[request.reasoning]}} if request.reasoning else {}
    limit = {"context": 131072, "output": 8192}
    known = {name: {"name": name, "tool_call": True, "limit": limit, **settings}}
    given = {"models": known} if provider != "pancode" else _make_provider(known, env)
    # the tools that the level allows, and among them only the agent's own
    allowed = _RULES[request.safety if request.may_write else Safety.SUGGEST]
    if is_fenced(request, place):
        allowed = {**allowed, "bash": {"*": "allow", **{f"{words}*": "deny" for words in NEVER}}}
    own = {tool: how for tool, how in allowed.items() if tool not in request.without(OURS)}
    permission = {**own, "fleet_*": "allow"} if request.fleet is not None else own
    permission = {**permission, "skill": "allow"} if request.skills else permission
    return {
        "autoupdate": False,
        "share": "disabled",
        "permission": permission,
        "model": model,
        "small_model": model,
        "enabled_providers": [provider],
        "provider": {provider: given},
        **({"instructions": [f"{request.home}/{PROMPT}"]} if request.prompt else {}),
    }


def _make_provider(known: dict[str, Any], env: Mapping[str, str]) -> dict[str, Any]:
    """Return the provider's settings. Key and server come from the environment, because set-up and gates can
    see these settings."""
    options = {"baseURL": f"{{env:{URL}}}" if URL in env else VENDOR}
    if KEY in env:
        options["apiKey"] = f"{{env:{KEY}}}"
    return {
        "npm": "@ai-sdk/openai-compatible",  # part of the program, so nothing is downloaded
        "name": "pancode",
        "options": options,
        "models": known,
    }


PROBE = make_probe(PROGRAM, CREDENTIALS)
