"""`pancode agents prompt`: show the prompt of a run, part by part."""

from __future__ import annotations

import re
from typing import Annotated

from typer import Argument

from pancode.agents.answers import PROMPT, RUN_PROMPT, PromptAnswer
from pancode.interfaces.cli import completions
from pancode.interfaces.cli.commands import verb
from pancode.interfaces.cli.output import Face
from pancode.interfaces.cli.parameters import Json, option
from pancode.interfaces.cli.terminal import safe_block
from pancode.interfaces.client.caller import find_folder

_RUN = re.compile(r"r-[0-9a-z]+|last")
Mode = Annotated[str | None, option("The mode of the run.", "M", complete=completions.complete_modes)]
Safety = Annotated[
    str | None, option("The safety level of the run.", "S", complete=completions.complete_levels)
]
Runtime = Annotated[str | None, option("The runtime of the run.", "R", complete=completions.runtimes)]
Model = Annotated[str | None, option("The model; the prompt of a small model is shortened.", "M", "--model")]


@verb(
    "agents prompt",
    "pancode agents prompt builder",
    "pancode agents prompt reviewer --mode review --runtime claude",
    "pancode agents prompt builder --model ollama/qwen3:8b --task 'Add a test.'",
    "pancode agents prompt r-k3v9xq",
)
def show(
    name: Annotated[str, Argument(metavar="AGENT|RUN", autocompletion=completions.agents)],
    *,
    model: Model = None,
    mode: Mode = None,
    safety: Safety = None,
    runtime: Runtime = None,
    task: Annotated[str | None, option("The task, which is never left out.", "T")] = None,
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
    window = "" if answer["window"] is None else f", in a window of {answer['window']} tokens"
    tokens = ", ".join(f"{key} {count}" for key, count in answer["tokens"].items())
    text = (
        f"{answer['agent']} in mode {answer['mode']} at {answer['safety']} for {answer['runtime']}{window}\n"
    )
    text += f"digest {answer['digest']}\ntokens, about: {tokens}\n"
    text += "".join(f"left out: {words}\n" for words in answer["left_out"])
    for piece in answer["pieces"]:
        text += f"\n--- {piece['category']}\n{safe_block(piece['text'])}"
    return text
