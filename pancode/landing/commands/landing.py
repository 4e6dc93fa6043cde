"""`pancode land`: lands a run's change in files or on a branch, pushes it, and opens a pull request."""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any

from pancode.git.forge_rules import ForgeKind
from pancode.interfaces.cli import completions, follow
from pancode.interfaces.cli import landings as landing
from pancode.interfaces.cli.copied_checkout import own_checkout, travel_now
from pancode.interfaces.cli.output import Face, exit_of, find_user
from pancode.interfaces.cli.parameters import Anyway, Argument, Json, WithCommands, WithSecret, option, verb
from pancode.interfaces.cli.terminal import Columns, clip_columns, escape_line, format_rows
from pancode.interfaces.client.caller import folder_here, read_author, work_folder
from pancode.interfaces.client.client import Client
from pancode.interfaces.client.remote.place import remote_of
from pancode.kernel.errors import ApiError, ExitCode, UsageError
from pancode.kernel.formatting import count_noun
from pancode.kernel.states import How
from pancode.landing.answers import GREEN, LANDINGS, PULL_REQUEST, RESOLVE
from pancode.reports.answers import NOW
from pancode.runs.answers import BRIEF, CALL_OFF, LAND, NeedGroup
from pancode.runs.commands.named_runs import find_run

_WITHOUT_GATE = "Leave out this gate, given as its command; may be repeated."
PULL_S = 180.0
"""Seconds that a pull request may take; more than all requests to a forge may take together."""
_PUSH_TO = "Land on this branch, and push it with your own git."
_RESOLVE = "Let an agent resolve the conflict in a new run; land it if its gates pass."
_BRANCH = "Commit to this branch, new or not; your files do not change."
_FOLLOW = "Send failed checks and reviews of the pull request to the agent, and push its results."
_HOW = "How to make the commits on the branch (default: the setting land.how)."


@dataclass(frozen=True, slots=True)
class PullWanted:
    """A pull request to open. `message`: the commit's message; `forge` None: from the settings. `follow`:
    send failed checks and remarks to the agent."""

    message: str = ""
    forge: ForgeKind | None = None
    follow: bool = False


def pull_request(
    face: Face, client: Client, report: Mapping[str, Any], wanted: PullWanted
) -> Mapping[str, Any]:
    """Open the pull request and return the report with it. Raises ApiError; landing and push remain done."""
    pushed = report.get("pushed")
    if pushed is None:
        return report
    body = {"by": find_user(), **pushed, "message": wanted.message, "forge": wanted.forge}
    body |= {"follow": True} if wanted.follow else {}
    face.note("  opening the pull request")
    try:
        made = client.post(PULL_REQUEST.at(report["run"]), body, PULL_S)
    except ApiError as error:
        again = f"pancode land {report['run']} --push {pushed['remote']} {pushed['branch']} --pull-request"
        again += " --follow" if wanted.follow else ""
        error.because(f"the change has landed on {escape_line(pushed['branch'])} and is pushed; both remain")
        error.fix = "; then: ".join(filter(None, (error.fix, again)))
        raise
    return {**report, "pull_request": made}


def pull_line(report: Mapping[str, Any]) -> str:
    """Return the line about the pull request, below the landing's line."""
    made = report.get("pull_request")
    if made is None:
        return ""
    return f"  pull request{'' if made['fresh'] else ' (open already)'}: {escape_line(made['url'])}\n"


