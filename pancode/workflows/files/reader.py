"""Converts the text of a workflow to steps for the API, or to a list of all its problems. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any, TypeVar

from pydantic import BaseModel

from pancode.agents.runtimes import resolve_alias
from pancode.config.layers import find_problems
from pancode.kernel.documents import Document
from pancode.kernel.errors import ConfigError
from pancode.kernel.formatting import count_noun
from pancode.runs.request import DispatchRequest
from pancode.workflows.answers import WorkflowFile
from pancode.workflows.files.entries import FileEntry, MatrixEntry, StepEntry, TaskEntry
from pancode.workflows.files.search import WorkflowText
from pancode.workflows.files.source import read_source
from pancode.workflows.model import StepPlan
from pancode.workflows.step_graph import find_problems_of
from pancode.workflows.step_work import find_places, format_place

MOST_STEPS = 1_000
_ONE = {"agents": "agent", "nodes": "node", "models": "model", "runtimes": "runtime"}


E = TypeVar("E", bound=TaskEntry)
M = TypeVar("M", bound=BaseModel)


class FileProblems:
    """Collects the problems of one document."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self.found: list[ConfigError] = []

    def add(self, key: str, what: str, why: str = "", fix: str = "") -> None:
        error = ConfigError(f"{self.at(key)}: {what}", why=why, fix=fix, details={"key": key})
        self.found.append(error)

    def read(self, kind: type[M], data: Mapping[str, object]) -> M | None:
        """Parse the data as this kind; return None after adding a problem for each invalid part."""
        value, wrong = find_problems(kind, data, self.at)
        self.found += wrong
        return value

    def at(self, key: str) -> str:
        """Return `file:line` of the key, spelled with - or _; if it is missing, of the nearest key above."""
        above, dot, word = key.rpartition(".")
        joined = f"{above}{dot}{word.replace('-', '_')}"
        place = self._document.at(joined if joined in self._document.lines else key)
        return place if place != self._document.place else f"{place}:1"


def takes_input(text: str) -> bool:
    """Whether the text contains a placeholder for the input from the command line."""
    return any(not place.step for place in find_places(text))


def stranger_words(text: str) -> Iterator[str]:
    """Yield the placeholders filled with untrusted text: an agent's output, or the workflow's input."""
    for place in find_places(text):
        if place.what != "commit":
            yield format_place(place)


def size_of_matrix(matrix: MatrixEntry) -> int:
    return len(matrix.tasks) * prod(len(getattr(matrix, name)) or 1 for name in _ONE)


def list_combinations(matrix: MatrixEntry) -> list[dict[str, Any]]:
    """Return the dispatch fields for each combination of the lists' values; the last list varies fastest."""
    lists = {"task": matrix.tasks} | {
        field: getattr(matrix, name) for name, field in _ONE.items() if getattr(matrix, name)
    }
    return [dict(zip(lists, values, strict=True)) for values in product(*lists.values())]


Json = dict[str, Any]
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
SHELL = "shell"
_NAME_FIX = "use a-z, 0-9, - and _, at most 64 characters"
_OF_STEP = {"files", "until", "max", "verdict", "back_to"}
_SETTINGS = ("concurrency", "fail_fast", "partial", "budget", "preset")


@dataclass(frozen=True, slots=True)
class CheckedWorkflow:
    """A file's content. `body`: the API request without caller and input; None if there are problems."""

    kind: str
    description: str
    body: Json | None
    needs_input: bool
    problems: tuple[ConfigError, ...] = ()

    def steps(self) -> list[Json]:
        return self.body["steps"] if self.body is not None else []


def check_workflow(
    text: str, place: str, name: str = "", flags: Mapping[str, Any] | None = None
) -> CheckedWorkflow:
    """Check a workflow and collect all problems. `name`: the workflow's default name. `flags`: fields of a
    dispatch that override the file's defaults, but not the fields of its steps."""
    try:
        # A request cannot carry an unpaired surrogate.
        try:
            text.encode()
        except UnicodeEncodeError as exc:
            line = text[: exc.start].count("\n") + 1
            raise ConfigError(
                f"{place}:{line}: not UTF-8", why=str(exc), fix="save the file as UTF-8"
            ) from exc
        document, wrong = read_source(text, place)
    except ConfigError as error:
        return CheckedWorkflow("graph", "", None, False, (error,))
    file_problems = FileProblems(document)
    file_problems.found += wrong
    return _FileReading(document, file_problems, flags or {}).checked(name)


