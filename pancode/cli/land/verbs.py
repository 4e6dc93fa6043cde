"""`pancode land`: the change of a run into your files or onto a branch; the queue; all of them."""

from __future__ import annotations

from typing import Annotated, Any

from typer import Argument

from pancode.cli.face import Face
from pancode.cli.land import green, landing, pulling
from pancode.cli.land.pulling import PullWanted
from pancode.cli.land.pushing import check_push, push
from pancode.cli.land.settling import settle
from pancode.cli.output.render import safe, short_time
from pancode.cli.output.tables import table
from pancode.cli.parsing import completions
from pancode.cli.parsing.lazy import Commands
from pancode.cli.parsing.params import Json, option
from pancode.client import Client
from pancode.code.landing.forge import ForgeKind
from pancode.errors import ExitCode, UsageError
from pancode.life.land_values import How

app = Commands()


@app.verb(
    "land",
    "pancode land last",
    "pancode land r-zd43pq --branch agent/export --how rebase",
    "pancode land --all-green --yes",
    "pancode land last --push origin agent/export",
    "pancode land last --push origin agent/export --pull-request",
    "pancode runs land last",
)
def land(
    *,
    run: Annotated[
        str | None,
        Argument(autocompletion=completions.runs, help="Without it: the landings that wait, in order."),
    ] = None,
    no_gates: Annotated[bool, option("Land without the gates on the merged tree.", "--no-gates")] = False,
    anyway: Annotated[bool, option("Land a run even if it did not end as done.", "--anyway")] = False,
    with_commands: Annotated[
        bool, option("Say yes to files that decide what runs next, such as .github/.", "--with-commands")
    ] = False,
    with_secret: Annotated[bool, option("Say yes to a file with a run's secret.", "--with-secret")] = False,
    branch: Annotated[
        str | None, option("Make commits on this branch, which may be new; your files stay.", "NAME")
    ] = None,
    how: Annotated[
        How | None, option("How to make the commits on the branch (default: the setting land.how).", "--how")
    ] = None,
    message: Annotated[
        str | None, option("Message of the commit (default: the run's task).", "-m", "--message", "TEXT")
    ] = None,
    push_to: Annotated[
        tuple[str, str] | None,
        option("Land on this branch, and push it with your own git.", "--push", "REMOTE BRANCH"),
    ] = None,
    pull_request: Annotated[bool, option("Open a pull request; needs a token.", "--pull-request")] = False,
    forge: Annotated[ForgeKind | None, option("Kind of forge (default: forge.HOST.kind).", "--forge")] = None,
    all_green: Annotated[bool, option("Land every run here whose gates passed.", "--all-green")] = False,
    yes: Annotated[bool, option("Do not ask before --all-green lands them.", "--yes", "-y")] = False,
    resolve: Annotated[
        bool,
        option("Let an agent settle the conflict in a new run, and land that when it passes.", "--resolve"),
    ] = False,
    detach: Annotated[bool, option("Do not wait for the end.", "--detach/--wait")] = False,
    face: Json,
) -> int:
    """Merge a run's change into your files; on a conflict, or Ctrl-C, your files stay as they are.

    Landings of one repository wait for each other, also over a restart of the coordinator.
    """
    _check_resolve(push_to, resolve=resolve, all_green=all_green)
    check_push(push_to)
    pulling.check(push_to, forge, wanted=pull_request, several=all_green or run is None)
    branch = _branch(branch, push_to, detach=detach)
    _check_commit(branch, message, how)
    asked: dict[str, Any] = {"anyway": anyway, "with_commands": with_commands, "with_secret": with_secret}
    asked |= {"branch": branch, "message": message, "how": how.value if how else None}
    body = {"gates": not no_gates, **{name: value for name, value in asked.items() if value}}
    if all_green:
        return _all(face, run, body, push_to, yes=yes)
    if run is None:
        return _queue(face, body)
    if resolve:
        return settle(face, run, body, detach=detach)
    pull = PullWanted(message or "", forge) if pull_request else None
    return _one(face, run, {**body, "wait": not detach}, push_to, pull)


def _branch(named: str | None, push_to: tuple[str, str] | None, *, detach: bool) -> str | None:
    """The branch on which it lands; UsageError where two are named."""
    if push_to is None:
        return named
    if named not in (None, push_to[1]) or detach:
        what = "--push names the branch itself, and waits for the landing"
        raise UsageError(what, fix=f"--push {push_to[0]} {push_to[1]}")
    return push_to[1]


def _check_resolve(push_to: tuple[str, str] | None, *, resolve: bool, all_green: bool) -> None:
    if resolve and (all_green or push_to is not None):
        what = "--all-green" if all_green else "--push"
        fix = "pancode land RUN --resolve; when it has landed: pancode land RUN --push REMOTE BRANCH"
        raise UsageError(f"--resolve and {what} do not go together", fix=fix)


def _check_commit(branch: str | None, message: str | None, how: How | None) -> None:
    if not branch and (message or how):
        flag, words = ("-m", "the message of a commit") if message else ("--how", "about commits")
        raise UsageError(f"{flag} is {words}, and no commit is made", fix="add --branch NAME")


def _all(
    face: Face, run: str | None, body: dict[str, Any], push_to: tuple[str, str] | None, *, yes: bool
) -> int:
    if run is not None:
        raise UsageError("--all-green names the runs itself", fix=f"pancode land {run}")
    status, landed = green.land_all(face, body, yes=yes)
    if push_to is not None and landed:
        push(face, *push_to, {"status": "landed"})
    return status


def _queue(face: Face, body: dict[str, Any]) -> int:
    if body != {"gates": True}:
        raise UsageError("name the run that is to be landed", fix="pancode land last")
    answer = face.client().get("/v1/landings")
    face.show(answer, lambda: _listed(answer["landings"]))
    return ExitCode.DONE


def _one(
    face: Face, run: str, body: dict[str, Any], push_to: tuple[str, str] | None, pull: PullWanted | None
) -> int:
    client = face.client()
    if body["wait"]:
        _tell_place(face, client, run)
    answer = landing.land(face, client, run, body)
    if push_to is not None:
        answer = push(face, *push_to, answer)
    if pull is not None:
        answer = pulling.pull_request(face, client, answer, pull)
    face.show(answer, lambda: landing.landing(answer) + pulling.shown(answer))
    return ExitCode.INTERRUPTED if answer["status"] == "called off" else ExitCode.DONE


def _tell_place(face: Face, client: Client, run: str) -> None:
    """Those of the same repository come first."""
    rows = client.get("/v1/landings", before=run)["landings"]
    if rows:
        names = ", ".join(row["run"] for row in rows[:5])
        face.note(f"  place {len(rows) + 1} in the queue of this repository, after {names}")


def _listed(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return "no landing waits\n"
    cells = [
        (
            row["run"],
            "now" if row["under_way"] else str(row["place"] + 1),
            safe(row["project"] or ""),
            f"{safe(row['branch'])} ({row['how']})" if row["branch"] else "files",
            safe(row["by"]),
            short_time(row["since"]),
        )
        for row in rows
    ]
    return table(("RUN", "PLACE", "REPOSITORY", "INTO", "BY", "AT"), cells)
