"""The input and output of a workflow's step: its filled-in task, the files that it gets, and its outputs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from pancode.kernel.errors import RefusedError
from pancode.kernel.names import find_nearest
from pancode.runs.admission.given_changes import FOLDER, file_of
from pancode.workflows.records import WorkflowStep

INPUT, ORIGINAL = "INPUT", "ORIGINAL"
_PLACE = re.compile(
    r"\{\{\s*steps\.(?P<step>[^\s.{}]+)\.(?P<what>answer|commit|files\.(?P<path>[^\s{}]+))\s*\}\}"
    r"|\$(?P<word>INPUT|ORIGINAL)(?![A-Za-z0-9_])"
)


@dataclass(frozen=True, slots=True)
class TemplatePlace:
    """A placeholder in a task's text. `step` is empty for `$INPUT` and `$ORIGINAL`."""

    step: str
    what: str
    """The value to fill in: answer, commit, files, INPUT or ORIGINAL."""
    path: str = ""


def fill_places(text: str, value: Callable[[TemplatePlace], str]) -> str:
    """Return the text with placeholders replaced; placeholders in the inserted values are not replaced."""
    return _PLACE.sub(lambda found: value(_place(found)), text)


def find_places(text: str) -> Iterator[TemplatePlace]:
    """Yield all placeholders of a text, in order."""
    return map(_place, _PLACE.finditer(text))


def first_task(text: str, task: str) -> str:
    """Return the filled-in task of a step without needs; `$INPUT` and `$ORIGINAL`: the workflow's input."""
    return fill_places(text, lambda place: task)


_BRACES = re.compile(r"(?<!\$)\{\{\s*([\w-]+)(\.(?:answer|commit|files)\b)?[^{}]*\}\}")


def find_misspelt(text: str, steps: Collection[str]) -> Iterator[str]:
    """Yield misspelled references to steps' outputs. Other braces are ordinary text of a task."""
    for found in _BRACES.finditer(text):
        short = found[1] in steps and found[2] is not None
        if (short or find_nearest(found[1], ["steps"])) and not any(
            place.step for place in find_places(found[0])
        ):
            yield found[0]


def format_place(place: TemplatePlace) -> str:
    """Return the placeholder as a user writes it."""
    if not place.step:
        return f"${place.what}"
    what = f"files.{place.path}" if place.path else place.what
    return f"{{{{ steps.{place.step}.{what} }}}}"


def is_kept(path: str, pattern: str) -> bool:
    """Whether a file's path matches a name or pattern; `*` also matches slashes."""
    return path == pattern or fnmatchcase(path, pattern)


def _place(found: re.Match[str]) -> TemplatePlace:
    word = found["word"]
    if word:
        return TemplatePlace("", word)
    path = found["path"] or ""
    return TemplatePlace(found["step"], "files" if path else found["what"], path)


MOST_VERDICT = 64 * 1024
"""The maximum size of a verdict's file in bytes."""
MOST_FILE = 5_000_000
"""The maximum size in bytes of a file that is inserted into a task."""
MOST_FILES = 200


def kept_files(step: WorkflowStep, names: Sequence[str]) -> tuple[list[str], str]:
    """Return the paths of the files that the step keeps, and a message if a file is missing."""
    found = [name for name in names if any(is_kept(name, pattern) for pattern in step.files)]
    missing = [p for p in step.files if not any(is_kept(name, p) for name in found)]
    problem = f"missing output: {missing[0]} is not in its result" if missing else ""
    if len(found) > MOST_FILES:
        problem = f"it keeps {len(found)} files, but at most {MOST_FILES} are allowed: narrow the patterns"
    return found[:MOST_FILES], problem


def verdict_of(step: WorkflowStep, data: bytes | None) -> tuple[dict[str, object], str]:
    """Return the verdict and why it is invalid (empty: valid). Only the verdict's file counts, not prose."""
    name = str(step.verdict["file"])
    if data is None:
        return {}, f"no verdict: {name} is not in its result, or larger than {MOST_VERDICT} bytes"
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as exc:
        return {}, f"no verdict: {name} is not JSON: {str(exc)[:200]}"
    if not isinstance(found, dict):
        return {}, f"no verdict: {name} is not a JSON object"
    schema = step.verdict["schema"]
    for key, allowed in schema.items() if isinstance(schema, dict) else ():
        if key not in found:
            return {}, f"no verdict: {name} has no field {key!r}"
        if allowed and not any(
            found[key] == one and isinstance(found[key], bool) is isinstance(one, bool) for one in allowed
        ):
            values = ", ".join(map(repr, allowed))
            return {}, (
                f"no verdict: {key} is {str(found[key])[:100]!r} in {name}, but it must be one of {values}"
            )
    return found, ""


