"""`pancode presets`: named sets of settings; one of them can be the fleet's default."""

from __future__ import annotations

from typing import Annotated

from typer import Argument

from pancode.config.answers import APPLY_PRESET, PRESETS, UNSET_PRESET
from pancode.interfaces.cli import completions
from pancode.interfaces.cli.commands import Commands
from pancode.interfaces.cli.output import find_user
from pancode.interfaces.cli.parameters import Json, option
from pancode.interfaces.cli.terminal import Columns, escape_line, format_rows
from pancode.interfaces.client.retry import post_confirmed

app = Commands()


@app.group("presets", "pancode presets apply local", default="ls")
def presets() -> None:
    """Named sets of settings: shipped ones, and those of your panpresets.yaml.

    A preset counts more than PANCODE_ variables and files, and less than the flags of a dispatch.
    """


@presets.verb("ls", "pancode presets")
def list_presets(face: Json) -> None:
    """List all presets; the applied one is marked."""
    answer = face.client().get(PRESETS)
    face.show(answer, lambda: format_rows(answer["presets"], _COLUMNS))


_COLUMNS: Columns = {
    **{"PRESET": "name", "": lambda preset: "applied" if preset["applied"] else ""},
    **{"WORKERS": "worker_model", "SCOUTS": "scout_model", "REASONING": "reasoning", "SAFETY": "safety"},
    "WHAT FOR": "description",
}


@presets.verb("show", "pancode presets show hybrid")
def show_preset(name: Annotated[str, Argument(autocompletion=completions.presets)], face: Json) -> None:
    """What one sets, and where it is written."""
    preset = face.client().get(PRESETS, name=name)["presets"][0]
    face.show(
        preset,
        lambda: "".join(
            f"{key:<13} {escape_line(_word(value))}\n" for key, value in preset.items() if value != ""
        ),
    )


def _word(value: object) -> str:
    """Return the value as a word; "-" for None, which the preset leaves as it is."""
    return "-" if value is None else "yes" if value is True else "no" if value is False else str(value)


@presets.verb("apply", "pancode presets apply local")
def apply_preset(
    name: Annotated[str, Argument(autocompletion=completions.presets)],
    *,
    yes: Annotated[bool, option("Say yes to a higher safety level.", "--yes")] = False,
    face: Json,
) -> None:
    """Make it the default of every dispatch; `none` ends that. Your files stay as they are."""
    if name == "none":
        return unset_preset(face)
    body = {"name": name, "by": find_user(), "yes": yes}
    answer = post_confirmed(face.client(), APPLY_PRESET, body, face.confirms)
    for warning in answer["warnings"]:
        face.note(f"warning: {escape_line(warning)}")
    columns: Columns = {"KEY": "key", "VALUE": "value", "ORIGIN": "origin"}
    return face.show(answer, lambda: format_rows(answer["settings"], columns))


@presets.verb("unset", "pancode presets unset")
def unset_preset(face: Json) -> None:
    """No preset any more: variables and files count again."""
    answer = face.client().post(UNSET_PRESET, {"by": find_user()})
    face.show(answer, lambda: f"preset {answer['before']} is no longer applied\n")
