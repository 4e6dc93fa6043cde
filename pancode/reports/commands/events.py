"""`pancode audit --events`: shows the events of the fleet live."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from pancode.interfaces.cli.parameters import Face
from pancode.interfaces.cli.terminal import can_draw, escape_line, make_console, short_time
from pancode.interfaces.client.client import Client, FleetDownError, ServerEvent
from pancode.kernel.errors import ExitCode, PancodeError, UnavailableError

T = TypeVar("T")
AGAIN_S = 1.0
PACE_S = (AGAIN_S, 10.0)
"""The shortest and longest time, in seconds, between two updates; load and ages change without events."""


def show_events(face: Face, wanted: dict[str, str | None], number: int, follow: bool) -> int:
    """Show the newest events of the fleet, oldest first. With --json, each event is an object on one line."""
    client = face.client()
    query = {name: value for name, value in wanted.items() if value is not None}
    try:
        params = {**query, "tail": number}
        kept = client.events("GET", "/v1/events", query={**params, "end": 1})
        for event in follow_events(face, client, params) if follow else kept:
            if event.kind == "reset":
                face.note("some events are missing here: they have been pruned")
            else:
                face.show(event.data, lambda one=event.data: _format_line(one))  # type: ignore[misc]
    except KeyboardInterrupt:
        return ExitCode.DETACHED
    return ExitCode.DONE


def follow_events(face: Face, client: Client, query: dict[str, Any]) -> Iterator[ServerEvent]:
    """Yield events without end; reconnect when the connection breaks, or when a coordinator can be started
    again. FleetDownError when a user has taken the fleet down."""
    away = False
    while True:
        try:
            for event in client.events("GET", "/v1/events", query=query):
                away = False
                last = event.data["last" if event.kind == "reset" else "number"]
                query = {**query, "tail": 0, "since": last}
                yield event
        except FleetDownError:
            raise
        except UnavailableError as cut:
            if not away:
                face.note(f"the coordinator does not answer ({cut.why or cut}); waiting until it is back")
        away = True
        time.sleep(AGAIN_S)


def watch_feed(
    face: Face, client: Client, about: dict[str, Any] | None = None, pace_s: tuple[float, float] = PACE_S
) -> Iterator[None]:
    """Yield now, and then whenever an event matches the filters in `about`.

    `pace_s`: the shortest and longest time between two yields, in seconds.
    """
    happened, (least_s, quiet_s) = threading.Event(), pace_s

    def watch() -> None:
        with suppress(PancodeError):  # The caller's next request fails with the same error and reports it.
            for _ in follow_events(face, Client(client.place, starts=False), {**(about or {}), "tail": 0}):
                happened.set()

    threading.Thread(target=watch, daemon=True).start()
    while True:
        happened.clear()
        yield
        time.sleep(least_s)
        happened.wait(quiet_s)


def show_watched(
    face: Face,
    client: Client,
    look: Callable[[], T],
    words: Callable[[T], str],
    *,
    watches: bool,
    pace_s: tuple[float, float] = PACE_S,
    data: Callable[[T], object] = lambda seen: seen,
) -> None:
    """Show what `look` returns; with `watches`, again whenever something changes. On a terminal each update
    replaces the last one. `words`: formats it for users; `data`: returns what a script gets."""
    if not (watches and not face.as_json and can_draw(sys.stdout)):
        for _ in watch_feed(face, client, pace_s=pace_s) if watches else (None,):
            seen = look()
            face.show(data(seen), partial(words, seen))
        return
    from rich.live import Live
    from rich.text import Text

    with Live(console=make_console(sys.stdout), auto_refresh=False) as live:
        for _ in watch_feed(face, client, pace_s=pace_s):
            live.update(Text.from_ansi(words(look())), refresh=True)


def _format_line(one: dict[str, Any]) -> str:
    fields = "  ".join(f"{name}={value}" for name, value in one["data"].items() if value not in (None, ""))
    about = escape_line(" ".join(filter(None, (one["run"], one["node"]))))
    return f"{short_time(one['at'])}  {one['kind']:<13} {about}  {escape_line(fields)}\n"