LONG = 4_000
"""How many characters of an answer are inserted into a task; a longer answer becomes a file."""
MOST_INLINE = 500_000
"""The same limit for a step that has no workspace to put files in."""


@dataclass(frozen=True, slots=True)
class StepResult:
    """The output of a finished step."""

    answer: str = ""
    commit: str = ""
    files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StepWork:
    """A step's task, and the files for its workspace."""

    task: str
    files: dict[str, bytes]


def step_work(
    step: WorkflowStep, original: str, results: Mapping[str, StepResult], front: str, has_files: bool
) -> StepWork:
    """Return the step's task with all placeholders replaced. `front`: the text before the task. RefusedError
    if a text is too long for a step that works without files."""
    files = {file_of(name): results[name].answer.encode() for name in step.needs if results[name].answer}

    def value(place: TemplatePlace) -> str:
        if place.what == ORIGINAL or (place.what == INPUT and not step.needs):
            return original
        if place.what == INPUT:
            return "\n\n".join(told(name, results[name].answer) for name in step.needs)
        result = results[place.step]
        if place.what == "commit":
            return result.commit
        text = result.files[place.path] if place.path else result.answer
        return told(place.step, text, place.path)

    def told(name: str, text: str, path: str = "") -> str:
        if not has_files:
            if len(text) <= MOST_INLINE:
                return text
            raise RefusedError(
                f"the answer of step {name} is too long for this step: {len(text)} characters",
                why=f"a step without a workspace takes at most {MOST_INLINE} characters in its task",
                fix="give the step a git workspace",
                code="answer_too_long",
            )
        if len(text) <= LONG:
            return text
        target = f"{FOLDER}/{name}/{path}" if path else file_of(name)
        files[target] = text.encode()
        what = f"the file {path} of {name}" if path else f"the whole answer of {name}"
        return f"({what}, {len(text)} characters, is in your workspace: {target})"

    template = str(step.request.get("task") or "")
    if file_of(ORIGINAL) in template:
        files[file_of(ORIGINAL)] = original.encode()
    task = fill_places(template, value)
    return StepWork(f"{front}{task}", files if has_files else {})


def check_script(name: str, task: str, needs: Sequence[str]) -> None:
    """Raise RefusedError if a script would contain untrusted text, because a shell would run it."""
    for place in find_places(task):
        if place.what == ORIGINAL or (place.what == INPUT and not needs):
            raise RefusedError(
                f"the workflow input would become part of the script of step {name}",
                why="anyone may have written the input, for example in an issue, and a shell would run it",
                fix=f"let the script read {file_of(ORIGINAL)}, in a step with a git workspace",
                code="stranger_words",
            )
        if place.step and place.what != "commit" or place.what == INPUT:
            source = place.step or needs[0]
            raise RefusedError(
                f"an answer of step {source} would become part of the script of step {name}",
                why="an agent wrote that answer, and a shell would run it",
                fix=f"let the script read {file_of(source)}",
                code="stranger_words",
            )


def verdict_front(step: WorkflowStep, judge: WorkflowStep | None) -> str:
    """Return the text before the task in a later round: the round's number and the judge's verdict."""
    if judge is None:
        return ""
    verdict = json.dumps(judge.outputs.get("verdict"), ensure_ascii=False, indent=2)
    return f"Round {step.round} of {judge.most}. {judge.name} has judged the round before:\n{verdict}\n\n"


def files_front(task: str, files: Iterable[str]) -> str:
    """Return text that names the step's files that its task does not mention; empty if there are none."""
    unnamed = [path for path in sorted(files) if path not in task]
    if not unnamed:
        return ""
    return f"\n\nFrom the steps before you have, in your workspace: {', '.join(unnamed)}."
