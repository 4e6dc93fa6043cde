"""The pull request of a run that landed on a branch: its commit message, its text, and how it is opened."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from pancode.git.forge.pulls import OpenedPull, PullRequest, must_be_readable, name_repository
from pancode.git.forge_rules import ForgeAccess, ForgeKind, ForgePlace, RemoteRepository, place_of, with_base
from pancode.git.landings import message_of
from pancode.kernel.errors import WorkspaceError
from pancode.kernel.formatting import escape_line, format_usd
from pancode.kernel.records import Run
from pancode.kernel.values import replace
from pancode.landing.answers import PullRequestShape
from pancode.runs.core import Core
from pancode.runs.receipts.trust import NOTHING, read_tested
from pancode.runs.unit_of_work import unit_of_work
from pancode.runs.views import chain_of, usage_of, usage_of_run

_WORD, _ANSWER, _GATES = 200, 4_000, 50
_CUT = "... (cut)"


@dataclass(frozen=True, slots=True)
class PullAsked:
    """A user's request for a pull request. `remote`: the remote's name in the repository; `kind`: the forge's
    kind; None: from the settings."""

    by: str
    remote: str
    branch: str
    message: str = ""
    kind: ForgeKind | None = None
    closes: str = ""
    """The issue that a merge of the pull request closes, as its tracker writes it; empty: no issue."""
    follow: bool = False
    """Whether failed checks and remarks on the pull request start work."""


def pull_request(run: Run, request: PullAsked, cost: str) -> PullRequest:
    """Return the pull request for a run. `cost`: as text. The title is the first line of the commit's
    message, or else of the task."""
    # Only nonempty lines count, each shortened and without control characters.
    lines = [
        cut_text(escape_line(line).strip(), _WORD)
        for line in message_of(run, request.message).splitlines()
        if line.strip()
    ]
    ends = f"Closes {request.closes}\n\n" if request.closes else ""
    result: dict[str, Any] = run.result
    seen = read_tested(run)
    model = f", model {format_code(run.model)}" if run.model else ""
    parts = [
        f"This change was made by PanCode's run {format_code(run.id)}.",
        "",
        f"- Agent: {format_code(run.agent)}, runtime {format_code(run.runtime)}{model}",
        f"- Outcome: {format_code(str(run.outcome))}, cost {format_code(cost)}",
        *_format_gates(run),
        *([f"- Tested: {format_code(seen.why)}"] if seen is not None else []),
        f"- Receipt: {format_code(str(result.get('receipt') or 'none'))}",
        "",
        *_format_proof(run.id, has=bool(result.get("receipt"))),
    ]
    answer = str(result.get("answer") or "").strip()
    quote = (
        ["", "The agent's own description, which was not checked:", "", format_code_block(answer)]
        if answer
        else []
    )
    return PullRequest(
        request.branch, lines[0] if lines else run.id, ends + ("\n".join([*parts, *quote]) + "\n")
    )


def cut_text(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - len(_CUT)] + _CUT


def format_code(text: str) -> str:
    """Return a line as Markdown code, so that a forge interprets no mentions, commands or markup in it."""
    return f"`{cut_text(escape_line(text), _WORD).replace('`', chr(39)).strip() or '-'}`"


def format_code_block(text: str) -> str:
    """Return several lines as a Markdown code block, with a delimiter longer than any in the text."""
    kept = "\n".join(escape_line(line) for line in cut_text(text.strip(), _ANSWER).splitlines())
    lease = "`" * max(3, 1 + max(map(len, re.findall("`+", kept)), default=0))
    return f"{lease}text\n{kept}\n{lease}"


def _format_state(gate: Mapping[str, Any]) -> str:
    if gate.get("passed"):
        return "passed"
    return (
        f"failed, exit {format_code(str(gate.get('exit_code')))}"
        if gate.get("judged", True)
        else "not judged"
    )


def _format_gates(run: Run) -> list[str]:
    rows, judged = run.result.get("gates"), run.landing.get("gate")
    gates = [one for one in rows if isinstance(one, dict)] if isinstance(rows, list | tuple) else []
    detail = str(judged.get("detail") or "") if isinstance(judged, Mapping) else ""
    landing = [f"- Gates of the whole change: {format_code(detail)}"] if detail else []
    if not gates:
        return landing or ["- Gates: none, the change was not tested"]
    lines = [f"- Gate {format_code(str(one.get('name')))}: " + _format_state(one) for one in gates[:_GATES]]
    more = len(gates) - _GATES
    return [*lines, *([f"- and {more} more gates"] if more > 0 else []), *landing]


def _format_proof(run: str, *, has: bool) -> list[str]:
    if not has:
        return []
    return [
        "The receipt is signed by the node that did the work. The owner of the fleet exports it, and "
        "anybody who got the fleet's public keys from that owner can verify it:",
        "",
        f"    pancode receipt export {run} > receipt.json",
        "    pancode receipt verify receipt.json --keys keys.json",
    ]


class Forges(Protocol):
    """Port to forges and the user's settings for them. A call may take seconds and cannot be interrupted."""

    def hosts(self) -> Mapping[str, ForgeAccess]:
        """Return the forges' settings by host, as the files contain them now. Raises ConfigError."""

    def repository(self, project: str, remote: str) -> RemoteRepository:
        """Return the repository to which this remote pushes. Raises NotFoundError if the remote does not
        exist, UsageError if it is not on a forge."""

    def base(self, project: str) -> str:
        """Return the repository, `OWNER/NAME`, to which pull requests of this project belong, as the user has
        answered; empty: not answered."""

    def check(self, place: ForgePlace) -> None:
        """Read the repository from the forge, to find errors before anything is pushed. Raises as `open`."""

    def open(self, place: ForgePlace, wanted: PullRequest) -> OpenedPull:
        """Open a pull request. Idempotent: if one is open for this branch, return that. Raises ConfigError,
        RefusedError, NotFoundError or UnavailableError, depending on the forge's answer, with the fix."""


