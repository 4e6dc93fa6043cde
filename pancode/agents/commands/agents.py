"""`pancode agents`: list agents, show their definitions and prompts, edit your own file."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pancode.agents.answers import AGENTS, PROMPT, RUN_PROMPT, PromptAnswer
from pancode.interfaces.cli.output import Face, list_findings
from pancode.interfaces.cli.parameters import Argument, Json, completions, option, verb
from pancode.interfaces.cli.terminal import Columns, escape_line, escape_lines, format_rows, safe_block
from pancode.interfaces.client.caller import find_folder, folder_here
from pancode.interfaces.client.client import home_of
from pancode.kernel.errors import ExitCode, UsageError
from pancode.kernel.formatting import count_noun

if TYPE_CHECKING:
    from pancode.config.agents.writer import AgentsFile


def _agents_file() -> AgentsFile:
    from pancode.config.agents.writer import AgentsFile

    return AgentsFile(home_of(os.environ), Path(folder_here()), os.environ)


@verb("agents ls", "", "pancode agents --tag python")
def list_agents(
    *, tag: Annotated[str | None, option("Show only agents with this tag.", "T")] = None, face: Json
) -> None:
    """List all agents."""
    found = face.get(AGENTS, cwd=find_folder())["agents"]
    shown = [a for a in found if tag is None or tag in a["tags"]]
    if tag is not None and not shown:
        tags = sorted({one for a in found for one in a["tags"]})
        face.note(f"no agent has the tag {tag}; available: {', '.join(tags) or 'no tags'}")
    face.show({"agents": shown}, lambda: format_rows(shown, _COLUMNS))


_COLUMNS: Columns = {
    **{"AGENT": "name", "FILES": lambda one: "read only" if one["read_only"] else "writes"},
    **{"TIER": "tier", "SPEED": "speed", "RUNTIME": "runtime", "MODEL": "model"},
    "WHAT FOR": lambda one: one["description"] if one["enabled"] else f"switched off: {one['description']}",
}


@verb("agents show", "builder", "reviewer --prompt --mode review --runtime claude")
def show_agent(
    name: Annotated[str, Argument(autocompletion=completions.agents)],
    *,
    prompt: Annotated[bool, option("Show the full prompt of a run, with its token counts.")] = False,
    mode: Annotated[
        str | None, option("The run mode for --prompt.", "M", complete=completions.complete_modes)
    ] = None,
    safety: Annotated[
        str | None, option("The safety level for --prompt.", "S", complete=completions.complete_levels)
    ] = None,
    runtime: Annotated[str | None, option("The runtime for --prompt.")] = None,
    face: Json,
) -> None:
    """Show an agent's definition; with --prompt, the prompt of its runs in this folder, part by part."""
    choice = {"mode": mode, "safety": safety, "runtime": runtime}
    if prompt:
        return face.show_result(compile_prompt(face, name, choice), in_parts)
    if any(choice.values()):
        raise UsageError("--mode, --safety and --runtime require --prompt", fix="add --prompt")
    agent = face.get(AGENTS, cwd=find_folder(), name=name)["agents"][0]
    unset: tuple[object, ...] = (None, [], {}, "", False, "none")
    facts = {key: one for key, one in agent.items() if key != "prompt" and one not in unset}
    lines = [f"{key:<13} {_format_value(value)}" for key, value in facts.items()]
    return face.show(agent, lambda: escape_lines([*lines, ""]) + safe_block(agent["prompt"]))


