"""The fix of each error code, carried out where a user meets the code (`provoked.py`)."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from pancode.interfaces.cli import main
from pancode.interfaces.cli.output import tell_error
from pancode.kernel.errors import PancodeError
from pancode.workflows.records import Workflow, WorkflowKind
from tests.architecture.sources import PACKAGES, modules, tree
from tests.integration.faces.provoked import INSTEAD, PROVOKED
from tests.integration.faces.test_fixes import ENDS, OF_USERS, OPEN, asked
from tests.integration.faces.test_sweep import Said, Sweep, changing, sweep

__all__ = ["sweep"]
UNPROVOKED = Path(__file__).parent / "unprovoked.txt"
MOST_UNPROVOKED = 217


class Told:
    """The errors that the command line has printed."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.errors: list[PancodeError] = []
        patch.setattr(main, "tell_error", self._note)

    def _note(self, error: PancodeError, *, as_json: bool) -> int:
        self.errors.append(error)
        return tell_error(error, as_json=as_json)

    def take(self) -> PancodeError | None:
        """Return the newest error and forget it; None: there was none."""
        found = self.errors[-1] if self.errors else None
        self.errors.clear()
        return found


def typed(sweep: Sweep, line: str, patch: pytest.MonkeyPatch) -> Said:
    """Return what a line of `PROVOKED` says, with its variables set for it alone."""
    lanes = [flow.id for flow in sweep.fleet.desk.rows(Workflow) if flow.kind is WorkflowKind.LANE]
    places = {"repo": sweep.fleet.repo.path, "home": sweep.fleet.home, "elsewhere": "/none/such"}
    words = shlex.split(line.format(**{**sweep.fleet.names, **places, "lane_workflow": lanes[0]}))
    with patch.context() as only:
        while words[0].startswith("PANCODE_"):
            only.setenv(*words.pop(0).split("=", 1))
        return asked(sweep, words)


@pytest.mark.parametrize("code", PROVOKED)
def test_the_fix_of_each_code_helps(sweep: Sweep, code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not refused in the same way; if it acts, the refused command is not refused as before either."""
    told = Told(monkeypatch)
    refused = typed(sweep, PROVOKED[code], monkeypatch)
    error = told.take()
    assert error is not None and error.code == code, refused.err or refused.out
    assert error.fix, f"{error} has no fix"
    command = next(iter(commands_in(error.fix)), None)
    if command is None or " ".join(command[:2]) in OF_USERS:
        return
    helped = asked(sweep, command)
    assert str(error) not in helped.err, f"{command} is refused as before: {helped.err}"
    acts = next((path for path in changing() if command[: len(path.split())] == path.split()), None)
    is_corrected = acts is not None and acts in PROVOKED[code]
    if acts is not None and helped.status == 0 and code not in INSTEAD and not is_corrected:
        told.take()
        typed(sweep, PROVOKED[code], monkeypatch)
        after = told.take()
        assert after is None or str(after) != str(error), f"{command} changed nothing: {error}"


def commands_in(fix: str) -> Iterator[list[str]]:
    """Yield the words of each complete command of a fix."""
    for found in re.findall(r"pancode ([^;]*)", fix):
        command = ENDS.split(found)[0]
        if not OPEN.search(command):
            yield shlex.split(command)


def test_each_code_is_provoked_or_on_the_list_of_those_that_are_not() -> None:
    """The list only shrinks: a new code needs a line in `PROVOKED`."""
    known = set(UNPROVOKED.read_text().split())
    assert codes_of_the_product() - set(PROVOKED) == known
    assert len(known) <= MOST_UNPROVOKED, "the list may only shrink"


def codes_of_the_product() -> set[str]:
    """Return the codes of all errors that the sources raise."""
    found = set[str]()
    for path in modules(*PACKAGES):
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Call):
                given = [one.value for one in node.keywords if one.arg == "code"]
                named = node.args[:1] if ast.unparse(node.func).endswith("not_found") else []
                found |= {text for one in given if (text := _text(one))}
                found |= {f"{text.replace(' ', '_')}_not_found" for one in named if (text := _text(one))}
            if isinstance(node, ast.ClassDef):
                lines = [one for one in node.body if isinstance(one, ast.Assign | ast.AnnAssign)]
                found |= {
                    text
                    for one in lines
                    if ast.unparse(one.targets[0] if isinstance(one, ast.Assign) else one.target) == "code"
                    and one.value is not None
                    and (text := _text(one.value))
                }
    return found


def _text(node: ast.expr) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
