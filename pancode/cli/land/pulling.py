"""`pancode land --pull-request`: asked for after the push; an error says what stands without it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pancode.cli.face import Face, who
from pancode.cli.output.render import safe
from pancode.client import ApiError, Client, path_of
from pancode.code.landing.forge import ForgeKind
from pancode.errors import UsageError

PULL_S = 180.0
"""Longer than all questions to a forge may take together."""


def check(push_to: tuple[str, str] | None, forge: ForgeKind | None, *, wanted: bool, several: bool) -> None:
    """UsageError where the options do not fit together."""
    if forge is not None and not wanted:
        raise UsageError("--forge is about a pull request", fix="add --pull-request")
    if wanted and push_to is None:
        raise UsageError("a pull request is about a branch that is pushed", fix="add --push REMOTE BRANCH")
    if wanted and several:
        raise UsageError(
            "--pull-request is about one run", fix="pancode land RUN --push REMOTE BRANCH --pull-request"
        )


@dataclass(frozen=True, slots=True)
class PullWanted:
    """`message` is that of the commit; `forge` None: as the settings say."""

    message: str = ""
    forge: ForgeKind | None = None


def pull_request(face: Face, client: Client, report: dict[str, Any], wanted: PullWanted) -> dict[str, Any]:
    """The report with the pull request. ApiError as the coordinator says; landing and push stand."""
    pushed = report.get("pushed")
    if pushed is None:
        return report
    kind = wanted.forge.value if wanted.forge is not None else None
    body = {"by": who(), **pushed, "message": wanted.message, "forge": kind}
    face.note("  asking the forge for a pull request")
    try:
        made = client.post(path_of("runs", report["run"], "pull-request"), body, PULL_S)
    except ApiError as error:
        again = f"pancode land {report['run']} --push {pushed['remote']} {pushed['branch']} --pull-request"
        error.because(f"the change has landed on {safe(pushed['branch'])} and is pushed; that stands")
        error.fix = "; then: ".join(filter(None, (error.fix, again)))
        raise
    return {**report, "pull_request": made}


def shown(report: dict[str, Any]) -> str:
    """The line below that of the landing."""
    made = report.get("pull_request")
    if made is None:
        return ""
    return f"  pull request{'' if made['fresh'] else ' (open already)'}: {safe(made['url'])}\n"