def _format_value(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {one}" for key, one in value.items() if one is not None) or "-"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


@verb(
    "agents set",
    "scout model ollama/qwen3:8b",
    "builder limits.wall 2h",
    "documenter tools '[read, grep, find, ls, edit]'",
)
def set_agent(
    name: Annotated[str, Argument(autocompletion=completions.agents)], field: str, value: str, face: Json
) -> None:
    """Set one FIELD of an agent in your panagents.yaml. Comments, order and other values stay unchanged.

    The result is checked before anything is written. For a shipped agent, an overriding entry is added.
    """
    from pancode.config.agents.definition_changes import set_field

    answer = set_field(_agents_file(), name, field, value)
    now = answer["value"]
    words = f"{answer['agent']}.{field} is {', '.join(map(str, now)) if isinstance(now, list) else now}"
    face.show(answer, lambda: escape_line(f"{words}  {answer['file']}:{answer['line']}") + "\n")


@verb("agents new", "migrator --from builder")
def new_agent(
    name: str,
    *,
    base: Annotated[str, option("Agent to copy.", "--from", "A", complete=completions.agents)] = "builder",
    face: Json,
) -> None:
    """Add a copy of an agent to your panagents.yaml, for you to edit."""
    from pancode.config.agents.definition_changes import new_agent as made

    answer = made(_agents_file(), name, base)
    where = f"{answer['file']}:{answer['line']}"
    words = f"{name}, a copy of {answer['from']}: edit {where}, then: pancode config check"
    face.show(answer, lambda: escape_line(words) + "\n")


def check_agents(face: Face, file: str | None) -> int:
    """Report every error in your panagents.yaml, or in this file or folder."""
    from pancode.config.agents.definition_changes import check_file

    answer = check_file(_agents_file(), None if file is None else Path(file))
    lines = [*list_findings("error", answer["problems"]), *list_findings("note", answer["remarks"])]
    where = answer["file"] or "no panagents.yaml: the shipped agents apply"
    off, usable = answer["disabled"], len(answer["agents"]) - len(answer["disabled"])
    end = f"{count_noun(usable, 'agent')}, all right"
    end += f", and {len(off)} disabled: {', '.join(off)}" if off else ""
    end = count_noun(len(answer["problems"]), "problem") if answer["problems"] else end
    face.show(answer, lambda: escape_lines([*lines, f"{where}: {end}"]))
    return ExitCode.CONFIG if answer["problems"] else ExitCode.DONE


_RUN = re.compile(r"r-[0-9a-z]+|last")
Mode = Annotated[str | None, option("The mode of the run.", "M", complete=completions.complete_modes)]
Safety = Annotated[
    str | None, option("The safety level of the run.", "S", complete=completions.complete_levels)
]
Runtime = Annotated[str | None, option("The runtime of the run.")]
Model = Annotated[str | None, option("The model; the prompt of a small model is shortened.")]


@verb(
    "agents prompt",
    "builder",
    "reviewer --mode review --runtime claude",
    "builder --model ollama/qwen3:8b --task 'Add a test.'",
    "r-k3v9xq",
)
def show(
    name: Annotated[str, Argument(metavar="AGENT|RUN", autocompletion=completions.agents)],
    *,
    model: Model = None,
    mode: Mode = None,
    safety: Safety = None,
    runtime: Runtime = None,
    task: Annotated[str | None, option("The task; it is never shortened.", "T")] = None,
    face: Json,
) -> None:
    """Show the prompt that a run of AGENT gets in this folder, part by part; or the prompt that a RUN got.

    For a small context window, notes of earlier runs are omitted first; then the agent's description and the
    form of its report are shortened. The task, mode, rules and tools are always complete.
    """
    if _RUN.fullmatch(name):
        prompt = face.get(RUN_PROMPT.at(name))
        head = f"{prompt['run']} of {prompt['agent']}\ndigest {prompt['digest']}\n\n"
        return face.show(prompt, lambda: head + safe_block(prompt["text"]))
    query = {"model": model, "mode": mode, "safety": safety, "runtime": runtime, "task": task}
    return face.show_result(compile_prompt(face, name, query), in_parts)


def compile_prompt(face: Face, agent: str, choice: dict[str, str | None]) -> PromptAnswer:
    """Return the prompt of an agent as a dispatch from this folder would compile it."""
    query = {key: value for key, value in choice.items() if value is not None}
    return face.get(PROMPT.at(agent), cwd=find_folder(), **query)


def in_parts(answer: PromptAnswer) -> str:
    """Format a compiled prompt for users."""
    window = "" if answer["window"] is None else f", for a window of {answer['window']} tokens"
    tokens = ", ".join(f"{key} {count}" for key, count in answer["tokens"].items())
    text = (
        f"{answer['agent']} in mode {answer['mode']} at {answer['safety']} for {answer['runtime']}{window}\n"
    )
    text += f"digest {answer['digest']}\ntokens (estimate): {tokens}\n"
    text += "".join(f"left out: {words}\n" for words in answer["left_out"])
    for piece in answer["pieces"]:
        text += f"\n--- {piece['category']}\n{safe_block(piece['text'])}"
    return text
