"""`pancode admin gc`: what old runs take of the disks, and lets go of it."""

from __future__ import annotations

from typing import Annotated

from pancode.fleet.answers import COLLECT, CollectAnswer, RoomRow
from pancode.interfaces.cli.commands import verb
from pancode.interfaces.cli.output import find_user
from pancode.interfaces.cli.parameters import Json, option
from pancode.interfaces.cli.terminal import RowColumns, escape_line, format_rows
from pancode.kernel.errors import ExitCode
from pancode.kernel.formatting import count_noun, format_bytes

MOST_S = 3_600.0
"""How long the call may take: git may have much to pack."""


@verb("admin gc", "pancode admin gc --dry-run", "pancode admin gc")
def gc(
    *,
    dry_run: Annotated[
        bool, option("Only show what would go, and what fills the disks.", "--dry-run")
    ] = False,
    face: Json,
) -> int:
    """Let go of the commits and logs of old runs that nobody needs. Receipts and records stay.

    The coordinator does so by itself once a day. How old a run must be says `pancode config show keep`.
    A change that nobody has landed or dropped stays, and so does what a session, a workspace or a workflow
    stands on. Nodes let go by themselves of what was not used for long (nodes.keep).
    """
    answer = face.client().post(COLLECT, {"dry_run": dry_run, "by": find_user()}, MOST_S)
    return face.end(ExitCode.DONE, answer, lambda: _told(answer, dry_run))


def _told(answer: CollectAnswer, dry_run: bool) -> str:
    commits, logs = count_noun(answer["changes"], "run"), count_noun(answer["logs"], "run")
    words = "would go" if dry_run else "are gone"
    text = f"the commits of {commits} and the logs of {logs} {words}"
    text += "\n" if dry_run else f"; {format_bytes(answer['freed'])} are free now\n"
    if answer["changes"] and not dry_run:
        text += "the commits give their room back two weeks after they were made\n"
    for row in answer["kept"]:
        text += f"  {count_noun(row['runs'], 'run')}: {escape_line(row['why'])}\n"
    if answer["young"]:
        text += f"  {count_noun(answer['young'], 'run')}: not old enough yet: pancode config show keep\n"
    return text + "\n" + format_rows(answer["room"], _ROOM, "nothing is measured yet")


_ROOM: RowColumns[RoomRow] = {
    "MACHINE": lambda row: row["node"] or "coordinator",
    "WHAT": "what",
    "SIZE": lambda row: format_bytes(row["bytes"]),
}
