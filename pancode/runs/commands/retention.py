"""`pancode admin gc`: shows and frees the disk space that old runs use."""

from __future__ import annotations

from typing import Annotated

from pancode.fleet.answers import COLLECT, RoomRow
from pancode.interfaces.cli.parameters import Json, find_user, option, verb
from pancode.interfaces.cli.terminal import RowColumns, escape_line, format_rows
from pancode.kernel.errors import ExitCode
from pancode.kernel.formatting import count_noun, format_bytes

MOST_S = 3_600.0
"""The timeout of the call: git may have much to pack."""


@verb("admin gc", "pancode admin gc --dry-run", "pancode admin gc")
def gc(
    *,
    dry_run: Annotated[
        bool, option("Only show what would be deleted, and what uses the disks.", "--dry-run")
    ] = False,
    face: Json,
) -> int:
    """Delete commits and logs of old runs that are no longer needed. Receipts and records remain.

    The coordinator also does this once a day. `pancode config show keep` shows how old a run must be. A
    change that was neither landed nor dropped remains, and so does what a session, a workspace or a workflow
    is based on. Nodes delete files themselves that have not been used for long (nodes.keep).
    """
    answer = face.client().post(COLLECT, {"dry_run": dry_run, "by": find_user()}, MOST_S)
    commits, logs = count_noun(answer["changes"], "run"), count_noun(answer["logs"], "run")
    words = "would go" if dry_run else "are gone"
    text = f"the commits of {commits} and the logs of {logs} {words}"
    text += "\n" if dry_run else f"; freed {format_bytes(answer['freed'])}\n"
    if answer["changes"] and not dry_run:
        text += "the space of the commits is freed two weeks after they were made\n"
    for row in answer["kept"]:
        text += f"  {count_noun(row['runs'], 'run')}: {escape_line(row['why'])}\n"
    if answer["young"]:
        text += f"  {count_noun(answer['young'], 'run')}: not old enough, see: pancode config show keep\n"
    text += "\n" + format_rows(answer["room"], _ROOM, "no disk usage measured yet")
    return face.end(ExitCode.DONE, answer, lambda: text)


_ROOM: RowColumns[RoomRow] = {
    **{"MACHINE": lambda row: row["node"] or "coordinator", "WHAT": "what"},
    "SIZE": lambda row: format_bytes(row["bytes"]),
}
