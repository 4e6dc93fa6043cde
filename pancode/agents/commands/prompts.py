"""`pancode prompts`: what a run is told, part by part; two of them compared; which there were over time."""

from __future__ import annotations

import re
from typing import Annotated, Any

from typer import Argument

from pancode.interfaces.cli import completions
from pancode.interfaces.cli.commands import Commands
from pancode.interfaces.cli.output import Face
from pancode.interfaces.cli.parameters import Json, option
from pancode.interfaces.cli.terminal import Columns, listing, safe_block, short_time
from pancode.interfaces.client.client import path_of
from pancode.kernel.caller import folder

app = Commands()
_RUN = re.compile(r"r-[0-9a-z]+|last")
Mode = Annotated[str | None, option("The mode of the run.", "M", complete=completions.modes)]
Safety = Annotated[str | None, option("The safety level of the run.", "S", complete=completions.levels)]
Runtime = Annotated[str | None, option("The program of the run.", "R", complete=completions.runtimes)]
Model = Annotated[
    str | None, option("The model: a small one is told less, by a fixed order.", "M", "--model")
]


@app.group("prompts", "pancode prompts show builder --model ollama/qwen3:8b --task 'Add a test.'")
def prompts() -> None:
    """What runs are told: show it, compare two, see which there were."""


@prompts.verb(
    "show",
    "pancode prompts show builder",
    "pancode prompts show reviewer --mode review --runtime claude",
    "pancode prompts show builder --model ollama/qwen3:8b --task 'Add a test.'",
    "pancode prompts show r-k3v9xq",
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
    """Show what a run of AGENT is told in this folder, part by part; or what a RUN was told.

    Where the window of the model is small, notes of earlier runs are left out first. Then who the agent is,
    and then the form of its report, are said in short. The task, mode, rules and tools are always whole.
    """
    if _RUN.fullmatch(name):
        answer = face.client().get(path_of("runs", name, "prompt"))
        head = f"{answer['run']} of {answer['agent']}\ndigest {answer['digest']}\n\n"
        return face.show(answer, lambda: head + safe_block(answer["text"]))
    asked = {"model": model, "mode": mode, "safety": safety, "runtime": runtime, "task": task}
    answer = compiled(face, name, asked)
    face.show(answer, lambda: in_parts(answer))


def compiled(face: Face, agent: str, asked: dict[str, str | None]) -> dict[str, Any]:
    """The prompt of an agent as a dispatch would compile it here."""
    query = {key: value for key, value in asked.items() if value is not None}
    answer: dict[str, Any] = face.client().get(path_of("agents", agent, "prompt"), cwd=folder(), **query)
    return answer


def in_parts(answer: dict[str, Any]) -> str:
    """A compiled prompt for people."""
    window = "" if answer["window"] is None else f", in a window of {answer['window']} tokens"
    head = (
        f"{answer['agent']} in mode {answer['mode']} at {answer['safety']} for {answer['runtime']}{window}\n"
        f"digest {answer['digest']}\n"
        f"tokens, about: {', '.join(f'{key} {count}' for key, count in answer['tokens'].items())}\n"
    )
    out = "".join(f"left out: {words}\n" for words in answer["left_out"])
    return (
        head
        + out
        + "".join(f"\n--- {piece['category']}\n{safe_block(piece['text'])}" for piece in answer["pieces"])
    )


@prompts.verb("diff", "pancode prompts diff builder reviewer", "pancode prompts diff r-k3v9xq builder")
def diff(
    old: Annotated[str, Argument(metavar="A", autocompletion=completions.agents)],
    new: Annotated[str, Argument(metavar="B", autocompletion=completions.agents)],
    *,
    model: Model = None,
    mode: Mode = None,
    safety: Safety = None,
    runtime: Runtime = None,
    face: Json,
) -> None:
    """Compare two prompts, line by line. A and B are agents or runs; the options are those of `show`."""
    from difflib import unified_diff

    asked = {"model": model, "mode": mode, "safety": safety, "runtime": runtime}
    before, after = (_text(face, name, asked) for name in (old, new))
    lines = list(unified_diff(before.splitlines(), after.splitlines(), old, new, lineterm=""))
    face.show({"diff": lines}, lambda: safe_block("\n".join(lines)) if lines else "both are told the same\n")


def _text(face: Face, name: str, asked: dict[str, str | None]) -> str:
    if _RUN.fullmatch(name):
        return str(face.client().get(path_of("runs", name, "prompt"))["text"])
    return "\n\n".join(piece["text"] for piece in compiled(face, name, asked)["pieces"])


@prompts.verb("versions", "pancode prompts versions builder")
def versions(
    agent: Annotated[str, Argument(autocompletion=completions.agents)],
    *,
    number: Annotated[int, option("Show at most this many.", "-n", "--number", min=1, max=1_000)] = 20,
    face: Json,
) -> None:
    """Show each prompt that the newest runs of AGENT were given, with its digest, the newest first.

    Notes of earlier runs are not counted: they differ from run to run.
    """
    answer = face.client().get(path_of("agents", agent, "prompt", "versions"), limit=number)
    face.show(
        answer, lambda: listing(answer["versions"], _VERSIONS, f"no run of {agent} has had a prompt yet")
    )


_VERSIONS: Columns = {
    "DIGEST": lambda row: row["digest"][:12],
    **{"RUNS": "runs", "FIRST": lambda row: short_time(row["first_at"])},
    **{"LAST": lambda row: short_time(row["last_at"]), "NEWEST RUN": "run"},
}