def push_branch(face: Face, remote: str, branch: str, report: Mapping[str, Any]) -> Mapping[str, Any]:
    """Push the landed branch without force. WorkspaceError if git refuses."""
    if report["status"] not in follow.FINE:
        return report
    tree = report.get("tree") or folder_here()
    ref = f"refs/heads/{branch}"
    face.note(f"  pushing {escape_line(branch)} to {escape_line(remote)}")
    done = subprocess.run(
        ["git", "-C", tree, "push", "--porcelain", "--", remote, f"{ref}:{ref}"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env={**os.environ, "LC_ALL": "C"},
        check=False,
    )
    if done.returncode:
        from pancode.git.remotes import not_pushed_error  # only after a failed push

        output, err = done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")
        raise not_pushed_error(remote, branch, output, err)
    return {**report, "pushed": {"remote": remote, "branch": branch}}


def finish_landing(face: Face, run: str, body: dict[str, Any], *, detach: bool) -> int:
    """Dispatch a run that resolves the conflict; return its exit status, or that of its failed landing."""

    def ask(name: str) -> Any:
        return follow.post_with_progress(face, client, RESOLVE.at(name), {"by": find_user(), **body})

    client = face.client(works=True)
    answer = follow.act_when_suspended(face, client, run, ask)
    face.warn(answer.pop("warnings", []))
    if detach:
        face.show(answer, lambda: f"{answer['run']}  {answer['state']}  resolves the conflict of {run}\n")
        return ExitCode.DONE
    client = face.client()
    ended = follow.wait_for_run(face, client, answer["run"])
    whole = follow.wait_for_landing(face, client, ended["run"]) if ended is not None else None
    if whole is None:
        return ExitCode.DETACHED
    face.show(whole, lambda: follow.format_summary(whole))
    follow.unless_landed(whole)
    return exit_of(whole["outcome"])


def land_all(face: Face, body: dict[str, Any], *, approved: bool) -> tuple[ExitCode, bool]:
    """Queue the landings of all runs that passed, in the order in which they ended, and show how each ends.

    Return the exit status, and whether any change has landed.
    """
    client = face.client()
    rows = client.get(GREEN, folder=work_folder())["runs"]
    if not rows:
        none = "nothing to land: no unlanded run here is done with its gates passed\n"
        face.show({"landings": []}, lambda: none)
        return ExitCode.DONE, False
    where = f"branch {body['branch']}" if body.get("branch") else "your files"
    body |= {"author": read_author()} if body.get("branch") else {}
    head = f"{count_noun(len(rows), 'run')} to land in {where}:\n"
    for row in rows:
        files, task = len(row["files_changed"]), clip_columns(escape_line(row["task"]), 60)
        head += f"  {row['run']}  {count_noun(files, 'file')}  {task}\n"
    if approved or not face.can_ask():
        face.note(head.rstrip())
        head = ""
    question = f"{head}Land these changes, one after the other?"
    if not approved and not face.confirm(question, "pancode land --all-green --yes"):
        return ExitCode.INTERRUPTED, False
    ends, left = list[dict[str, Any]](), [row["run"] for row in rows]
    refused = dict[str, dict[str, Any]]()  # report landings that were refused before they were queued
    try:
        for run in left:
            try:
                client.post(LAND.at(run), {"by": find_user(), **body, "wait": False})
            except ApiError as error:
                words = {"why": f"{error}: {error.why}", "fix": error.fix}
                refused[run] = {"status": error.code.replace("_", " "), **words}
        while left:
            end = {"run": left[0], **(refused.get(left[0]) or _end_of(client, left[0]))}
            left.pop(0)
            ends.append(end)
            if not face.as_json:
                face.show_result(end, landing.landing_line)
    except KeyboardInterrupt:
        face.note("\ncanceling the landings that have not begun ...")
        for run in left:
            client.post(CALL_OFF.at(run), {"by": find_user()})
            ends.append({"run": run, "status": "called off", "why": "Ctrl-C"})
    counts = Counter(escape_line(str(one.get("status", "unknown"))) for one in ends)
    summary = ", ".join(f"{n} {status}" for status, n in counts.items())
    face.show({"landings": ends}, lambda: f"{count_noun(len(ends), 'run')}: {summary}\n")
    fine = [one["status"] in follow.FINE for one in ends]
    return ExitCode.DONE if all(fine) else ExitCode.PARTIAL, any(fine)


def _end_of(client: Client, run: str) -> Mapping[str, Any]:
    while True:
        landing = client.get(BRIEF.at(run))["landing"]
        if landing is None or landing["status"] != "waiting":
            follow.add_tracker(client, run, landing)
            return landing or {}
        time.sleep(follow.LAND_LOOK_S)


@verb(
    "land",
    "last",
    "r-zd43pq --branch agent/export --how rebase",
    "--all-green --yes",
    "last --without-gate 'pytset -q'",
    "last --push origin agent/export",
    "last --push origin agent/export --pull-request",
    "last --push origin agent/export --pull-request --follow",
    "SHOP-12",
)
def land(
    *,
    run: Annotated[
        str | None,
        Argument(
            autocompletion=completions.complete_runs,
            help="The run to land; without it, list the pending landings.",
        ),
    ] = None,
    no_gates: Annotated[bool, option("Land without the gates on the merged tree.")] = False,
    without_gate: Annotated[list[str] | None, option(_WITHOUT_GATE, "CMD")] = None,
    anyway: Anyway = False,
    with_commands: WithCommands = False,
    with_secret: WithSecret = False,
    branch: Annotated[str | None, option(_BRANCH, "NAME")] = None,
    how: Annotated[How | None, option(_HOW)] = None,
    message: Annotated[str | None, option("Message of the commit (default: the run's task).", "TEXT")] = None,
    push_to: Annotated[tuple[str, str] | None, option(_PUSH_TO, "--push", "REMOTE BRANCH")] = None,
    pull_request: Annotated[bool, option("Open a pull request, which needs a token.")] = False,
    follow: Annotated[bool, option(_FOLLOW)] = False,
    forge: Annotated[ForgeKind | None, option("Kind of forge (default: forge.HOST.kind).")] = None,
    all_green: Annotated[bool, option("Land every run here whose gates passed.")] = False,
    yes: Annotated[bool, option("Do not ask before --all-green lands the changes.")] = False,
    resolve: Annotated[bool, option(_RESOLVE)] = False,
    detach: Annotated[bool, option("Do not wait for the end of the landing.", "--detach/--wait")] = False,
    face: Json,
) -> int:
    """Merge a run's change into your files; on a conflict or Ctrl-C, your files do not change.

    Your files get the change without a commit, unless --branch or --push names a branch. The gates of every
    run that contributed to the change must pass on the result. For a session, the whole change is landed: the
    session finishes its turn and is suspended first; your next message continues it. Landings of one
    repository wait for each other, even across a restart of the coordinator.
    """
    pulls = pull_request or (None if follow else False)
    check_options(run, push_to, forge, resolve=resolve, pulls=pulls, all_green=all_green)
    branch = _choose_branch(branch, push_to, "-m" if message else "--how" if how else "", detach=detach)
    choices: dict[str, Any] = {"anyway": anyway, "without_gates": without_gate, "message": message}
    choices |= {"branch": branch, "with_commands": with_commands, "with_secret": with_secret, "how": how}
    body = {"gates": not no_gates, **{name: value for name, value in choices.items() if value}}
    if all_green:
        travel_now()
        status, landed = land_all(face, body, approved=yes)
        if landed:
            travel_now()
        if push_to is not None and landed:
            push_branch(face, *push_to, {"status": "landed"})
        return status
    if run is None:
        if body != {"gates": True}:
            raise UsageError("RUN is required", fix="name a run, such as last; to list runs: pancode runs")
        return show_landings(face)
    if resolve:
        return finish_landing(face, find_run(face.client(), run), body, detach=detach)
    pull = PullWanted(message or "", forge, follow) if pull_request else None
    if pull is not None and push_to is not None:
        body |= {"pull_to": push_to[0], "forge": forge, **({"follow": True} if follow else {})}
    return _land_one(face, run, {**body, "wait": not detach}, push_to, pull)


def list_waiting(client: Client) -> list[str]:
    """Return the runs whose landing waits or is under way."""
    return [row["run"] for row in client.get(LANDINGS)["landings"]]


def show_landings(face: Face) -> int:
    """Show the waiting landings; if there are none, raise UsageError with the changes that can be landed."""
    answer, rows = face.get(LANDINGS), list[str]()
    if not answer["landings"] and not face.as_json:
        with suppress(ApiError):  # outside a repository, no change can be landed
            here, needs = f"{work_folder(files=False)}/", face.client().get(NOW).needs
            changes = [one for one in needs if one.group is NeedGroup.TO_LAND and one.project]
            rows = [one.id for one in changes if here.startswith(f"{one.project}/")]
    if rows:
        names = ", ".join(rows[:5])
        why = f"{count_noun(len(rows), 'change')} here can be landed: {names}"
        fix = f"pancode land {rows[0]}"
        raise UsageError("RUN is required: no landing is waiting", why=why, fix=fix)
    face.show(answer, lambda: format_rows(answer["landings"], _QUEUED, "no landing is waiting"))
    return ExitCode.DONE


Push = tuple[str, str] | None
"""The remote, and the branch on the remote."""


def check_options(
    run: str | None,
    push_to: Push,
    forge: ForgeKind | None,
    *,
    resolve: bool,
    pulls: bool | None,
    all_green: bool,
) -> None:
    """Raise UsageError if these options cannot be combined, or if git cannot push from this machine. `pulls`:
    whether a pull request is wanted; None: only --follow is given."""
    there = remote_of(os.environ)
    if resolve and (all_green or push_to is not None):
        what = "--all-green" if all_green else "--push"
        fix = "pancode land RUN --resolve; when it has landed: pancode land RUN --push REMOTE BRANCH"
        raise UsageError(f"--resolve and {what} cannot be combined", fix=fix)
    if push_to is not None and there is not None:
        fix = there.address.by_hand(f"pancode land RUN --push {shlex.join(push_to)}")
        raise there.refuse("--push does not work from this machine: git must run in the repository", fix)
    if (forge is not None and not pulls) or pulls is None:
        what = "--follow" if pulls is None else "--forge"
        raise UsageError(f"{what} requires --pull-request", fix="add --pull-request")
    if pulls and push_to is None:
        raise UsageError("--pull-request requires --push", fix="add --push REMOTE BRANCH")
    if pulls and (all_green or run is None):
        fix = "pancode land RUN --push REMOTE BRANCH --pull-request"
        raise UsageError("--pull-request requires exactly one run", fix=fix)
    if all_green and run is not None:
        raise UsageError("--all-green selects the runs itself", fix=f"pancode land {run}")


def _choose_branch(branch: str | None, push_to: Push, commits: str, *, detach: bool) -> str | None:
    """Return the branch to land on, or None for the user's files. UsageError if options do not fit together.

    `commits`: the given option that is only valid with a commit, or empty.
    """
    if push_to is not None and (branch not in (None, push_to[1]) or detach):
        what = "--push sets the branch itself, and must wait for the landing"
        raise UsageError(what, fix=f"--push {push_to[0]} {push_to[1]}")
    if push_to is None and not branch and commits:
        what = f"{commits} requires --branch: without it, no commit is made"
        raise UsageError(what, fix="add --branch NAME")
    return branch if push_to is None else push_to[1]


def _land_one(face: Face, run: str, body: dict[str, Any], push_to: Push, pull: PullWanted | None) -> int:
    client = face.client()
    run = find_run(client, run)
    body |= {"author": read_author()} if body.get("branch") else {}
    if body["wait"]:
        # landings of the same repository come before this one
        rows = client.get(LANDINGS, before=run)["landings"]
        if rows:
            names = ", ".join(row["run"] for row in rows[:5])
            face.note(f"  place {len(rows) + 1} in the queue of this repository, after {names}")
    mine = own_checkout(client, run)
    if mine is not None:
        mine.travel()  # the change is merged with the files as they are now
    try:
        answer = landing.land_and_wait(face, client, run, body)
    except ApiError as error:
        if error.code != "fork" or not face.can_ask():
            raise
        from pancode.git.remotes import PULLS_TO  # only for a fork

        parent, fork = str(error.details["parent"]), str(error.details["fork"])
        question = f"{error}\nOpen it in {parent}? Otherwise it is opened in {fork}."
        chosen = parent if face.confirm(question, error.fix) else fork
        subprocess.run(["git", "config", PULLS_TO, chosen], check=True)  # so that it is asked once
        answer = landing.land_and_wait(face, client, run, body)
    if mine is not None and answer["status"] in follow.FINE:
        mine.travel(lands=True)
        if answer.get("made"):
            mine.branch_home(str(answer["branch"]))
    report: Mapping[str, Any] = answer
    if push_to is not None:
        report = push_branch(face, *push_to, report)
    if pull is not None:
        report = pull_request(face, client, report, pull)
    face.show(report, lambda: landing.format_landing(report) + pull_line(report))
    return ExitCode.INTERRUPTED if answer["status"] == "called off" else ExitCode.DONE


_QUEUED: Columns = {
    **{"RUN": "run", "PLACE": lambda row: "now" if row["under_way"] else row["place"] + 1},
    "REPOSITORY": "project",
    "INTO": lambda row: f"{row['branch']} ({row['how']})" if row["branch"] else "files",
    **{"BY": "by", "AT": "since"},
}
