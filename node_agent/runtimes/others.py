"""Any program that supports ACP and that the node's owner names: only in chats, and only in the sandbox."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from node_agent.runtimes import base
from node_agent.runtimes.acp import AcpWay, wrap_launch
from node_agent.runtimes.starting import build_guard, guard_environment
from node_agent.runtimes.vendors import OTHER_KEY, OTHER_URL
from node_agent.runtimes.workerstream import WorkerParser
from node_agent.wire.job import Argv, Reasoning
from node_agent.wire.model import WireModel
from node_agent.wire.node import Flag, RuntimeFact
from node_agent.wire.other_runtimes import OTHER
from node_agent.wire.policy import Enforcement, Isolation, Mode, Safety

_EFFORTS = {Reasoning.OFF: "none"}
ANSWERS_S, PATIENCE_S = 45, 60
"""Seconds for the answers, and for the whole check: a start may take half a minute on a busy node."""
INSTALL = "put the program on the PATH of the node, or correct its entry in ceiling.json of the node"


class OtherAgent(WireModel):
    """The owner's entry for one program. `env`, `files` (of the run's home): its settings, in which `{url}`,
    `{key}`, `{model}` and `{run}` are replaced by the gateway's address, its placeholder for a key, the run's
    model, and the path of the run's home.

    `sessions`: the files and folders of the home with its memory. Fields missing in an entry are taken from
    `SHIPPED`, by the entry's name.
    """

    argv: Argv = ()
    env: dict[str, str] = {}
    files: dict[str, str] = {}
    sessions: tuple[str, ...] = ()
    resumes: tuple[str, ...] = ("resume", "load")
    keeps: tuple[str, str] | None = None
    """As in `AcpWay`."""
    install: str = INSTALL

    @property
    def sets_model(self) -> bool:
        """Whether the program's settings name its model."""
        return any("{model}" in text for text in (*self.env.values(), *self.files.values()))


_OF_KILO = {
    "autoupdate": False,
    "share": "disabled",
    "permission": {"*": "ask"},
    "experimental": {"continue_loop_on_deny": True},  # otherwise a denial ends the turn without an answer
    "model": "pancode/{model}",
    "small_model": "pancode/{model}",
    "enabled_providers": ["pancode"],
    "provider": {
        "pancode": {
            "npm": "@ai-sdk/openai-compatible",
            "options": {"baseURL": "{url}", "apiKey": "{key}"},
            "models": {"{model}": {"tool_call": True, "limit": {"context": 131072, "output": 8192}}},
        }
    },
}
_OF_HERMES = {
    "provider": "custom",
    "default": "{model}",
    "base_url": "{url}",
    "api_key": "{key}",
    "context_length": 65_536,  # the minimum that the program requires
    "ollama_num_ctx": 65_536,
}
_OF_QWEN = {
    "privacy": {"usageStatisticsEnabled": False},
    "general": {"enableAutoUpdate": False},
    "telemetry": {"enabled": False},
    "security": {"auth": {"selectedType": "openai"}},
    "permissions": {"ask": ["run_shell_command", "edit", "write_file", "notebook_edit", "web_fetch"]},
    "model": {"name": "{model}", "generationConfig": {"maxRetries": 1, "timeout": 60000}},
}
_HIDDEN_FROM_QWEN = {
    name: text.decode()
    for name, text in build_guard(
        (".qwen/settings.json", ".env"), ("QWEN.md", "AGENTS.md"), (".agents/skills", ".qwen/skills")
    ).items()
}
"""The program would use settings of the repository as its own: servers, hooks and start commands."""
_KILO_DISABLES = ("AUTOUPDATE", "MODELS_FETCH", "LSP_DOWNLOAD", "PROJECT_CONFIG", "DEFAULT_PLUGINS")
SHIPPED: Mapping[str, OtherAgent] = {
    "kilo": OtherAgent(
        argv=("kilo", "acp"),
        env={
            "KILO_CONFIG_CONTENT": json.dumps(_OF_KILO),
            "KILO_TELEMETRY_LEVEL": "off",
            **{f"KILO_DISABLE_{what}": "1" for what in _KILO_DISABLES},
        },
        sessions=(".local/share/kilo/kilo.db", ".local/share/kilo/kilo.db-wal"),
        install="npm install -g @kilocode/cli@7.7.2",
    ),
    "hermes": OtherAgent(
        argv=("hermes-acp",),
        files={".hermes/config.yaml": json.dumps({"model": _OF_HERMES})},
        sessions=(".hermes/state.db", ".hermes/state.db-wal"),
        install="pipx install 'hermes-agent[acp]==0.19.0'",
    ),
    "qwen": OtherAgent(
        argv=(
            *("qwen", "--acp", "--extensions", "none"),
            # these settings may come from the repository
            *("--exclude-tools", "agent", "--exclude-tools", "skill"),
        ),
        env={"OPENAI_MODEL": "{model}", "QWEN_CODE_NO_RELAUNCH": "true", **guard_environment("{run}")},
        files={".qwen/settings.json": json.dumps(_OF_QWEN), **_HIDDEN_FROM_QWEN},
        sessions=(".qwen/projects",),
        resumes=("load",),
        keeps=(".qwen/projects/*/chats/{}.jsonl", '"type":"assistant"'),
        install="npm install -g @qwen-code/qwen-code@0.15.10",
    ),
}
"""Entries measured with the versions named in them. An owner must still name a program to enable it."""


