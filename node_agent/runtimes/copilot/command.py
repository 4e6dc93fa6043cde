"""Starts the Copilot CLI headless: flags, environment and files as measured with version 1.0.102."""

from __future__ import annotations

import json
from collections.abc import Mapping

from node_agent.runtimes import hooks, skills
from node_agent.runtimes.acp import AcpWay, wrap_launch
from node_agent.runtimes.base import BASE_FILES, LaunchRequest, Place, ProcessSpec, Program, base_env
from node_agent.runtimes.copilot.tools import OURS
from node_agent.runtimes.starting import NEVER, is_fenced, make_probe, prompt_in, task_of
from node_agent.wire.job import Reasoning
from node_agent.wire.policy import Safety

KEY, URL = "COPILOT_PROVIDER_API_KEY", "COPILOT_PROVIDER_BASE_URL"
LOGIN = "COPILOT_GITHUB_TOKEN"
CREDENTIALS = (KEY, URL, LOGIN)
"""The variables that log in the program at GitHub or set its model server, which may need no key."""
PROGRAM = Program(
    "copilot",
    "@github/copilot",
    version=r"(?:GitHub Copilot CLI )?(\d+\.\d+\.\d+)\b",
    known="1.0.",
    login="pancode node secret NODE COPILOT_PROVIDER_BASE_URL, for a server with OpenAI's chat API, and "
    "COPILOT_PROVIDER_API_KEY if it needs one (stored in ~/.pancode-node/*/secrets.json there); by "
    "subscription set COPILOT_GITHUB_TOKEN in the same way: a fine-grained GitHub token with only the "
    "permission Copilot Requests",
)
PROMPT = "copilot/agents/pancode.agent.md"
"""The file that defines the user's own agent, separate from instructions that a repository can provide."""
_FRONT = "---\nname: pancode\ndescription: The agent of this run\n---\n"
LEVELS: Mapping[Reasoning, str] = {level: level.value for level in Reasoning if level is not Reasoning.OFF}
"""The reasoning efforts. The program does not forward `none`, so the model would use its default effort."""

REPORT = "usage.json"
# The usage is not in the stream but in a file written at the end: this script appends the file to the stream
# as one line. Signals go to the whole group, and usage that a kill drops is reported as missing.
_WITH_REPORT = (
    'report="$1"; shift; "$@"; status=$?; '
    'test -s "$report" && echo && tr -d "\\n" < "$report" && echo; exit $status'
)

_FLAGS = (
    *("--no-color", "--no-auto-update", "--no-ask-user", "--disable-builtin-mcps"),
    *("--no-custom-instructions", "--no-remote", "--log-level", "none"),
    *("--disallow-temp-dir", "--allow-all-tools"),
)
ACP = AcpWay(
    name="copilot",
    argv=("copilot", "--acp", *_FLAGS),
    install=PROGRAM.install,
    memory=("copilot/session-state", "copilot/session-store.db", "copilot/session-store.db-wal"),
    denials=("denied: ", "' does not exist."),
    resumes=("load",),
    notices=("Info: ", "Warning: ", "Error: "),
    sums=True,
)
"""The hook also checks commands in this mode. The flag for an agent has no effect here, so it is an
option."""
AGENT = "pancode"
READS = (".agents/skills", ".claude/skills")
"""The folders of the repository in which the program looks for skills after it has its tool for skills
(measured). A skill adds no tool: a denied tool stays denied, and all others are allowed anyway."""
_READ = ("view", "grep", "glob")
_EDIT = (*_READ, "create", "edit", "str_replace_editor", "apply_patch")
_OPEN = (*_EDIT, "bash", "write_bash", "read_bash", "stop_bash", "list_bash", "update_todo")
_FENCED = (*_EDIT, "bash", "read_bash", "stop_bash", "list_bash")
"""The tools, except the one that types into a running command, because no rule can check its input."""
# The available tools are named at every level; otherwise skills and sub-agents of the repository are offered,
# too. The rules for `.git` apply to every path to it, also by links, but not to a shell.
_RULES: dict[Safety, tuple[tuple[str, ...], tuple[str, ...]]] = {
    Safety.SUGGEST: (("--deny-tool=write", "--deny-tool=shell", "--deny-tool=url"), _READ),
    Safety.AUTO_EDIT: (("--deny-tool=shell", "--deny-tool=url"), _EDIT),
    Safety.FULL_AUTO: ((), _OPEN),
}
_OWN_REPOSITORY = ("--deny-tool=write(.git)", "--deny-tool=write(.git/**)")


