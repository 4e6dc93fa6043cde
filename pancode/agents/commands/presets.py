"""`pancode config preset` and `config use`: named sets of settings; one can be the fleet's default."""

from __future__ import annotations

from typing import Annotated

from typer import Argument

from pancode.config.answers import APPLY_PRESET, PRESETS, UNSET_PRESET
from pancode.interfaces.cli import completions
from pancode.interfaces.cli.commands import verb
from pancode.interfaces.cli.output import find_user
from pancode.interfaces.cli.parameters import Json, option
from pancode.interfaces.cli.terminal import Columns, escape_lines, format_rows
from pancode.interfaces.client.retry import post_confirmed


@verb("config preset", "pancode config preset", "pancode config preset hybrid")
def show_presets(
    *, name: Annotated[str | None, Argument(autocompletion=completions.presets)] = None, face: Json
) -> None:
    """List all presets and mark the applied one; with NAME, show its settings and where it is defined.

    Presets are shipped, or defined in your panpresets.yaml. A preset overrides PANCODE_ variables and files;
    the flags of a dispatch override the preset.
    """
    answer = face.get(PRESETS, name=name)
    if name is None:
        return face.show(answer, lambda: format_rows(answer["presets"], _COLUMNS))
    preset = answer["presets"][0]
    facts = {key: _format_value(value) for key, value in preset.items() if value != ""}
    return face.show(preset, lambda: escape_lines(f"{key:<13} {value}" for key, value in facts.items()))


_COLUMNS: Columns = {
    **{"PRESET": "name", "": lambda preset: "applied" if preset["applied"] else ""},
    **{"WORKERS": "worker_model", "SCOUTS": "scout_model", "REASONING": "reasoning", "SAFETY": "safety"},
    "WHAT FOR": "description",
}


def _format_value(value: object) -> str:
    """Return the value as text; "-" for None, which leaves the setting unchanged."""
    return "-" if value is None else "yes" if value is True else "no" if value is False else str(value)


@verb("config use", "pancode config use local", "pancode config use none")
def use_preset(
    name: Annotated[str, Argument(autocompletion=completions.presets)],
    *,
    yes: Annotated[bool, option("Approve a higher safety level.", "-y", "--yes")] = False,
    face: Json,
) -> None:
    """Make a preset the default of every dispatch; `none` removes it. Your files are not changed."""
    if name == "none":
        ended = face.post(UNSET_PRESET)
        return face.show(ended, lambda: f"preset {ended['before']} is no longer applied\n")
    body = {"name": name, "by": find_user(), "yes": yes}
    answer = post_confirmed(face.client(), APPLY_PRESET, body, face.confirm_or_decline)
    face.warn(answer["warnings"])
    columns: Columns = {"KEY": "key", "VALUE": "value", "ORIGIN": "origin"}
    return face.show(answer, lambda: format_rows(answer["settings"], columns))
