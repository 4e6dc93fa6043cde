"""An option of a dispatch is declared at one place: a line in `runs/options.py` makes it on every face."""

from __future__ import annotations

import ast
import io
import subprocess
import sys
import tokenize

from pancode.runs.options import OPTIONS, Option
from tests.architecture.sources import ROOT, modules, text

_CALLED = {"commands", "routes"}
FACES = (
    *("pancode/interfaces", "pancode/issues", "pancode/people", "pancode/schedules", "pancode/workflows"),
    *("pancode/memory/service.py", "pancode/memory/scout_service.py", "pancode/skills/made_tools.py"),
    *(
        "pancode/workspaces/service.py",
        "pancode/config/fleet_settings.py",
        "pancode/runs/prompt_history.py",
    ),
    *(f"pancode/runs/{one}.py" for one in ("depot_grant", "follow_on_actions", "health", "inbound", "lists")),
    *(f"pancode/runs/{one}.py" for one in ("log", "retry", "reconcile", "stop", "receipts/service")),
    *("pancode/runs/receipts/settlement.py", "pancode/runs/placement/prefetch_service.py"),
    *(path.as_posix() for path in modules("pancode") if _CALLED & set(path.with_suffix("").parts)),
)
"""Where a request is read, shown or repeated; what stands below them uses what it says."""
USES = {
    ("pancode/runs/routes/runs.py", "secret_files"),  # a run's child does not send them
    ("pancode/runs/retry.py", "secret_files"),  # a run keeps the patterns that it stands for
    ("pancode/runs/retry.py", "max_tokens"),  # a program of one's own has counted none
    ("pancode/workflows/rounds.py", "verify_retries"),  # the round after a failed gate takes its place
    ("pancode/sessions/routes/fleet_tools.py", "gpu_memory"),  # offered with one tool alone
    ("pancode/workspaces/commands/projects.py", "gpu_memory"),  # a default of a project
    ("pancode/runs/commands/runs.py", "wrap_up"),  # how many calls of a run were the last one
}
WAITS = (
    *("pancode/interfaces/acp/session.py", "pancode/interfaces/cli/output.py"),
    *("pancode/interfaces/client/client.py", "pancode/drills/commands/drilled_fleet.py"),
    *("pancode/interfaces/http/streams.py", "pancode/issues/forge_trackers.py"),
)
"""Their `timeout_ms` is how long an answer is waited for."""
PLANTED = """
    planted: Count | None = value(
        "A planted option.", "N", most=9, kept="limits.planted", tool="an option that is planted"
    )
"""
PROBE = """
import sys
from pathlib import Path
from types import ModuleType

name = "pancode.runs.options"
code = Path("pancode/runs/options.py").read_text()
at = code.index("    agent: Name")
module = sys.modules[name] = ModuleType(name)
exec(compile(code[:at] + PLANTED.strip("\\n") + "\\n" + code[at:], name, "exec"), vars(module))

from dataclasses import replace
from typer.main import get_command
from pancode.runs.request import dump_request, request_from
from pancode.app.http_routes import VERBS
from pancode.interfaces.http.openapi import build_document
from pancode.interfaces.http.bodies import DispatchBody, parse_body
from pancode.workflows.routes.bodies import StepBody
from pancode.interfaces.cli.main import cli
from pancode.runs.commands.options import collect_given
from pancode.workflows.files.reader import check_workflow
from pancode.runs.admission.request_rules import check_options
from pancode.kernel.errors import UsageError
from pancode.interfaces.mcp.tools import TOOLS
from pancode.runs.retry import request_of
from tests.unit.pancode.kernel.fleets import node, resolved
import click

def flags(*path):
    command, context = cli, click.Context(cli)
    for word in path:
        command = command.get_command(context, word)
    return [flag for one in command.params for flag in one.opts]

of_workflow = (["workflow", one] for one in ("batch", "chain", "race"))
for path in [["dispatch"], *of_workflow, ["schedule", "add"]]:
    assert "--planted" in flags(*path), path
assert collect_given({"planted": 3}) == {"planted": 3}
request = parse_body(DispatchBody, {"task": "x", "planted": 3}).request()
assert request.planted == 3
assert StepBody(name="a", dispatch={"task": "x", "planted": 4}).plan("ana", 0, False).request.planted == 4
assert "'planted': {" in str(build_document(VERBS))
assert request_from(dump_request(request), "ana").planted == 3
found = check_workflow("tasks: [{task: x, planted: 3}, {task: y, planted: 10}]", "tasks.yaml", "tasks")
assert len(found.problems) == 1 and "planted" in str(found.problems[0]), found.problems
assert check_workflow("tasks: [{task: x, planted: 3}]", "f", "f").steps()[0]["dispatch"]["planted"] == 3
try:
    check_options(replace(request, planted=10))
except UsageError as error:
    assert str(error) == "--planted must be at most 9"
else:
    raise AssertionError("no bound")
offered = [tool.name for tool in TOOLS if "planted" in tool.fields]
assert {"dispatch", "dispatch_batch", "schedule_add"} <= set(offered), offered
run = resolved(node("desk")).run("r-0001", 0, "t", {"kind": "none"})
assert request_of(replace(run, limits={**run.limits, "planted": 3}), "ana").planted == 3
"""


def test_one_line_makes_an_option_on_every_face() -> None:
    probe = f"PLANTED = {PLANTED!r}\n{PROBE}"
    done = subprocess.run(
        [sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_no_face_spells_an_option() -> None:
    """Names of two words, as only options have them: seven modules spelled `verify_retries` before."""
    words = {path.as_posix(): _words(text(path)) for path in modules(*FACES)}
    options = {one.name: _names(one) for one in OPTIONS.values() if "_" in one.name}
    spelled = {
        (path, name) for path in words for name in options if not words[path].isdisjoint(options[name])
    }
    assert spelled - {(path, "timeout_ms") for path in WAITS} == USES


def _names(one: Option) -> set[str]:
    """What it is called on any face."""
    spelled = {one.name, *one.flags, one.flag, *([one.key] if "_" in one.key else [])}
    return spelled | {name.removeprefix("--") for name in spelled} | {one.name.replace("_", "-")}


def _words(source: str) -> set[str]:
    """Names of the code, and its texts of one word."""
    found = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.NAME:
            found.add(token.string)
        elif token.type == tokenize.STRING and " " not in token.string and "{" not in token.string:
            found.add(str(ast.literal_eval(token.string)))
    return found
