"""`pancode config`: show settings with their origins; set or unset one; undo the last change."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Annotated

from pancode.config import answers
from pancode.config.variables import BUILT_IN, FOR_NEW_NODES
from pancode.interfaces.cli.output import Face, find_ignored_variables, find_user, folder_here
from pancode.interfaces.cli.parameters import Argument, Json, completions, option, verb
from pancode.interfaces.cli.terminal import RowColumns, clip_columns, escape_line, escape_lines, format_rows
from pancode.interfaces.client.client import Client, home_of
from pancode.interfaces.client.remote.place import remote_of
from pancode.interfaces.client.retry import post_confirmed
from pancode.kernel.errors import ExitCode, PancodeError, UnavailableError, UsageError

Key = Annotated[str, Argument(autocompletion=completions.settings)]
Yes = Annotated[bool, option("Approve a higher safety level.", "-y", "--yes")]


@verb("config show", "--origin", "budget")
def show(
    *,
    word: Annotated[str, Argument(help="Show only settings whose name contains this text.")] = "",
    origin: Annotated[bool, option("Show where each value was set.")] = False,
    face: Json,
) -> None:
    """Show every setting in effect in this folder; with a remote coordinator, those in effect on its machine.

    Later sources override earlier ones: built in < /etc/pancode < your home < the repository < `config set` <
    the project < PANCODE_ variables < a preset < flags.
    """
    rows, warnings = _load_settings(face)
    face.warn(warnings)
    columns = {"KEY": "key", "VALUE": "value", **({"ORIGIN": "origin"} if origin else {})}
    rows = [row for row in rows if word.lower() in row["key"]]
    for row in rows:
        if row["key"] in FOR_NEW_NODES and row["origin"] != BUILT_IN:
            face.note(f"note: {FOR_NEW_NODES[row['key']]}")
    none = "no setting's name contains this text"
    face.show({"settings": rows}, lambda: format_rows(rows, columns, none, cut="VALUE"))


def _load_settings(face: Face) -> tuple[list[answers.SettingShape], list[str]]:
    here = folder_here()
    if remote_of(os.environ) is not None:
        client = face.client()
        answer = client.get(answers.SETTINGS)
        ignored = find_ignored_variables(client, here, os.environ)
        return answer["settings"], [*answer.get("warnings", ()), *ignored]
    running = face.ask_running(answers.SETTINGS, cwd=here)
    if running is not None and "warnings" in running:  # earlier versions have no warnings
        return running["settings"], running["warnings"]
    from pancode.config.folder_settings import settings_here  # this import loads the schema

    rows, warnings = settings_here(home_of(os.environ), Path(here), os.environ)
    with suppress(UnavailableError):  # without a coordinator, all variables of this shell are effective
        client = Client(home_of(os.environ), starts=False)
        warnings += tuple(find_ignored_variables(client, here, os.environ))
    return rows, list(warnings)


def check_settings(face: Face, file: str | None) -> int:
    """Check the settings in force here or in FILE's folder; ConfigError names the file and line."""
    from pancode.config.agents.presets import FILE as PRESETS_FILE
    from pancode.config.agents.presets import load_presets
    from pancode.config.folder_settings import settings_here
    from pancode.config.load import FILE, MACHINE_FILE
    from pancode.git.repository import find_top

    home, path = home_of(os.environ), Path(folder_here(), file or "").expanduser()
    folder = path.parent if file is not None else path
    places = (MACHINE_FILE, home / FILE, home / PRESETS_FILE, Path(find_top(str(folder)) or home, FILE))
    there = list(dict.fromkeys(str(one.resolve()) for one in places if one.exists()))
    if file is not None and str(path.resolve()) not in there:
        fix = "name a pancode.yaml at the root of a repository, or one in your PANCODE_HOME"
        raise UsageError(f"{file} is not a settings file in force", fix=fix)
    load_presets(home)
    warnings = settings_here(home, folder, os.environ)[1]
    lines = [*(f"warning: {one}" for one in warnings), "the settings have no errors", *there]
    return face.end(ExitCode.DONE, {"files": there, "warnings": warnings}, lambda: escape_lines(lines))


