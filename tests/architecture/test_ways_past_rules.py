"""A refusal names the way past a rule in its fix alone, and no model gets the fix of a rule's refusal."""

from __future__ import annotations

import ast
import importlib
import json
import re
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

from pancode.app.http_routes import VERBS
from pancode.fleet.ssh.errors import LinkFault
from pancode.interfaces.http.access.rights import BUDGETS, DECIDES, SETTLES
from pancode.interfaces.mcp.tool import ASK, make_error_result
from pancode.kernel.errors import RULES, ApiError, ExitCode, PancodeError
from tests.architecture.sources import modules, text, tree

FLAGS = (
    *("--anyway", "--no-gates", "--with-commands", "--with-secret", "--with-secret-files", "--untested"),
    *("--allow-told-only", "--yes", "--safety", "--accept-fingerprint"),
)
"""Flags with which a user passes over a rule."""
LIFTS = (
    "fleet resume",
    "admin breakers --reset",
    "node trust",
    "admin tokens --create",
    "dispatch.land to",
    "pancode -C",
)
COMMANDS = {verb.command for verb in VERBS if verb.right in (DECIDES, BUDGETS, SETTLES)}
WAY = re.compile("|".join((*FLAGS, *LIFTS, *(f"pancode {one}" for one in sorted(COMMANDS - {"deny"})))))
PEOPLE = tuple(
    f"pancode/{name}"
    for name in (
        *("interfaces/cli/*", "interfaces/tui/*", "app/*", "*/commands/*", "*/commands.py"),
        *("agents/safety_evidence.py", "config/folder_safety.py", "config/vendor_models.py"),
        *("config/agents/definition_changes.py", "config/folder_settings.py"),
        *("fleet/login.py", "app/units.py", "runs/receipts/offline_verification.py"),
        *("skills/local_service.py", "skills/node_service.py"),
    )
)
"""Files whose errors only users see: the faces, and what works without a coordinator."""
NOT_USERS = ("pancode/app/build.py", "pancode/app/coordinator.py", "pancode/sessions/routes/fleet_tools.py")
OF_THE_COMMAND_ITSELF = {
    *(
        "life/inbox.py:chosen_call",
        "http/bodies.py:ceilings",
        "fleet/inventory.py:_refuse_duplicate",
    ),
    *("runs/ceilings.py:set_ceilings", "people/routes.py:_approve_item"),
}
"""Wrong arguments of a command that only users have."""
CODES = {"landing/service.py:_make_refusal_error": ("gate_failed", "held")}
"""Codes that are computed, where a way is named."""


@cache
def _errors() -> dict[str, type[PancodeError]]:
    for file in modules("pancode"):
        if re.search(r"^class \w+\(.*(Error|GitRefusal)\):", text(file), re.MULTILINE):
            importlib.import_module(".".join(file.with_suffix("").parts))
    known: list[type[PancodeError]] = [PancodeError]
    for one in known:
        known += [more for more in one.__subclasses__() if more not in known]
    return {one.__name__: one for one in known}


def _texts(*nodes: ast.AST | None) -> str:
    found = (one for node in nodes if node is not None for one in ast.walk(node))
    return " ".join(o.value for o in found if isinstance(o, ast.Constant) and isinstance(o.value, str))


@cache
def _raised() -> list[tuple[str, type[PancodeError], ast.Call, ast.FunctionDef]]:
    """Each error that a function of a file makes in which a way is named."""
    return list(_made())


def _made() -> Iterator[tuple[str, type[PancodeError], ast.Call, ast.FunctionDef]]:
    errors = _errors()
    for file in modules("pancode"):
        if not _is_of_users(file.as_posix()) and WAY.search(text(file)):
            for made in ast.walk(tree(file)):
                for call in ast.walk(made) if isinstance(made, ast.FunctionDef) else ():
                    match call:
                        case ast.Call(func=ast.Name(id=name)) if name in errors:
                            assert isinstance(made, ast.FunctionDef)
                            yield f"{file.parent.name}/{file.name}:{made.name}", errors[name], call, made


def _is_of_users(file: str) -> bool:
    return file not in NOT_USERS and any(fnmatch(file, pattern) for pattern in PEOPLE)


def _codes(place: str, error: type[PancodeError], call: ast.Call) -> tuple[str, ...]:
    given = next((one.value for one in call.keywords if one.arg == "code"), None)
    if isinstance(given, ast.Constant):
        return (str(given.value),)
    faults = [
        one.attr for one in call.args if isinstance(one, ast.Attribute) and one.attr in LinkFault.__members__
    ]
    return tuple(LinkFault[one].value for one in faults) or CODES.get(place, (error.code,))


def _is_rule(error: type[PancodeError], code: str) -> bool:
    made = ApiError({"message": "x", "fix": "y", "code": code, "exit_code": int(error.exit_code)})
    return made.is_rule and make_error_result(made, untrusted=False)["fix"] == ASK


def test_each_error_that_names_a_way_past_a_rule_is_one_of_which_a_model_gets_no_fix() -> None:
    seen, wrong = 0, []
    for place, error, call, made in _raised():
        fix = next((one.value for one in call.keywords if one.arg == "fix"), None)
        named = _texts(made if isinstance(fix, ast.Name | ast.Call) else fix)
        if place in OF_THE_COMMAND_ITSELF or not WAY.search(named):
            continue
        seen += 1
        codes = [code for code in _codes(place, error, call) if not _is_rule(error, code)]
        wrong += [f"{place}: {error.__name__} {code} names {WAY.findall(named)}" for code in codes]
    assert not wrong
    assert seen > 10, "it finds them"


def test_no_error_names_a_way_past_a_rule_in_its_message_or_reason() -> None:
    for place, _, call, _ in _raised():
        why = next((one.value for one in call.keywords if one.arg == "why"), None)
        named = WAY.findall(_texts(*call.args, why))
        assert not named, f"{place} names {named} outside of its fix"


def test_each_class_and_code_of_a_rule_reaches_a_model_without_its_fix() -> None:
    for error in _errors().values():
        refused = error.exit_code is ExitCode.REFUSED
        assert _is_rule(error, error.code) == (refused or error.code in RULES), error
    known = " ".join(text(file) for file in modules("pancode") if file != Path("pancode/kernel/errors.py"))
    for code in RULES:
        assert _is_rule(PancodeError, code)
        assert f'"{code}"' in known or f'"{code.replace("_", " ")}"' in known, f"{code} is not a code of ours"
    held = ApiError({"message": "no", "fix": "pancode land --anyway", "code": "held"})
    assert "--anyway" not in json.dumps(make_error_result(held, untrusted=True))


def test_every_flag_of_the_list_is_one_of_ours() -> None:
    files = (
        *modules("pancode/agents", "pancode/interfaces/cli"),
        *(p for p in modules("pancode") if "commands" in str(p)),
    )
    known = " ".join(text(file) for file in {*files, Path("pancode/runs/options.py")})
    assert not [flag for flag in FLAGS if f'"{flag}' not in known and flag[2:].replace("-", "_") not in known]
