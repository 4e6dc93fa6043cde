"""`pancode sessions`: which there are, all of one, come back to it, end it."""

from __future__ import annotations

from typing import Annotated, Any

from pancode.cli.commands import Commands
from pancode.cli.face import who
from pancode.cli.follow import rest
from pancode.cli.params import Json, Run, option
from pancode.cli.sessions.chat import attach
from pancode.cli.sessions.talk import lost_turn, spent_in_all
from pancode.cli.terminal import Columns, listing, safe, short_time, usd
from pancode.client import path_of
from pancode.plain import clip, counted

app = Commands()
TITLE = 40


@app.group("sessions", "pancode sessions", "pancode sessions show last", default="ls")
def _group() -> None:
    """The sessions: agents that you talk with, which stay when you leave."""


_COLUMNS: Columns = {
    "SESSION": "session",
    "STATE": "state",
    "AGENT": "agent",
    "NODE": lambda row: row["node"] or "-",
    "TURNS": lambda row: str(sum(one["turns"] for one in row["sittings"])),
    "COST": lambda row: usd(row["usage"]["cost_usd"]),
    "LEFT": lambda row: "-" if row["money"]["left_usd"] is None else usd(row["money"]["left_usd"]),
    "SINCE": lambda row: short_time(row["changed_at"]),
    "ABOUT": lambda row: clip(row["title"], TITLE),
}


@_group.verb("ls", "pancode sessions ls", "pancode sessions --json")
def ls(
    *,
    number: Annotated[int, option("Show at most this many.", "-n", "--number", min=1, max=1_000)] = 20,
    face: Json,
) -> None:
    """The newest sessions, and what each does now."""
    answer = face.client().get("/v1/sessions", limit=number)
    face.show(answer, lambda: listing(answer["sessions"], _COLUMNS, "no sessions; begin one: pancode chat"))


@_group.verb("show", "pancode sessions show last")
def show(run: Run, *, face: Json) -> None:
    """All of a session: its state, its sittings, what it cost, what it asks."""
    answer = face.client().get(path_of("sessions", run))
    face.show(answer, lambda: _shown(answer))


def _shown(one: dict[str, Any]) -> str:
    cap = f"; a sitting costs {usd(one['money']['sitting_usd'])} at most" if one["takes_turns"] else ""
    lines = [f"{one['session']}  {one['state']}  {safe(one['reason'])}", f"  {safe(one['title'])}"]
    model = f", {safe(one['model'])}" if one["model"] else ""
    lines.append(
        f"  {safe(one['agent'])} on {safe(one['node'] or 'no machine yet')}, {one['runtime']}{model}"
    )
    lines.append(f"  {spent_in_all(one)}{cap}; begun by {safe(one['created_by'])}")
    if one["waiting"]:
        lines.append(f"  {counted(one['waiting'], 'message')} that no turn has got")
    for sitting in one["sittings"]:
        change = f", commit {sitting['commit'][:12]}" if sitting["commit"] else ""
        end = sitting["outcome"] or sitting["state"]
        lines.append(f"  sitting {sitting['run']}  {counted(sitting['turns'], 'turn')}, {end}{change}")
    if one["state"] == "turn lost":
        lines.append(f"  {lost_turn(one)}")
    if one["asks"]:
        lines.append(f"  it asks: {safe(one['asks']['words'])}\n    {one['asks']['command']}")
    lines.append(f"  come back: pancode attach {one['session']}   change: pancode runs diff {one['run']}")
    return "\n".join(lines) + "\n"


_group.verb("attach", "pancode sessions attach last")(attach)


@_group.verb("rest", "pancode sessions rest last")
def let_rest(run: Run, *, face: Json) -> None:
    """Let a session rest behind its turn at work, and wait for it: its slot is free, its change is committed.

    It goes on with your next words.
    """
    client = face.client()
    done = rest(face, client, client.get(path_of("sessions", run))["run"])
    face.show(
        done, lambda: f"{done['session']}  {done['state']}  change: pancode runs diff {done['session']}\n"
    )


@_group.verb("end", "pancode sessions end last")
def end(run: Run, *, face: Json) -> None:
    """End a session: the turn at work is cancelled, its program ends, and what it made is kept.

    `pancode land` lands its change. Words still go on with it: pancode attach.
    """
    done = face.client().post(path_of("sessions", run, "end"), {"by": who()})
    face.show(done, lambda: f"{done['session']}  ends; look: pancode sessions show {done['session']}\n")