@verb("config set", "dispatch.safety full-auto", "limits.wall 90m", "models.tiers '{\"ollama/qwen3*\": mid}'")
def set_(
    key: Key,
    value: Annotated[str, Argument(help="The value, as written in pancode.yaml.")],
    *,
    approve: Yes = False,
    face: Json,
) -> None:
    """Set one setting for the whole fleet, overriding all files; `config undo` undoes it.

    PANCODE_ variables, presets and flags take precedence; the output reports it. Rules of a pansafety.yaml
    always apply. Some settings have their own commands: pancode budget set, config use, agents set, node set.
    """
    body = {"key": key, "value": value, "by": find_user(), "yes": approve}
    _tell(face, post_confirmed(face.client(), answers.SET_SETTING, body, face.confirm_or_decline))


@verb("config unset", "dispatch.safety")
def unset(key: Key, *, approve: Yes = False, face: Json) -> None:
    """Remove a value that `config set` has set; the files take effect again."""
    body = {"key": key, "by": find_user(), "yes": approve}
    try:
        done = post_confirmed(face.client(), answers.UNSET_SETTING, body, face.confirm_or_decline)
    except PancodeError as error:
        if error.exit_code is not ExitCode.CONFIG or remote_of(os.environ) is not None:
            raise
        from pancode.config.folder_settings import unset_here

        # The stored value keeps the coordinator from starting.
        done = {**unset_here(home_of(os.environ), key, os.environ)}
    _tell(face, done)


@verb("config undo", "")
def undo(face: Json) -> None:
    """Undo the last change, unless the value was changed again since; repeat to undo earlier changes."""
    _tell(face, face.post(answers.UNDO))


def _tell(face: Face, done: answers.ChangeAnswer) -> None:
    for note in done["notes"]:
        face.note(f"note: {escape_line(note)}")
    face.show_result(done, change_line)


def change_line(done: answers.ChangeAnswer) -> str:
    """Format a change as "old -> new", with the origin of the new value."""
    old, new = (clip_columns(escape_line(done[one]["value"]), 80) or "unset" for one in ("old", "new"))
    origin = f"  ({escape_line(done['new']['origin'])})" if done["new"]["origin"] else ""
    return f"{escape_line(done['target'])}  {old} -> {new}{origin}\n"


@verb("config preset", "", "hybrid")
def show_presets(
    *, name: Annotated[str | None, Argument(autocompletion=completions.presets)] = None, face: Json
) -> None:
    """List all presets and mark the applied one; with NAME, show its settings and where it is defined.

    Presets are shipped, or defined in your panpresets.yaml. A preset overrides PANCODE_ variables and files;
    the flags of a dispatch override the preset.
    """
    answer = face.get(answers.PRESETS, name=name)
    if name is None:
        return face.show(answer, lambda: format_rows(answer["presets"], _COLUMNS))
    preset = answer["presets"][0]
    # A field that is None leaves its setting unchanged.
    words: dict[object, str] = {None: "-", True: "yes", False: "no"}
    facts = {key: words.get(value, value) for key, value in preset.items() if value != ""}
    return face.show(preset, lambda: escape_lines(f"{key:<13} {value}" for key, value in facts.items()))


_COLUMNS: RowColumns[answers.PresetShape] = {
    **{"PRESET": "name", "": lambda preset: "applied" if preset["applied"] else ""},
    **{"WORKERS": "worker_model", "SCOUTS": "scout_model", "REASONING": "reasoning", "SAFETY": "safety"},
    "WHAT FOR": "description",
}


@verb("config use", "local", "none")
def use_preset(
    name: Annotated[str, Argument(autocompletion=completions.presets)], *, yes: Yes = False, face: Json
) -> None:
    """Make a preset the default of every dispatch; `none` removes it. Your files are not changed."""
    if name == "none":
        ended = face.post(answers.UNSET_PRESET)
        return face.show(ended, lambda: f"preset {ended['before']} is no longer applied\n")
    body = {"name": name, "by": find_user(), "yes": yes}
    answer = post_confirmed(face.client(), answers.APPLY_PRESET, body, face.confirm_or_decline)
    face.warn(answer["warnings"])
    columns = {"KEY": "key", "VALUE": "value", "ORIGIN": "origin"}
    return face.show(answer, lambda: format_rows(answer["settings"], columns))
