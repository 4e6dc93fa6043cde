"""`pancode breakers`: circuit breakers of providers, nodes and agents; reset one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from typer import Argument

from pancode.fleet.answers import BREAKERS, RESET_BREAKER
from pancode.interfaces.cli.commands import Commands
from pancode.interfaces.cli.output import find_user
from pancode.interfaces.cli.parameters import Json
from pancode.interfaces.cli.terminal import Columns, format_rows, short_time

app = Commands()


@app.group("breakers", "pancode breakers", default="ls")
def breakers() -> None:
    """Circuit breakers of providers, nodes and agents.

    A breaker opens after failures in a row: nothing more goes to that provider, node or agent. After a
    pause it lets one run through; a success closes it.
    """


@breakers.verb("ls", "pancode breakers", "pancode breakers --json")
def list_breakers(face: Json) -> None:
    """Those that hold something up come first."""
    answer = face.client().get(BREAKERS)
    face.show(
        answer,
        lambda: format_rows(
            answer["breakers"], _COLUMNS, "no attempt has ended of late, all breakers are closed"
        ),
    )


@breakers.verb("reset", "pancode breakers reset node:gpubox", "pancode breakers reset loop")
def reset_breaker(name: Annotated[str, Argument()], face: Json) -> None:
    """Forget the failures of a breaker: work goes there again. `loop`: the one against repeated tasks."""
    answer = face.client().post(RESET_BREAKER, {"name": name, "by": find_user()})
    face.show(answer, lambda: f"{name}: reset\n")


def _until(one: dict[str, Any]) -> str | None:
    until = one["until_ms"]
    return None if until is None else short_time(datetime.fromtimestamp(until / 1_000, UTC).isoformat())


_COLUMNS: Columns = {
    **{"BREAKER": "name", "STATE": "state", "FAILURES": "failures", "LETS ONE THROUGH": _until},
    "WHY": "why",
}
