"""`pancode inbox pulls`: checks and reviews of pull requests that PanCode opened, and the work on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pancode.interfaces.cli.parameters import Argument, Json, option, verb
from pancode.interfaces.cli.terminal import RowColumns, escape_line, escape_lines, format_rows, short_time
from pancode.kernel.errors import ExitCode, NotFoundError, UsageError
from pancode.kernel.formatting import escape_text
from pancode.pull_requests.answers import PULL, PULLS, WatchedPullShape

_PULL = "The pull request: its id, number or address, or its run; without it, list all."
_FOLLOW = "Send failed checks and remarks of named people to the agent, up to three times; or stop it."


@verb("inbox pulls", "", "7", "7 --follow", "7 --done")
def pulls(
    *,
    pull: Annotated[str | None, Argument(help=_PULL)] = None,
    follow: Annotated[bool | None, option(_FOLLOW, "--follow/--no-follow")] = None,
    done: Annotated[bool, option("Settle its items without an answer.", "--done")] = False,
    forget: Annotated[bool, option("Stop watching the pull request; it stays open.", "--forget")] = False,
    face: Json,
) -> int:
    """List the pull requests that PanCode has opened and watches: checks, reviews and comments.

    With --follow, failed checks of the newest commit and remarks of the project's named people
    (`pancode project add --pull-person LOGIN`) are sent to the agent that made the change, and its result is
    pushed to the same branch after its gates. What other people write never starts work.
    """
    changes = follow is not None or done or forget
    answer = face.get(PULLS)
    if pull is None:
        if changes:
            raise UsageError("PULL is required", fix="pancode inbox pulls; then name one of them")
        none = "no pull request is watched; open one: pancode land RUN --push REMOTE BRANCH --pull-request"
        face.show(answer, lambda: format_rows(answer["pulls"], _COLUMNS, none))
        return ExitCode.DONE
    shape = _find_pull(answer["pulls"], pull)
    if changes:
        shape = face.post(PULL.at(shape["id"]), {"follow": follow, "done": done, "forget": forget})
    face.show(shape, lambda: _format_pull(shape))
    return ExitCode.DONE


def _find_pull(pulls: Sequence[WatchedPullShape], text: str) -> WatchedPullShape:
    """Return the pull request that the user names. NotFoundError, also if the text names several."""
    word = text.removeprefix("#")
    found = [one for one in pulls if word in (one["id"], one["url"], one["run"], str(one["number"]))]
    if len(found) != 1:
        what = f"watched pull request {text[:80]} {'is not unique' if found else 'not found'}"
        fix = "pancode inbox pulls; opened again: pancode land RUN --push REMOTE BRANCH --pull-request"
        raise NotFoundError(what, fix=fix)
    return found[0]


def _format_pull(one: WatchedPullShape) -> str:
    """Format the pull request; the texts of others are indented, so that they cannot imitate other lines."""
    lines = [f"{one['id']}  {one['state']}  {one['url']}", f"  branch   {one['branch']}, run {one['run']}"]
    follows = f"yes, {one['rounds']} messages sent since your last word" if one["follow"] else "no"
    lines.append(f"  follow   {follows}")
    lines += [f"  working  {one['working']}"] if one["working"] else []
    lines += [f"  trouble  {one['trouble']}"] if one["trouble"] else []
    text = escape_lines(lines)
    for item in one["items"]:
        sent = " (sent to the agent)" if item["sent"] else ""
        text += f"  {escape_line(item['title'])}{sent}\n"
        text += f"{escape_text(item['text'], '      ')}\n" if item["text"] else ""
    return text


_COLUMNS: RowColumns[WatchedPullShape] = {
    "ID": "id",
    "STATE": "state",
    "FOLLOW": lambda row: "yes" if row["follow"] else "no",
    "ITEMS": lambda row: sum(not one["sent"] for one in row["items"]),
    "READ (UTC)": lambda row: short_time(row["looked_at"]) if row["looked_at"] else "not yet",
    "RUN": "working",
    "URL": "url",
    "TROUBLE": "trouble",
}
