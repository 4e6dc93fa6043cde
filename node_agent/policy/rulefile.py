"""Reads the rules of a pansafety.yaml from its plain values, in both of its forms. Nothing is skipped, and an
invalid value is an error, because a misunderstood rule would have no effect."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from difflib import get_close_matches

from node_agent.policy.patterns import pattern_fault, regex_fault
from node_agent.wire.policy import (
    MOST_PATTERN,
    MOST_REASON,
    MOST_RULES,
    ActionClass,
    CommandRule,
    NetworkAccess,
    PathAccess,
    PathRule,
    Rules,
    find_narrowest,
)

FILES = ("pansafety.yaml", "safety-rules.yaml")
"""The names of the rule file; if both files exist, only the first one is read."""
LISTS = {
    "zeroAccessPaths": PathAccess.NONE,
    "readOnlyPaths": PathAccess.READ,
    "noDeletePaths": PathAccess.NO_DELETE,
}
COMMANDS, RULES, NETWORK = "bashToolPatterns", "rules", "network"
ASK = "ask"
"""The key for the classes of commands that need a user's approval, and the action of a rule of type `bash`
that requires approval."""
KEYS = (COMMANDS, *LISTS, RULES, NETWORK, ASK)
CLASSES = {
    "destructive": (ActionClass.FILE_DELETE, ActionClass.SHELL_DESTRUCTIVE, ActionClass.GIT_DESTRUCTIVE),
    "push": (ActionClass.GIT_PUSH,),
}
"""The values of `ask`, and the classes of commands that each value stands for."""
ACTIONS = {"deny": PathAccess.READ, "no-access": PathAccess.NONE, "no-delete": PathAccess.NO_DELETE}
"""Actions of a unified rule of type `path`, and the access that each leaves: `deny` forbids only changes."""
TYPES = ("path", "bash")
_RULE_KEYS, _COMMAND_KEYS = ("pattern", "reason", "type", "action"), ("pattern", "reason")

Origin = Callable[[str], str]
"""Returns the file and line of a value from the value's dotted path."""


class RuleError(ValueError):
    """The error for an invalid rule. `path`: its dotted path in the file; list items are counted from 0."""

    def __init__(self, path: str, what: str, why: str = "", fix: str = "") -> None:
        super().__init__(what)
        self.path, self.why, self.fix = path, why, fix


def read_rules(data: object, origin: Origin) -> Rules:
    """Return the rules of one file. Raises RuleError for the first invalid rule."""
    top = _check_keys(data, "", KEYS)
    commands = [_parse_command(item, path, origin) for path, item in _list_items(top.get(COMMANDS), COMMANDS)]
    paths = [
        _make_path_rule(_text(item, path, MOST_PATTERN), LISTS[key], "", origin(path), path)
        for key in LISTS
        for path, item in _list_items(top.get(key), key)
    ]
    for path, item in _list_items(top.get(RULES), RULES):
        rule = _parse_unified(item, path, origin)
        if isinstance(rule, PathRule):
            paths.append(rule)
        else:
            commands.append(rule)
    commands += [_parse_class(item, path, origin) for path, item in _list_items(top.get(ASK), ASK)]
    if len(paths) > MOST_RULES or len(commands) > MOST_RULES:
        raise RuleError(
            "", f"there are more than {MOST_RULES} rules for paths or for commands", fix="remove some rules"
        )
    value = top.get(NETWORK)
    network = None if value is None else NetworkAccess(_one_of(value, NETWORK, tuple(NetworkAccess)))
    return Rules(paths=tuple(paths), commands=tuple(commands), network=network)


def merge_rules(*several: Rules) -> Rules:
    """Return the rules of all files without duplicates. RuleError if they are too many for a policy."""
    paths = tuple(dict.fromkeys(rule for rules in several for rule in rules.paths))
    commands = tuple(dict.fromkeys(rule for rules in several for rule in rules.commands))
    if len(paths) > MOST_RULES or len(commands) > MOST_RULES:
        most = f"{MOST_RULES} for paths and {MOST_RULES} for commands"
        raise RuleError(
            "", "too many rules in all files together", f"at most {most} are allowed", "remove some rules"
        )
    networks = [rules.network for rules in several if rules.network is not None]
    return Rules(paths=paths, commands=commands, network=find_narrowest(*networks) if networks else None)