def find_place(forges: Forges, run: Run, remote: str, kind: ForgeKind | None) -> ForgePlace:
    """Return where a pull request of this run would be opened. Raises errors of the remote and settings."""
    project = run.project or ""
    return with_base(place_of(forges.repository(project, remote), forges.hosts(), kind), forges.base(project))


def must_be_possible(
    forges: Forges, run: Run, remote: str, kind: ForgeKind | None, follow: bool = False
) -> None:
    """Raise the errors that are known before a push: no such remote, an unknown forge, no token, a forge that
    does not answer or does not have the repository, or one that cannot be followed."""
    place = find_place(forges, run, remote, kind)
    if follow:
        must_be_readable(place.kind)
    forges.check(place)


def open_pull_request(core: Core, forges: Forges, run: Run, request: PullAsked) -> PullRequestShape:
    """Open a pull request. WorkspaceError if the run has not landed; also `Forges` errors. Takes no lock."""
    if run.project is None or (run.landed is None and run.landing.get("status") != NOTHING):
        fix = f"pancode land {run.id} --push {request.remote} {request.branch} --pull-request"
        raise WorkspaceError(f"{run.id} has not landed", why=run.reason, fix=fix, code="not_landed")
    place = find_place(forges, run, request.remote, request.kind)
    if request.follow:
        must_be_readable(place.kind)
    with core.ports.ledger.transaction() as tx:
        usage = usage_of(usage_of_run(tx, run) or {})
        # The task of the first run is the one that the user wrote, and not an answer.
        request = replace(request, message=message_of(chain_of(tx, run)[0], request.message))
    cost = f"{format_usd(usage['cost_usd'])} ({usage['cost_source']})" if usage["cost_usd"] else "unknown"
    opened = forges.open(place, pull_request(run, request, cost))
    if opened.fresh:
        with unit_of_work(core) as work:
            work.tell(run.id, "land", f"pull request {opened.url}", "opened", request.by)
            work.audit("land", "info", "pull request opened", run.id, by=request.by, url=opened.url)
    return {
        "run": run.id,
        "url": opened.url,
        "number": opened.number,
        "forge": place.kind.value,
        "repository": name_repository(place.target),
        "branch": request.branch,
        "base": opened.base,
        "fresh": opened.fresh,
    }
