"""Writes the page of configuration: every key and variable, the safety rules, and reference.yaml itself."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml
from pydantic import BaseModel, BeforeValidator
from pydantic.fields import FieldInfo

from docs.generate.markdown import block, code, listed, page, table, words, yes
from node_agent.policy import rulefile
from node_agent.policy.rulefile import FILES
from node_agent.wire.policy import MOST_RULES
from pancode.config import units
from pancode.config.agents.definitions import shipped_text
from pancode.config.agents.presets import PresetEntry
from pancode.config.schema import PROJECT_KEYS, Settings
from pancode.config.variables import LIMITING, PER_DISPATCH, VARIABLES

UNKNOWN = f"""
Every command warns of a `PANCODE_` variable that is unknown. Where it is close to one that limits runs
({listed(LIMITING)}), the command is refused instead.
"""
ODD = """
The other variables count where the coordinator was started with them. A command that gives work to the fleet,
and `pancode config show`, say where theirs differ.
"""
KINDS = {
    units.duration_ms: "duration, as `90s`, `15m`, `1h30m`",
    units.size_bytes: "size, as `64MiB`",
    units.gpu_count: "number from 1 on, or `all`",
    units.amount_usd: "USD",
    units._split_command: "command: words of a shell, or a list",
}
BOUNDS = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
PLACES = (
    (
        "PANCODE_HOME",
        "the coordinator's and your own files; default `~/.pancode`. Two homes are two fleets",
    ),
    (
        "PANCODE_COORDINATOR",
        "`ssh://[user@]host[:port][/home]`: commands here drive the coordinator of that machine through your "
        "`ssh` ([how](../howto/laptop.md#the-coordinator-stays-at-home))",
    ),
    ("PANCODE_PRESET", "the preset of one dispatch, or, where the coordinator has it, of all that name none"),
    (
        "PANCODE_LOG",
        "levels of the log of the coordinator, and of the node agents that it brings up: `debug`, `info` "
        "(default), `warning` or `error`, also for one logger: `warning,pancode.orders=info`",
    ),
    ("PANCODE_NODE_HOME", "on a node: folder of the node agent; default `~/.pancode-node/<fleet>`"),
)
INTRO = """
Settings come in layers; the later wins, key by key: built in, `/etc/pancode/pancode.yaml`, `pancode.yaml`
in `PANCODE_HOME`, `pancode.yaml` at the top of the repository (only the keys marked *repository*),
`settings.json` in `PANCODE_HOME`, the project's defaults, environment variables, a preset, flags.
`pancode config show --origin` prints every value with the file and line, the variable or the preset that
set it.

An unknown key is an error that names its file, line and the nearest right key (exit status 3). PanCode
never writes these files, except that `pancode init` makes those that are not there and `pancode agents set`
changes one value of `panagents.yaml`. `pancode config set` writes `settings.json`, which has the same keys
([how](../howto/settings.md)); what only a repository says of itself is refused there. A password in
`redis.url` or `ledger.url` is written as `${VARIABLE}`.
"""
REPOSITORY = """
A repository may set only what is marked. It cannot raise a ceiling, choose a runtime, a mode or a safety
level, or define an agent: whoever can write to a repository is not thereby the owner of the fleet.
"""
GIVEN = """
A run sees of its node's environment what `env` and `secrets` name, and no more; a value in the node owner's
`secrets.json` goes before one of the node agent's environment
([where values come from](../howto/secrets.md)). Beside that a run has fixed values, a HOME,
TMPDIR and PATH of its own, `PANCODE_ATTEMPT`, its identity as RUN.ATTEMPT.LEASE, `PANCODE_RUN`, and
`PANCODE_DEPTH`: 0 for what a user dispatched. By the process that asks, a `pancode dispatch` from inside a
run is that run's child: it may not have more than its parent, and `dispatch.max_depth` bounds how far this
goes.
"""
SAFETY = f"""
`{FILES[0]}`, or under its other name `{FILES[1]}` (where both are there the first counts, and it is said), in
`PANCODE_HOME`, at the top of the repository, and in the home of a node's agent, where the owner of that
node writes it. All of them hold at once: a rule only takes away. At most {MOST_RULES} rules for paths and as
many for commands. A rule, key or pattern that does not fit is an error with file, line and fix (exit status
3), and on a node a refusal of every run. [How to use them](../howto/safety-rules.md).
"""
PATTERNS = """
A pattern of a path knows `*` and `?` within a name, and `**` for any number of folders. It covers what it
matches and all that lies below. Without a slash before its end it counts in every folder, with one inside
from the top of the workspace; `/...` and `~/...` are places on the machine. A pattern of a command is an RE2
regular expression, looked for in the command as it was written and in each call of it as its program gets
the words.
"""
PRESETS = """
`panpresets.yaml` is a mapping from name to these keys; yours in `PANCODE_HOME` is laid over the shipped one,
key by key. Which preset counts: `--preset`, `PANCODE_PRESET` of the command, `pancode config use`, and
then `PANCODE_PRESET` of the coordinator. The preset `none` is none. [How to use them](../howto/models.md).
"""
COMMAND = """
A variable of a single command is honoured too for these, above every file and below the command's flags:
"""


def settings_page() -> str:
    rows = [_setting(path, kind) for path, kind in leaves(Settings)]
    return page(
        "Configuration",
        "`pancode/config`",
        words(INTRO),
        "## Keys",
        table(("Key", "Type", "Default", "Repository", "Variable"), rows),
        words(REPOSITORY),
        "## Environment variables",
        table(("Variable", "Key"), [(code(name), code(path)) for name, (path, _) in VARIABLES.items()]),
        words(f"{COMMAND} {listed(PER_DISPATCH)}."),
        table(("Read elsewhere", "Meaning"), [(code(n), text) for n, text in PLACES]),
        words(GIVEN),
        words(UNKNOWN),
        words(ODD),
        "## Agents",
        "Each key of `panagents.yaml` is on [a page of its own](agents.md).",
        _presets(),
        *_safety(),
        "## reference.yaml",
        "Every setting with its default, as a file that validates:",
        block(shipped_text("reference.yaml"), "yaml"),
    )


def leaves(part: type[BaseModel], above: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, annotation) of every setting."""
    for field, hint in get_type_hints(part, include_extras=True).items():
        name = part.model_fields[field].alias or field if field in part.model_fields else field
        if name == "model_config":
            continue
        if isinstance(hint, type) and issubclass(hint, BaseModel):
            yield from leaves(hint, f"{above}{name}.")
        else:
            yield f"{above}{name}", hint


