"""`pancode admin breakers`: shows the circuit breakers of providers, nodes and agents; resets one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from pancode.fleet.answers import BREAKERS, RESET_BREAKER
from pancode.interfaces.cli.parameters import Argument, Json, option, verb
from pancode.interfaces.cli.terminal import Columns, format_rows, short_time
from pancode.kernel.errors import UsageError


@verb("admin breakers", "", "--reset node:gpubox")
def breakers(
    *,
    name: Annotated[str | None, Argument()] = None,
    resets: Annotated[
        bool, option("Forget the failures of NAME; `loop`: the breaker against repeated tasks.", "--reset")
    ] = False,
    face: Json,
) -> None:
    """List the circuit breakers of providers, nodes and agents; those that block something come first.

    A breaker opens after several failures in a row: no more runs go to that provider, node or agent. After a
    pause the breaker lets one run through, and closes if that run succeeds.
    """
    if resets != (name is not None):
        raise UsageError("--reset and NAME must be given together", fix="pancode admin breakers --reset NAME")
    if name is not None:
        return face.show(face.post(RESET_BREAKER, {"name": name}), lambda: f"{name}: reset\n")
    answer, none = face.get(BREAKERS), "no attempt has ended recently; all breakers are closed"
    return face.show(answer, lambda: format_rows(answer["breakers"], _COLUMNS, none))


def _format_until(one: dict[str, Any]) -> str | None:
    until = one["until_ms"]
    return None if until is None else short_time(datetime.fromtimestamp(until / 1_000, UTC).isoformat())


_COLUMNS: Columns = {
    **{"BREAKER": "name", "STATE": "state", "FAILURES": "failures", "LETS ONE THROUGH": _format_until},
    "WHY": "why",
}