def runtime_of(name: str, entry: OtherAgent, ours: tuple[str, ...]) -> base.Runtime:
    """Return the runtime of an entry. `ours`: the command of our checking program, without arguments."""
    given = {field: getattr(entry, field) for field in entry.model_fields_set}
    agent = SHIPPED.get(name, entry).model_copy(update=given)
    return base.Runtime(
        name=f"{OTHER}{name}",
        capabilities=base.Capabilities(
            stream=True,
            tells_ran=True,
            usage=True,
            prompted=True,
            takes_turns=True,
            reasoning=frozenset(Reasoning),
        ),
        launch=partial(_launch, agent),
        parser=WorkerParser,
        enforcement=_find_enforcement,
        probe=base.Probe(((*ours, *agent.argv),), partial(_read, name, agent), PATIENCE_S),
        credentials=(OTHER_KEY, OTHER_URL),
        sessions=agent.sessions,
        chosen=True,
    )


def _launch(agent: OtherAgent, request: base.LaunchRequest, place: base.Place) -> base.ProcessSpec:
    """Return the launch. Settings have values between quotes, so each value is escaped for a JSON string."""
    env = base.base_env(request, place)
    model = request.model or "default"
    values = {"{url}": env.get(OTHER_URL, ""), "{key}": env.get(OTHER_KEY, "")}
    values |= {"{model}": model, "{run}": request.home}
    given = {name: _fill_values(text, values) for name, text in agent.env.items()}
    files = {name: _fill_values(text, values).encode() for name, text in agent.files.items()}
    way = AcpWay(
        name=agent.argv[0],
        argv=agent.argv,
        install=agent.install,
        memory=agent.sessions,
        resumes=agent.resumes,
        keeps=agent.keeps,
        begins=request.prompt,
        chooses=True,
        mode=request.interactive_run.mode if request.interactive_run else "",
        effort=_EFFORTS.get(request.reasoning, request.reasoning.value) if request.reasoning else "",
        model="" if agent.sets_model or request.model is None else request.model,
    )
    # the run's own values override the settings: its home, its PATH, its login
    return wrap_launch(
        way, request, place, base.ProcessSpec((), {**given, **env}, b"", {**base.BASE_FILES, **files})
    )


def _fill_values(text: str, values: Mapping[str, str]) -> str:
    for mark, value in values.items():
        text = text.replace(mark, json.dumps(value)[1:-1])
    return text


def _find_enforcement(mode: Mode, safety: Safety, read_only: bool, isolation: Isolation) -> Enforcement:
    """Return how the level is enforced: only by the sandbox, as the program itself chooses when to ask."""
    return Enforcement.SANDBOX if isolation is Isolation.SANDBOX else Enforcement.IMPOSSIBLE


def _read(name: str, agent: OtherAgent, results: Sequence[base.Said]) -> RuntimeFact:
    """Return the runtime's fact from the output of our checking program."""
    status, output = results[0]
    names = _parse_names(output) if status == 0 else {}
    full = f"{OTHER}{name}"
    if not names:
        return RuntimeFact(name=full, state="unknown_version", fix=f"the probe failed: {output[-300:]}")
    if why := str(names.get("why", "")):
        missing = bool(names.get("missing"))
        return RuntimeFact(name=full, state="missing" if missing else "unknown_version", fix=why[:900])
    version = str(names.get("version", ""))[:100] or None
    can = (Flag.STREAM, Flag.USAGE, *((Flag.RESUME,) if names.get("resumes") and agent.sessions else ()))
    return RuntimeFact(name=full, version=version, state="ok", can=can)


def _parse_names(output: str) -> dict[str, Any]:
    try:
        found = json.loads(output)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