def kind_of(hint: Any) -> str:
    """What may be written, in words."""
    if get_origin(hint) is Annotated:
        return _annotated(hint)
    if get_origin(hint) in (Union, UnionType):
        return " or ".join("null" if arm is type(None) else kind_of(arm) for arm in get_args(hint))
    if get_origin(hint) is Literal:
        return listed(get_args(hint))
    if get_origin(hint) is tuple:
        return f"list of: {kind_of(get_args(hint)[0])}"
    if get_origin(hint) is dict:
        return f"keys with values: {kind_of(get_args(hint)[1])}"
    if isinstance(hint, type) and issubclass(hint, Enum):
        return listed(hint)
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        return "; ".join(f"{code(name)}: {kind_of(inner)}" for name, inner in leaves(hint))
    return {"str": "text", "int": "whole number", "float": "number", "bool": "true or false"}[hint.__name__]


def _annotated(hint: Any) -> str:
    inner, *marks = get_args(hint)
    for mark in marks:
        if isinstance(mark, BeforeValidator) and mark.func in KINDS:
            return KINDS[mark.func]
    if any(getattr(mark, "pattern", None) or _pattern(mark) for mark in marks):
        return "a variable's name" if inner is str else kind_of(inner)
    return kind_of(inner)


def _pattern(mark: Any) -> bool:
    return any(getattr(m, "pattern", None) for m in getattr(mark, "metadata", ()))


def _bounds(part: type[BaseModel], path: str) -> str:
    *above, name = path.split(".")
    for step in above:
        inner = part.model_fields[step].annotation
        assert isinstance(inner, type) and issubclass(inner, BaseModel)
        part = inner
    marks = field_of(part, name)[1].metadata
    found = [
        f"{w} {getattr(m, k)}" for m in marks for k, w in BOUNDS.items() if getattr(m, k, None) is not None
    ]
    return f", {' and '.join(found)}" if found and "duration" not in kind_of_field(part, name) else ""


def field_of(part: type[BaseModel], key: str) -> tuple[str, FieldInfo]:
    """Return the field that is written with this key, and its name."""
    return next((name, info) for name, info in part.model_fields.items() if key in (name, info.alias))


def kind_of_field(part: type[BaseModel], name: str) -> str:
    return kind_of(get_type_hints(part, include_extras=True)[field_of(part, name)[0]])


def _setting(path: str, hint: Any) -> tuple[str, str, str, str, str]:
    allowed = path in PROJECT_KEYS or path.split(".")[0] in PROJECT_KEYS
    variable = next((name for name, (key, _) in VARIABLES.items() if key == path), "")
    kind = kind_of(hint)
    bounds = "" if "size" in kind or "USD" in kind else _bounds(Settings, path)
    return code(path), kind + bounds, code(_default(path)), yes(allowed), code(variable)


def _default(path: str) -> str:
    value: Any = yaml.safe_load(shipped_text("reference.yaml"))
    for step in path.split("."):
        value = value[step]
    return "null" if value is None else str(value)


def _presets() -> str:
    rows = []
    for name, hint in get_type_hints(PresetEntry, include_extras=True).items():
        if name != "model_config":
            rows.append((code(name), kind_of(hint)))
    return "\n\n".join(("## Presets", words(PRESETS).strip(), table(("Key", "Type"), rows)))


def _safety() -> list[str]:
    lists = [(code(key), code(f"{access}"), "paths, as texts") for key, access in rulefile.LISTS.items()]
    lists.append((code(rulefile.COMMANDS), "not run", "commands, each with `pattern` and perhaps `reason`"))
    actions = [(code("path"), code(action), code(f"{left}")) for action, left in rulefile.ACTIONS.items()]
    asked = "run after a user's approval, while the run waits"
    lists.append((code(rulefile.ASK), asked, f"classes: {', '.join(map(code, rulefile.CLASSES))}"))
    bash = [(code("bash"), code("deny"), "not run"), (code("bash"), code(rulefile.ASK), asked)]
    return [
        "## Safety rules",
        words(SAFETY),
        table(("List", "What it leaves", "Holds"), lists),
        f"And `{rulefile.RULES}`, a list in which each has `pattern`, `type`, `action` and perhaps `reason`:",
        table(("`type`", "`action`", "What it leaves"), [*actions, *bash]),
        words(PATTERNS),
        block(shipped_text(FILES[0]), "yaml"),
    ]
