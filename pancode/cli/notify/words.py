"""Waits for a delivery, and shows deliveries in words."""

from __future__ import annotations

import time
from typing import Annotated, Any

from pancode.cli.face import Face
from pancode.cli.output.render import safe, short_time
from pancode.cli.output.tables import table
from pancode.cli.parsing.params import option
from pancode.client import Client
from pancode.errors import ExitCode

PATIENCE, EVERY_S = 80, 0.5
Newest = Annotated[int, option("Show at most this many rows.", "-n", "--number", min=1, max=300)]


def awaited(face: Face, client: Client, made: dict[str, Any]) -> int:
    """Until its first try has ended; the exit status."""
    now = made
    for _ in range(PATIENCE):
        found = client.get("/v1/deliveries", target=made["target"], limit=50)["deliveries"]
        now = next((one for one in found if one["delivery"] == made["delivery"]), now)
        if now["state"] != "waiting" or now["tries"]:
            break
        time.sleep(EVERY_S)
    good = now["state"] == "sent"
    face.show(now, lambda: f"{now['target']}  {'sent' if good else 'not sent'}  {safe(now['status'])}\n")
    return ExitCode.DONE if good else ExitCode.UNAVAILABLE


def show_deliveries(face: Face, target: str, number: int) -> None:
    """The newest of a target, such as `notify:phone`."""
    answer = face.client().get("/v1/deliveries", target=target, limit=number)
    face.show(answer, lambda: _listed(answer["deliveries"]))


def _listed(found: list[dict[str, Any]]) -> str:
    if not found:
        return "nothing was sent yet\n"
    rows = [
        (
            short_time(one["created_at"]),
            one["state"],
            one["kind"],
            one["tries"],
            short_time(one["next_at"]) if one["next_at"] else None,
            safe(one["status"]),
            one["delivery"],
        )
        for one in found
    ]
    head = ("AT", "STATE", "KIND", "TRIES", "NEXT TRY", "ANSWER", "DELIVERY")
    return table(head, rows, toned=("STATE",))
