"""`pancode presets`: named sets of settings; one of them can be the fleet's default."""

from __future__ import annotations

from typing import Any

import click

from pancode.cli import known
from pancode.cli.face import Face, example, json_option, who
from pancode.cli.lazy import DefaultGroup
from pancode.cli.render import safe, table


@click.group("presets", cls=DefaultGroup, default="ls", epilog=example("pancode presets apply local"))
def presets() -> None:
    """Named sets of settings: shipped ones, and those of your panpresets.yaml.

    A preset counts more than PANCODE_ variables and files, and less than the flags of a dispatch.
    """


@presets.command("ls", epilog=example("pancode presets"))
@json_option
def list_presets(face: Face) -> None:
    """All of them; the applied one is marked."""
    answer = face.client().get("/v1/presets")
    face.show(answer, lambda: table(_HEAD, [_row(p) for p in answer["presets"]]))


_HEAD = ("PRESET", "", "WORKERS", "SCOUTS", "REASONING", "SAFETY", "WHAT FOR")


def _row(preset: dict[str, Any]) -> tuple[Any, ...]:
    mark = "applied" if preset["applied"] else ""
    said = (preset["worker_model"], preset["scout_model"], preset["reasoning"], preset["safety"])
    return (preset["name"], mark, *said, preset["description"])


@presets.command("show", epilog=example("pancode presets show hybrid"))
@click.argument("name", shell_complete=known.presets)
@json_option
def show_preset(name: str, face: Face) -> None:
    """What one sets, and where it is written."""
    preset = face.client().get("/v1/presets", name=name)["presets"][0]
    face.show(
        preset,
        lambda: "".join(f"{key:<13} {safe(_word(value))}\n" for key, value in preset.items() if value != ""),
    )


def _word(value: object) -> str:
    """None: the preset leaves that as it is."""
    return "-" if value is None else "yes" if value is True else "no" if value is False else str(value)


@presets.command("apply", epilog=example("pancode presets apply local"))
@click.argument("name", shell_complete=known.presets)
@json_option
def apply_preset(name: str, face: Face) -> None:
    """Make it the default of every dispatch. Your files stay as they are; `presets unset` ends it."""
    answer = face.client().post("/v1/presets/apply", {"name": name, "by": who()})
    for warning in answer["warnings"]:
        face.note(f"warning: {safe(warning)}")
    rows = [(row["key"], row["value"], row["origin"]) for row in answer["settings"]]
    face.show(answer, lambda: table(("KEY", "VALUE", "ORIGIN"), rows))


@presets.command("unset", epilog=example("pancode presets unset"))
@json_option
def unset_preset(face: Face) -> None:
    """No preset any more: variables and files count again."""
    answer = face.client().post("/v1/presets/unset", {"by": who()})
    face.show(answer, lambda: f"preset {answer['before']} is no longer applied\n")
