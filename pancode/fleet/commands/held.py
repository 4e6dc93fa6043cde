"""`pancode fleet resume --held`: lists, starts and drops what is held since a restore."""

from __future__ import annotations

from pancode.interfaces.cli.output import Face
from pancode.interfaces.cli.terminal import RowColumns, escape_line, format_rows, short_time
from pancode.runs.restored.answers import HELD, RELEASE, HeldAnswer, HeldItemShape, ReleasedAnswer


def release_held(face: Face, names: list[str], drop: bool, everything: bool) -> None:
    """List what is held; with names or `everything`, start or drop it."""
    found = face.client().get(HELD)
    if not names and not everything:
        return face.show(found, lambda: format_held(found))
    names = [one["name"] for one in found["held"]] if everything and drop else names
    body = {"drop" if drop else "start": names, "rest": everything and not drop}
    done = face.post(RELEASE, body)
    return face.show(done, lambda: format_released(done))


def format_held(found: HeldAnswer) -> str:
    """Return what the nodes have reported, and the table of what is held."""
    if found["since"] is None:
        return "nothing is held: this fleet was not restored, or is not taken up yet\n"
    text = f"restored; the newest event of the restored ledger is of {short_time(found['since'])} (UTC)\n"
    for one in found["nodes"]:
        since = one["complete_since"]
        known = "has not answered yet" if since is None else f"has reported all since {short_time(since)}"
        text += f"  {escape_line(one['node'])}: {known}\n"
    text += format_rows(found["held"], _COLUMNS, "nothing is held any more")
    if found["held"]:
        text += "to start: pancode fleet resume --held NAME...; to drop: add --drop; for all: --all\n"
    return text


def format_released(done: ReleasedAnswer) -> str:
    """Return what was started and dropped, and how much is left."""
    parts = [
        f"{word}: {', '.join(map(escape_line, names))}"
        for word, names in (("started", done["started"]), ("dropped", done["dropped"]))
        if names
    ]
    return f"{'; '.join(parts) or 'nothing was held'}; still held: {done['left']}\n"


_COLUMNS: RowColumns[HeldItemShape] = {
    **{"NAME": "name", "KIND": "kind", "SINCE (UTC)": lambda one: short_time(one["since"])},
    **{"COST": lambda one: "?" if one["usd"] is None else f"${one['usd']}", "WHAT": "what"},
    "NODES": "nodes",
}