def _parse_unified(item: object, path: str, origin: Origin) -> PathRule | CommandRule:
    rule = _check_keys(item, path, _RULE_KEYS)
    for key in ("pattern", "type", "action"):
        if key not in rule:
            raise RuleError(
                path,
                f"a rule without {key}",
                "a rule has no default values",
                f"add the key {key} to the rule",
            )
    kind = _one_of(rule["type"], f"{path}.type", TYPES)
    action = _one_of(rule["action"], f"{path}.action", (*ACTIONS, ASK))
    if kind == "path":
        if action == ASK:
            raise RuleError(
                f"{path}.action",
                "action ask is not valid for a path",
                "a user can be asked only about commands",
                "write action: deny, no-access or no-delete, or type: bash with the pattern of a command",
            )
        pattern, reason = _text(rule["pattern"], f"{path}.pattern", MOST_PATTERN), _parse_reason(rule, path)
        return _make_path_rule(pattern, ACTIONS[action], reason, origin(path), f"{path}.pattern")
    if action not in ("deny", ASK):
        raise RuleError(
            f"{path}.action",
            f"action {action} is not valid for a command",
            "a rule about commands can only deny them or require a user's approval",
            "write action: deny or action: ask; in a rule about paths: type: path, and a path as pattern",
        )
    made = _parse_command({key: rule[key] for key in _COMMAND_KEYS if key in rule}, path, origin)
    return made.model_copy(update={"ask": action == ASK})


def _parse_command(item: object, path: str, origin: Origin) -> CommandRule:
    rule = _check_keys(item, path, _COMMAND_KEYS)
    if "pattern" not in rule:
        raise RuleError(path, "a rule has no pattern", fix="add the key pattern: to the rule")
    pattern = _text(rule["pattern"], f"{path}.pattern", MOST_PATTERN)
    fault = regex_fault(pattern)
    if fault is not None:
        raise RuleError(
            f"{path}.pattern",
            f"{pattern!r} is not a supported regular expression",
            fault,
            "correct the expression; look-around and back-references are not supported, because they "
            "can be slow",
        )
    return CommandRule(pattern=pattern, reason=_parse_reason(rule, path), origin=origin(path))


def _parse_class(item: object, path: str, origin: Origin) -> CommandRule:
    """Return the rule that requires a user's approval of every command of a class."""
    word = _one_of(item, path, tuple(CLASSES))
    return CommandRule(pattern=f"class:{word}", origin=origin(path), ask=True, classes=CLASSES[word])


def _make_path_rule(pattern: str, access: PathAccess, reason: str, origin: str, path: str) -> PathRule:
    fault = pattern_fault(pattern)
    if fault is not None:
        fix = "write the pattern like .env, src/**/*.sql, /etc/hosts or ~/.ssh"
        raise RuleError(path, f"{pattern!r} is not a valid path pattern", fault, fix)
    return PathRule(pattern=pattern, access=access, reason=reason, origin=origin)


def _parse_reason(rule: dict[str, object], path: str) -> str:
    """Return the rule's reason on one line."""
    value = rule.get("reason", "")
    words = " ".join(value.split()) if isinstance(value, str) else value
    return _text(words, f"{path}.reason", MOST_REASON) if words != "" else ""


def _check_keys(value: object, path: str, known: tuple[str, ...]) -> dict[str, object]:
    if not isinstance(value, dict):
        raise RuleError(
            path, "the value must be a mapping of keys to values", fix=f"valid keys: {', '.join(known)}"
        )
    for key in value:
        if key not in known:
            near = get_close_matches(str(key), known, n=1, cutoff=0.6)
            fix = f"did you mean {near[0]}?" if near else f"valid keys: {', '.join(known)}"
            raise RuleError(f"{path}.{key}".lstrip("."), f"unknown key {key}", fix=fix)
    return value


def _list_items(value: object, key: str) -> Iterator[tuple[str, object]]:
    """Yield the path and the value of each list item; a key without a value is an empty list."""
    if value is not None and not isinstance(value, list):
        raise RuleError(
            key, f"{key} must be a list", fix=f"write each item on its own line below {key}: with a dash"
        )
    yield from ((f"{key}.{number}", item) for number, item in enumerate(value or ()))


def _text(value: object, path: str, most: int) -> str:
    if not isinstance(value, str):
        raise RuleError(
            path, f"{value!r} is not a string", "YAML read it as another type", "put it in quotes"
        )
    if not value or len(value) > most:
        raise RuleError(
            path,
            f"{len(value)} characters",
            f"the length must be from 1 to {most} characters",
            f"write 1 to {most}",
        )
    if not value.isprintable():
        raise RuleError(
            path,
            "the value contains a control character",
            fix="remove the character, or write its escape, such as \\t",
        )
    return value


def _one_of(value: object, path: str, known: tuple[str, ...]) -> str:
    if not isinstance(value, str) or value not in known:
        near = get_close_matches(str(value), known, n=1, cutoff=0.6)
        fix = f"did you mean {near[0]}?" if near else f"valid values: {', '.join(known)}"
        raise RuleError(path, f"{value!r} is not one of {', '.join(known)}", fix=fix)
    return value
