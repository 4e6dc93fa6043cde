"""Requests a landing and prints the result: how many files changed in which checkout; Ctrl-C cancels it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from pancode.interfaces.cli.follow import FINE as FINE
from pancode.interfaces.cli.follow import act_when_suspended
from pancode.interfaces.cli.parameters import Face, find_user
from pancode.interfaces.cli.terminal import escape_line, escape_lines
from pancode.interfaces.client.client import LAND_S, Client
from pancode.kernel.errors import ApiError, PancodeError
from pancode.kernel.formatting import count_noun
from pancode.runs.answers import CALL_OFF, LAND, CalledOffRow, LandAnswer

ELSEWHERE, HELD = "other_repository", "held"
"""The codes of refusals that a user can override with an option."""
BEHIND = 5
"""How many times, at intervals of 0.2 s, to look for a landing that was just requested."""


def land_and_wait(face: Face, client: Client, run: str, body: dict[str, Any]) -> LandAnswer:
    """Request a landing and wait; ask the user if the landing needs approval; Ctrl-C cancels it."""
    try:
        return _land(face, client, run, body)
    except ApiError as refused:
        if refused.code == ELSEWHERE and face.can_ask():
            if not face.confirm(f"{escape_line(str(refused))}. Land it there?", refused.fix):
                raise
            return land_and_wait(face, client, run, {**body, "elsewhere": True})
        if refused.code != HELD or not face.can_ask():
            raise
        approval = str(refused.details.get("yes", ""))
        listed = escape_lines(f"  {one}" for one in refused.why.split("; "))
        if not face.confirm(
            f"the change contains files that need your approval:\n{listed}Land it?", approval
        ):
            raise
        flags = {flag.removeprefix("--").replace("-", "_"): True for flag in approval.split()}
        return _land(face, client, run, {**body, **flags})
    except KeyboardInterrupt:
        call_off(face, run)
        raise


def _land(face: Face, client: Client, run: str, body: dict[str, Any]) -> LandAnswer:
    payload = {"by": find_user(), **body}
    return act_when_suspended(face, client, run, lambda name: client.post(LAND.at(name), payload, LAND_S))


def format_landing(report: Mapping[str, Any]) -> str:
    """Format a landing's report, escaped because names in it may come from a node or a repository."""
    repaired = f"  first: {escape_line(report['recovered'])}\n" if report.get("recovered") else ""
    files = "".join(f"  {escape_line(name)}\n" for name in report.get("files", ()))
    head = f"{report['run']}  {report['status']}"
    if report["status"] == "waiting":
        return f"{head}: place {report.get('place', 0) + 1} in the queue; see: pancode land\n"
    if report["status"] != "landed":
        already = f" ({escape_line(report['already'])})" if report.get("already") else ""
        return f"{repaired}{head}: {escape_line(report['tree'])} is as it was{already}\n"
    gate = f"  gates: {escape_line(report['gate']['detail'])}\n" if report["gate"] else ""
    return f"{repaired}{head}: {_format_place(report)}\n{gate}{files}{_format_tracker(report.get('tracker'))}"


def _format_tracker(shown: str | None) -> str:
    return f"  tracker: {escape_line(shown)}\n" if shown else ""


def landing_line(report: Mapping[str, Any]) -> str:
    """Format one of several landings on one line, with the reason and the fix if the change did not land."""
    status = report.get("status", "unknown")
    if status == "landed":
        return f"{report['run']}  landed: {_format_place(report)}\n{_format_tracker(report.get('tracker'))}"
    why, fix = escape_line(str(report.get("why", ""))), escape_line(str(report.get("fix", "")))
    return f"{report['run']}  {status}: {why}\n" + (f"  fix: {fix}\n" if fix and status not in FINE else "")


def _format_place(report: Mapping[str, Any]) -> str:
    """Return as text the number of changed files, the checkout or commit, and the branch."""
    files, tree = count_noun(len(report["files"]), "file"), escape_line(report["tree"])
    if report.get("made"):
        commit = f"commit {report['commit'][:12]} on branch {escape_line(report['branch'])}"
        return f"{files}, {commit} of {tree}; your files did not change"
    branch = f"branch {escape_line(report['branch'])}" if report["branch"] else "no branch is checked out"
    return f"{files} in {tree} ({branch}), not committed"


def call_off(face: Face, run: str) -> None:
    """On Ctrl-C, cancel the landing if that is still possible, and always report how it ended."""
    face.note("\ncanceling the landing ...")
    outlook = f"not canceled: it may still write into your tree.  see: pancode why {run}"
    client = Client(face.client().place, starts=False)
    try:
        landings = _call_off(client, run)
    except (KeyboardInterrupt, PancodeError):
        face.note(outlook)
        return
    for one in landings or [{"status": "called off"}]:
        words = f"{one['status']}: your files did not change"
        if one["status"] == "landed":
            words = f"too late, the change has landed: {_format_place(one)}"
        face.note(outlook if one["status"] == "under way" else words)


def _call_off(client: Client, run: str) -> list[CalledOffRow]:
    waited: list[CalledOffRow] = []
    # the interrupted request may reach the coordinator a moment later, even after this request
    for _ in range(BEHIND):
        landings = client.post(CALL_OFF.at(run), {"by": find_user()})["landings"]
        if any(not one.get("queued") for one in landings):
            return landings
        waited = landings or waited
        time.sleep(0.2)
    return waited