class _FileReading:
    def __init__(self, document: Document, problems: FileProblems, flags: Mapping[str, Any]) -> None:
        self._data = document.data
        self._problems = problems
        self._flags = dict(flags)

    def checked(self, name: str) -> CheckedWorkflow:
        declared = self._data.get("steps")
        kind = "batch" if declared is None else "chain" if isinstance(declared, list) else "graph"
        head = self._read_head()
        steps = self._make_batch(head) if kind == "batch" else self._make_graph(head, declared)
        if not steps and not self._problems.found:
            what = "the file has no steps" if kind != "batch" else "the file has no tasks"
            self._problems.add("", what, fix="add tasks: [...] for a batch, or steps: [...] for a chain")
        if len(steps) > MOST_STEPS:
            self._problems.add(
                "", f"{len(steps)} steps are too many", fix=f"at most {MOST_STEPS} are allowed"
            )
        self._check_text(steps)
        found = tuple(self._problems.found)
        texts = [text for step in steps for text in _list_texts(step["dispatch"])]
        body: Json | None = None
        if head is not None and not found:
            settings = head.model_dump(mode="json", include=set(_SETTINGS), exclude_none=True)
            stagger = {} if head.stagger is None else {"stagger_ms": head.stagger}
            body = {"kind": kind, "name": head.name or name, "steps": steps, **settings, **stagger}
        description = head.description if head is not None else ""
        return CheckedWorkflow(kind, description, body, any(map(takes_input, texts)), found)

    def _read_head(self) -> FileEntry | None:
        """Return the file's top-level keys except the steps."""
        lists = {"tasks", "steps"}
        head = self._problems.read(FileEntry, {k: v for k, v in self._data.items() if k not in lists})
        if "steps" in self._data and (extra := {"tasks", "matrix"} & self._data.keys()):
            word = sorted(extra)[0]
            self._problems.add(word, f"{word} and steps cannot be in one file", fix="write two files")
        if head is not None and head.name is not None and not NAME.fullmatch(head.name):
            self._problems.add("name", f"{head.name!r} is not a valid workflow name", fix=_NAME_FIX)
        return head

    def _read_mapping(self, key: str) -> Mapping[str, object]:
        """Return the entries below a key, by name; those of a list by number."""
        written = self._data.get(key)
        if isinstance(written, list):
            return {str(number): one for number, one in enumerate(written)}
        if isinstance(written, dict) and key == "steps":
            return written
        if written is not None:
            self._problems.add(key, f"{key} must be a list", fix=f"write each entry below {key}: as `- text`")
        return {}

    def _read_entries(self, key: str, kind: type[E]) -> Iterator[tuple[str, str, E, bool]]:
        """Yield each entry's place, name and content, and whether that is whole: an invalid field, which is
        left out, does not hide others' problems."""
        for name, one in self._read_mapping(key).items():
            given: object = {"task": one} if isinstance(one, str) else one
            file = self._problems.read(FileEntry, {key: {name: given}})
            fitting = self._select_fitting(key, name, given, whole=file is not None)
            entry = kind.model_validate(fitting)
            dropped = not isinstance(given, dict) or not {"task", "argv"} & given.keys() <= fitting.keys()
            if not entry.task.strip() and not entry.argv and not dropped:
                self._problems.add(
                    f"{key}.{name}", "the task is empty", fix="add the key task with what to do"
                )
            yield f"{key}.{name}", name, entry, not isinstance(given, dict) or len(fitting) == len(given)

    def _select_fitting(self, key: str, name: str, given: object, *, whole: bool) -> dict[str, object]:
        """Return the fields that are valid; add a problem for each other one."""
        if whole or not isinstance(given, dict):
            return given if isinstance(given, dict) else {}
        return {
            field: value
            for field, value in given.items()
            if find_problems(FileEntry, {key: {name: {field: value}}}, str)[0] is not None
        }

    def _make_batch(self, head: FileEntry | None) -> list[Json]:
        defaults = self._read_defaults(head)
        steps = [
            {"dispatch": _merge_fields(defaults, entry.to_work()), "files": list(entry.files)}
            for _, _, entry, _ in self._read_entries("tasks", TaskEntry)
        ]
        matrix = head.matrix if head is not None else None
        if matrix is not None and size_of_matrix(matrix) > MOST_STEPS:
            what = f"the matrix makes {size_of_matrix(matrix)} tasks"
            self._problems.add(
                "matrix", what, f"at most {MOST_STEPS} are allowed", "shorten one of the matrix's lists"
            )
        elif matrix is not None:
            steps += [{"dispatch": {**defaults, **one}} for one in list_combinations(matrix)]
        return [{**step, "name": str(number)} for number, step in enumerate(steps, start=1)]

    def _read_defaults(self, head: FileEntry | None) -> Json:
        """Return the fields that apply to steps that do not set their own."""
        return _merge_fields(head.defaults.to_work() if head is not None else {}, self._flags)

    def _make_graph(self, head: FileEntry | None, written: object) -> list[Json]:
        defaults = self._read_defaults(head)
        places = dict[str, tuple[str, StepEntry, StepPlan]]()
        unread = set[tuple[str, str]]()
        for key, own, entry, is_whole in self._read_entries("steps", StepEntry):
            names = list(places)
            name = self._name(key, own, entry, names, listed=isinstance(written, list))
            before = tuple(names[-1:]) if isinstance(written, list) else ()
            needs = before if entry.needs is None else entry.needs
            places[name] = key, entry, entry.to_plan(name, DispatchRequest(entry.task, ""), needs)
            if not is_whole:  # what cannot be read counts as present
                unread |= {(name, word) for word in ("until", "max", "back-to")}
            if len(set(needs)) < len(needs):
                what = f"step {name} lists the same need twice"
                self._problems.add(f"{key}.needs", what, fix="remove one of them")
            if entry.until is not None and entry.max is None and (name, "max") not in unread:
                what = f"step {name} has until but no max"
                self._problems.add(f"{key}.until", what, fix="set the number of rounds: max: 3")
        for one in find_problems_of([plan for _, _, plan in places.values()]):
            if (one.step.name, one.key) not in unread:
                key = places[one.step.name][0]
                self._problems.add(f"{key}.{one.key}", one.what, one.why, one.fix)
        steps = list[Json]()
        for name, (key, entry, plan) in places.items():
            terms = entry.model_dump(mode="json", include=_OF_STEP, exclude_none=True, by_alias=True)
            dispatch = _merge_fields(defaults, entry.to_work())
            steps.append({**terms, "name": name, "needs": list(plan.needs), "dispatch": dispatch})
            self._check_script(key, name, dispatch)
        return steps

    def _check_script(self, key: str, name: str, dispatch: Json) -> None:
        """Add a problem if a script would contain untrusted text."""
        if resolve_alias(dispatch.get("runtime", "")) != SHELL:
            return
        for word in stranger_words(dispatch["task"]):
            self._problems.add(
                f"{key}.task",
                f"step {name}: {word} would become part of a script",
                "the text comes from an agent or the input, and a shell would run it",
                "let the script read a file: .pancode/inputs/ORIGINAL.md, or NAME.md of an earlier step",
            )

    def _name(self, key: str, own: str, entry: StepEntry, names: list[str], *, listed: bool) -> str:
        if entry.name is not None and not listed:
            self._problems.add(f"{key}.name", f"step {own} already has a name", fix="remove `name`")
        name = (entry.name or f"step-{int(own) + 1}") if listed else own
        if not NAME.fullmatch(name):
            self._problems.add(key, f"{name!r} is not a valid step name", fix=_NAME_FIX)
        elif name in names:
            self._problems.add(f"{key}.name", f"step {name} exists twice", fix="rename one of them")
        return name

    def _check_text(self, steps: list[Json]) -> None:
        """Add a problem for unpaired surrogates, which YAML can contain but a request cannot carry."""
        for step in steps:
            try:
                json.dumps(step, ensure_ascii=False).encode()
            except UnicodeEncodeError as exc:
                self._problems.add("", f"step {step['name']} contains an unpaired surrogate", why=str(exc))


def _merge_fields(below: Json, above: Json) -> Json:
    """Return the merged fields: those of `above` win, but labels of both are kept."""
    require = {**below.get("require", {}), **above.get("require", {})}
    return {**below, **above, **({"require": require} if require else {})}


def _name_field(word: object) -> str:
    return str(word).replace("-", "_")


def _list_texts(dispatch: Json) -> list[str]:
    return [dispatch.get("task", ""), *dispatch.get("argv", ())]


def describe_files(texts: Iterable[WorkflowText]) -> list[WorkflowFile]:
    """Return what each file contains, and how many problems it has."""
    rows = list[WorkflowFile]()
    for text in texts:
        found = check_workflow(text.text, text.place, text.name)
        row: WorkflowFile = {
            "name": text.name,
            "from": text.origin,
            "file": text.place,
            "kind": found.kind,
            "steps": len(found.steps()),
            "description": found.description,
            "wrong": count_noun(len(found.problems), "problem") if found.problems else "",
            "replaces": text.replaces or None,
        }
        rows.append(row)
    return rows
