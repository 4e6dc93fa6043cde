"""Checks how a workflow's steps are connected: needs, loops, and step outputs used in tasks. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from pydantic import BaseModel

from pancode.config.layers import find_problems
from pancode.kernel.documents import Document
from pancode.kernel.errors import ConfigError
from pancode.kernel.names import find_nearest
from pancode.workflows.files.entries import UNTIL, StepEntry, UntilEntry, VerdictEntry
from pancode.workflows.step_work import TemplatePlace, find_places, is_kept

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


FORMS = "{{ steps.NAME.answer }}, {{ steps.NAME.commit }} or {{ steps.NAME.files.PATH }}"
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


def takes_input(text: str) -> bool:
    """Whether the text contains a placeholder for the input from the command line."""
    return any(not place.step for place in find_places(text))


def stranger_words(text: str) -> Iterator[str]:
    """Yield the placeholders filled with untrusted text: an agent's output, or the workflow's input."""
    for place in find_places(text):
        if place.what != "commit":
            yield format_place(place)


@dataclass(frozen=True, slots=True)
class PlacedStep:
    """A step, its key in the file, and the names of the steps that it waits for."""

    key: str
    name: str
    entry: StepEntry
    needs: tuple[str, ...]
    written: frozenset[str] = frozenset()
    """The fields in the file, including unreadable ones: they count as present."""


class StepGraph:
    """All steps of a file, by name."""

    def __init__(self, steps: Iterable[PlacedStep], problems: FileProblems) -> None:
        self._steps = {step.name: step for step in steps}
        self._problems = problems

    def check(self) -> None:
        for step in self._steps.values():
            for need in dict.fromkeys(step.needs):
                if need not in self._steps:
                    self._report_unknown(f"{step.key}.needs", f"step {step.name} needs {need!r}", need)
            if len(set(step.needs)) < len(step.needs):
                self._problems.add(
                    f"{step.key}.needs",
                    f"step {step.name} lists the same need twice",
                    fix="remove one of them",
                )
        self._check_cycles()
        for step in self._steps.values():
            self._check_loop(step)
            key = f"{step.key}.task"
            for word in find_misspelt(step.entry.task, self._steps):
                self._problems.add(
                    key, f"step {step.name}: {word} is not a valid reference", fix=f"write {FORMS}"
                )
            for place in (place for place in find_places(step.entry.task) if place.step):
                what = f"step {step.name}: {format_place(place)} is not a valid reference"
                source = self._steps.get(place.step)
                if source is None:
                    self._report_unknown(key, what, place.step)
                elif place.step not in self.ancestors(step.name):
                    why = f"step {step.name} does not wait for step {place.step}"
                    self._problems.add(key, what, why, f"needs: [{place.step}]")
                elif place.path and not any(is_kept(place.path, kept) for kept in source.entry.files):
                    near = find_nearest(place.path, source.entry.files)
                    fix = (
                        f"did you mean {near}?"
                        if near
                        else (f"at step {place.step}, add files: [{place.path}]")
                    )
                    self._problems.add(key, what, f"step {place.step} does not keep such a file", fix)

    def ancestors(self, name: str) -> set[str]:
        """Return the names of all steps that must end before this one starts."""
        found: set[str] = set()
        waiting = [name]
        while waiting:
            step = self._steps.get(waiting.pop())
            for need in step.needs if step else ():
                if need not in found:
                    found.add(need)
                    waiting.append(need)
        return found

    def _report_unknown(self, key: str, what: str, name: str) -> None:
        near = find_nearest(name, self._steps)
        fix = f"did you mean {near}?" if near else f"use one of its steps: {', '.join(self._steps)}"
        self._problems.add(key, what, "no step has this name", fix)

    def _check_cycles(self) -> None:
        """Add one problem for each cycle of steps, at the step that comes first in the file."""
        reported: set[str] = set()
        for name, step in self._steps.items():
            if name in reported or name not in self.ancestors(name):
                continue
            ring = {one for one in self._steps if one in self.ancestors(name) and name in self.ancestors(one)}
            reported |= ring
            self._problems.add(
                f"{step.key}.needs",
                f"steps wait for each other: {' -> '.join(_find_path(name, self._steps))}",
                "none of these steps could start",
                "remove one `needs`; write a loop with until, max and back-to",
            )

    def _check_loop(self, step: PlacedStep) -> None:
        entry, key = step.entry, step.key
        if entry.until is None and "until" in step.written:
            return
        if entry.until is None:
            for field in ("max", "back_to"):
                if getattr(entry, field) is not None:
                    word = field.replace("_", "-")
                    self._problems.add(
                        f"{key}.{word}",
                        f"step {step.name} has {word} but no until",
                        fix=f"write it like this: {UNTIL}",
                    )
            return
        if entry.max is None and "max" not in step.written:
            self._problems.add(
                f"{key}.until",
                f"step {step.name} has until but no max",
                fix="set the number of rounds: max: 3",
            )
        self._check_until(step, entry.until, entry.verdict)
        back = entry.back_to
        if back is not None and back not in self._steps:
            self._report_unknown(f"{key}.back-to", f"step {step.name} goes back to {back!r}", back)
        elif back is not None and back != step.name and back not in self.ancestors(step.name):
            why = f"step {back} does not come before {step.name}"
            fix = f"needs: [{back}], or go back to an earlier step"
            self._problems.add(f"{key}.back-to", f"step {step.name} cannot go back to {back}", why, fix)

    def _check_until(self, step: PlacedStep, until: UntilEntry, verdict: VerdictEntry | None) -> None:
        key = f"{step.key}.until"
        if verdict is None and "verdict" in step.written:
            return
        if verdict is None:
            fix = f"verdict: {{schema: {{{until.field}: [{until.equals}, ...]}}}}"
            why = "a verdict is a file that the step must write, checked against its schema"
            self._problems.add(key, f"step {step.name} has until but no verdict", why, fix)
        elif until.field not in verdict.fields:
            near = find_nearest(until.field, verdict.fields) or ", ".join(verdict.fields)
            what = f"step {step.name}: the verdict has no field {until.field!r}"
            self._problems.add(key, what, fix=f"the verdict's schema has {near}")
        elif until.equals not in verdict.fields[until.field]:
            what = f"step {step.name}: {until.field} is never {until.equals!r}"
            allowed = ", ".join(map(str, verdict.fields[until.field]))
            self._problems.add(key, what, fix=f"the verdict's schema allows {allowed}")


def _find_path(start: str, steps: Mapping[str, PlacedStep]) -> list[str]:
    """Return the shortest path along needs from the step back to itself."""
    ways = [[start]]
    seen = set[str]()
    for way in ways:
        step = steps.get(way[-1])
        for need in step.needs if step else ():
            if need == start:
                return [*way, start]
            if need not in seen:
                seen.add(need)
                ways.append([*way, need])
    return [start, start]