def launch(request: LaunchRequest, place: Place) -> ProcessSpec:
    """Return the launch. The prompt is in a file and the task on standard input; no command line has them."""
    own = _make_hooks(request, place)
    files = {**BASE_FILES, "copilot/.keep": b"", **prompt_in(PROMPT, request, _FRONT), **own}
    denied, there = _RULES[request.safety if request.may_write else Safety.SUGGEST]
    if is_fenced(request, place):
        denied, there = (*(f"--deny-tool=shell({words}:*)" for words in NEVER), "--deny-tool=url"), _FENCED
    mine = [tool for tool in there if tool not in request.without(OURS)]
    mine += ["skill"] if request.skills else []
    files |= skills.lay_files(request, "copilot/skills", READS)
    argv = [*denied, f"--available-tools={','.join(mine)}"]
    if request.reasoning:
        argv += ["--reasoning-effort", LEVELS[request.reasoning]]
    if request.may_write:
        argv += _OWN_REPOSITORY
    for folder in request.besides:
        argv += ["--add-dir", folder]
    if request.interactive_run is not None:
        agent = {"options": {"agent": AGENT}} if request.prompt else {}
        way = ACP.model_copy(update={"argv": (*ACP.argv, *argv), **agent})
        return wrap_launch(way, request, place, ProcessSpec((), _make_env(request, place), b"", files))
    if request.prompt:
        argv += ["--agent", AGENT]
    if request.resume:
        argv.append(f"--resume={request.resume.session}")
    report = f"{request.home}/{REPORT}"
    started = ("sh", "-c", _WITH_REPORT, "sh", report, "copilot", "--output-format", "json", *_FLAGS)
    argv = [*started, "--usage-output-file", report, *argv]
    return ProcessSpec(tuple(argv), _make_env(request, place), task_of(request), files)


def _make_hooks(request: LaunchRequest, place: Place) -> dict[str, bytes]:
    """Return the hook's files. The hook is called for every tool, and its program checks the tool's name."""
    if not hooks.has_hook(request, place):
        return {}
    one = {
        "type": "command",
        "bash": hooks.build_command(request, place),
        "timeoutSec": hooks.timeout_s(request),
    }
    data = json.dumps({"version": 1, "hooks": {"preToolUse": [one]}}).encode()
    return {**hooks.build_files("copilot", request, place), "copilot/hooks/pancode.json": data}


def _make_env(request: LaunchRequest, place: Place) -> dict[str, str]:
    own = base_env(request, place)
    login = own.pop(LOGIN, "")
    return {
        **own,
        **({LOGIN: login} if login and URL not in own else {**model_server(own), "COPILOT_OFFLINE": "true"}),
        "COPILOT_MODEL": request.model or "default",
        "COPILOT_AUTO_UPDATE": "false",
        "COPILOT_HOME": f"{request.home}/copilot",
    }


def model_server(env: Mapping[str, str]) -> dict[str, str]:
    """Return the variables for the model server. The program masks its key in all output, so the key must not
    be a common word."""
    given = {name: env[name] for name in CREDENTIALS if name in env}
    return {**given, "COPILOT_PROVIDER_WIRE_API": "completions"}


PROBE = make_probe(PROGRAM, (URL, LOGIN))
